// The attributes of a node as the graph carries them, and the tensor of a Constant.

internal import DinoGraph
internal import DinoTensor
internal import ONNXFormat

struct AttributeReader {
  private let node: OnnxNode
  private let importer: OnnxImporter

  init(_ node: OnnxNode, _ importer: OnnxImporter) {
    self.node = node
    self.importer = importer
  }

  func attributes() throws(OnnxImportError) -> [String: GenericAttribute] {
    var result: [String: GenericAttribute] = [:]
    for attribute in node.attributes {
      guard result[attribute.name] == nil else { throw problem(attribute.name, "is given twice; the file is damaged") }
      switch attribute.value {
      case .int(let v): result[attribute.name] = .int(Int(v))
      case .float(let v): result[attribute.name] = .float(v)
      case .string(let bytes): result[attribute.name] = .string(try text(bytes, attribute.name))
      case .ints(let v): result[attribute.name] = .ints(v.map(Int.init))
      case .floats(let v): result[attribute.name] = .floats(v)
      case .strings(let v):
        var texts: [String] = []
        for bytes in v { texts.append(try text(bytes, attribute.name)) }
        result[attribute.name] = .strings(texts)
      case .tensor(let tensor): result[attribute.name] = try element(tensor, attribute.name)
      case .undefined: break
      case .graph, .graphs, .sparseTensor, .sparseTensors, .tensors, .type, .types, .reference: throw problem(attribute.name, "is of a kind that is not read")
      }
    }
    return result
  }

  /// A tensor of one element.
  private func element(_ tensor: OnnxTensor, _ name: String) throws(OnnxImportError) -> GenericAttribute {
    let value = try importer.tensor(tensor)
    guard value.count == 1, value.dtype.bitWidth % 8 == 0, value.dtype.bitWidth <= 64 else { throw problem(name, "holds \(value.count) elements, where one is read") }
    var bits: UInt64 = 0
    value.withBytes { bytes in for i in 0..<bytes.count { bits |= UInt64(bytes[i]) << UInt64(8 * i) } }
    return .element(value.dtype, bits: bits)
  }

  /// What a Constant node holds.
  func constant() throws(OnnxImportError) -> Tensor {
    guard let attribute = node.attributes.first(where: { $0.name.hasPrefix("value") || $0.name == "sparse_value" }) else { throw problem("value", "is not there") }
    switch attribute.value {
    case .tensor(let tensor): return try importer.tensor(tensor)
    case .float(let v): return Tensor([v], shape: [])
    case .floats(let v): return Tensor(v, shape: [v.count])
    case .int(let v): return Tensor.copy([v], dtype: .i64, shape: [])
    case .ints(let v): return Tensor.copy(v, dtype: .i64, shape: [v.count])
    default: throw problem(attribute.name, "is of a kind that is not read")
    }
  }

  private func text(_ bytes: [UInt8], _ name: String) throws(OnnxImportError) -> String {
    guard let text = String(validating: bytes, as: UTF8.self) else { throw problem(name, "is no UTF-8 text") }
    return text
  }

  private func problem(_ attribute: String, _ reason: String) -> OnnxImportError {
    .attribute(node: node.name.isEmpty ? node.outputs.first ?? "" : node.name, op: node.operatorType, attribute: attribute, reason: reason)
  }
}
