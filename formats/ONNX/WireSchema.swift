// The messages of onnx.proto by field number, as far as this room reads them: what the scan walks by. A field that is not here is skipped.
// Fields later than the generated code (IR version 9 and up) are marked; the tree reader takes them from protobuf-c's unknown fields.

/// A message of onnx.proto.
enum WireMessage: Sendable {
  case model, operatorSet, property, graph, node, attribute, tensor, sparseTensor, valueInfo, type, tensorType, sequenceType, mapType
  case shape, dimension, annotation, function

  /// The name in onnx.proto, for sentences.
  var name: String {
    switch self {
    case .model: "ModelProto"
    case .operatorSet: "OperatorSetIdProto"
    case .property: "StringStringEntryProto"
    case .graph: "GraphProto"
    case .node: "NodeProto"
    case .attribute: "AttributeProto"
    case .tensor: "TensorProto"
    case .sparseTensor: "SparseTensorProto"
    case .valueInfo: "ValueInfoProto"
    case .type: "TypeProto"
    case .tensorType: "TypeProto.Tensor"
    case .sequenceType: "TypeProto.Sequence"
    case .mapType: "TypeProto.Map"
    case .shape: "TensorShapeProto"
    case .dimension: "TensorShapeProto.Dimension"
    case .annotation: "TensorAnnotation"
    case .function: "FunctionProto"
    }
  }
}

/// What a field holds.
enum WireContent: Sendable, Equatable {
  /// Numbers as varints, one or (if many) a packed list.
  case varint
  case fixed32
  case fixed64
  case text
  case bytes
  /// Bytes that stay where they are: the tree gets their place instead.
  case payload
  case message(WireMessage)
}

/// One field of a message.
struct WireField: Sendable {
  let content: WireContent
  let isRepeated: Bool
  /// Fields of a `oneof` share a slot: only one of them may be there.
  let slot: Int

  static func one(_ content: WireContent, slot: Int? = nil, _ number: Int = 0) -> WireField {
    WireField(content: content, isRepeated: false, slot: slot ?? number)
  }

  static func many(_ content: WireContent) -> WireField { WireField(content: content, isRepeated: true, slot: 0) }
}

/// Numbers of fields that the generated code does not know.
enum LaterField {
  static let nodeOverload: UInt32 = 8
  static let nodeMetadata: UInt32 = 9
  static let graphMetadata: UInt32 = 16
  static let tensorMetadata: UInt32 = 16
  static let valueInfoMetadata: UInt32 = 4
  static let functionAttributeDefaults: UInt32 = 11
  static let functionValueInfo: UInt32 = 12
  static let functionOverload: UInt32 = 13
  static let functionMetadata: UInt32 = 14
}

extension WireMessage {
  /// The field of that number, or nil where it is to be skipped.
  func field(_ number: Int) -> WireField? {
    switch self {
    case .model: WireMessage.modelField(number)
    case .graph: WireMessage.graphField(number)
    case .node: WireMessage.nodeField(number)
    case .attribute: WireMessage.attributeField(number)
    case .tensor: WireMessage.tensorField(number)
    case .function: WireMessage.functionField(number)
    case .type: WireMessage.typeField(number)
    case .operatorSet: number == 1 ? .one(.text, number) : number == 2 ? .one(.varint, number) : nil
    case .property: number == 1 || number == 2 ? .one(.text, number) : nil
    case .sparseTensor: number == 1 || number == 2 ? .one(.message(.tensor), number) : number == 3 ? .many(.varint) : nil
    case .valueInfo:
      switch number {
      case 1, 3: .one(.text, number)
      case 2: .one(.message(.type), number)
      case 4: .many(.message(.property))  // later
      default: nil
      }
    case .tensorType: number == 1 ? .one(.varint, number) : number == 2 ? .one(.message(.shape), number) : nil
    case .sequenceType: number == 1 ? .one(.message(.type), number) : nil
    case .mapType: number == 1 ? .one(.varint, number) : number == 2 ? .one(.message(.type), number) : nil
    case .shape: number == 1 ? .many(.message(.dimension)) : nil
    case .dimension:
      switch number {
      case 1: .one(.varint, slot: 1)
      case 2: .one(.text, slot: 1)
      case 3: .one(.text, number)
      default: nil
      }
    case .annotation: number == 1 ? .one(.text, number) : number == 2 ? .many(.message(.property)) : nil
    }
  }

  private static func modelField(_ number: Int) -> WireField? {
    switch number {
    case 1, 5: .one(.varint, number)
    case 2, 3, 4, 6: .one(.text, number)
    case 7: .one(.message(.graph), number)
    case 8: .many(.message(.operatorSet))
    case 14: .many(.message(.property))
    case 25: .many(.message(.function))
    default: nil
    }
  }

  private static func graphField(_ number: Int) -> WireField? {
    switch number {
    case 1: .many(.message(.node))
    case 2, 10: .one(.text, number)
    case 5: .many(.message(.tensor))
    case 11, 12, 13: .many(.message(.valueInfo))
    case 14: .many(.message(.annotation))
    case 15: .many(.message(.sparseTensor))
    case 16: .many(.message(.property))  // later
    default: nil
    }
  }

  private static func nodeField(_ number: Int) -> WireField? {
    switch number {
    case 1, 2: .many(.text)
    case 3, 4, 6, 7: .one(.text, number)
    case 5: .many(.message(.attribute))
    case 8: .one(.text, number)  // later
    case 9: .many(.message(.property))  // later
    default: nil
    }
  }

  private static func attributeField(_ number: Int) -> WireField? {
    switch number {
    case 1, 13, 21: .one(.text, number)
    case 2: .one(.fixed32, number)
    case 3, 20: .one(.varint, number)
    case 4: .one(.bytes, number)
    case 5: .one(.message(.tensor), number)
    case 6: .one(.message(.graph), number)
    case 7: .many(.fixed32)
    case 8: .many(.varint)
    case 9: .many(.bytes)
    case 10: .many(.message(.tensor))
    case 11: .many(.message(.graph))
    case 14: .one(.message(.type), number)
    case 15: .many(.message(.type))
    case 22: .one(.message(.sparseTensor), number)
    case 23: .many(.message(.sparseTensor))
    default: nil
    }
  }

  private static func tensorField(_ number: Int) -> WireField? {
    switch number {
    case 1, 5, 7, 11: .many(.varint)
    case 2, 14: .one(.varint, number)
    case 4: .many(.fixed32)
    case 6: .many(.bytes)
    case 8, 12: .one(.text, number)
    case 9: .one(.payload, number)
    case 10: .many(.fixed64)
    case 13: .many(.message(.property))
    case 16: .many(.message(.property))  // later
    default: nil
    }
  }

  private static func functionField(_ number: Int) -> WireField? {
    switch number {
    case 1, 8, 10: .one(.text, number)
    case 4, 5, 6: .many(.text)
    case 7: .many(.message(.node))
    case 9: .many(.message(.operatorSet))
    case 11: .many(.message(.attribute))  // later
    case 12: .many(.message(.valueInfo))  // later
    case 13: .one(.text, number)  // later
    case 14: .many(.message(.property))  // later
    default: nil
    }
  }

  private static func typeField(_ number: Int) -> WireField? {
    switch number {
    case 1, 8: .one(.message(.tensorType), slot: 1)
    case 4, 9: .one(.message(.sequenceType), slot: 1)
    case 5: .one(.message(.mapType), slot: 1)
    case 6: .one(.text, number)
    default: nil
    }
  }
}
