// From the C structures to Swift values: model, graph, node, function. Depth is bounded by the scan that came before. Attributes, tensors and
// types are in TreeReader+Values.swift.

internal import COnnxProto
internal import CProtobufC
internal import DinoTensor

/// A nullable array of message pointers, as protobuf-c keeps repeated messages.
typealias MessageList<M> = UnsafeMutablePointer<UnsafeMutablePointer<M>?>?

struct TreeReader {
  let tree: ProtobufTree
  /// Where the places in the skeleton point to.
  let storage: Storage

  /// The whole model.
  func model() throws(OnnxProblem) -> OnnxModel {
    let m = unsafe tree.model
    guard let g = unsafe m.pointee.graph else { throw .noGraph }
    return unsafe OnnxModel(
      irVersion: m.pointee.ir_version,
      operatorSets: try list(m.pointee.n_opset_import, m.pointee.opset_import, operatorSet),
      producerName: text(m.pointee.producer_name), producerVersion: text(m.pointee.producer_version), domain: text(m.pointee.domain),
      modelVersion: m.pointee.model_version, docString: text(m.pointee.doc_string),
      graph: try graph(g),
      functions: try list(m.pointee.n_functions, m.pointee.functions, function),
      metadata: try list(m.pointee.n_metadata_props, m.pointee.metadata_props, property))
  }

  func graph(_ g: UnsafeMutablePointer<Onnx__GraphProto>) throws(OnnxProblem) -> OnnxGraph {
    unsafe OnnxGraph(
      name: text(g.pointee.name),
      nodes: try list(g.pointee.n_node, g.pointee.node, node),
      inputs: try list(g.pointee.n_input, g.pointee.input, valueInfo),
      outputs: try list(g.pointee.n_output, g.pointee.output, valueInfo),
      valueInfo: try list(g.pointee.n_value_info, g.pointee.value_info, valueInfo),
      initializers: try list(g.pointee.n_initializer, g.pointee.initializer, tensor),
      sparseInitializers: try list(g.pointee.n_sparse_initializer, g.pointee.sparse_initializer, sparseTensor),
      quantizationAnnotations: try list(g.pointee.n_quantization_annotation, g.pointee.quantization_annotation, annotation),
      docString: text(g.pointee.doc_string),
      metadata: try laterProperties(g.pointee.base, LaterField.graphMetadata))
  }

  func node(_ n: UnsafeMutablePointer<Onnx__NodeProto>) throws(OnnxProblem) -> OnnxNode {
    unsafe OnnxNode(
      name: text(n.pointee.name), operatorType: text(n.pointee.op_type), domain: text(n.pointee.domain),
      overload: laterText(n.pointee.base, LaterField.nodeOverload),
      inputs: texts(n.pointee.n_input, n.pointee.input), outputs: texts(n.pointee.n_output, n.pointee.output),
      attributes: try list(n.pointee.n_attribute, n.pointee.attribute, attribute),
      docString: text(n.pointee.doc_string),
      metadata: try laterProperties(n.pointee.base, LaterField.nodeMetadata))
  }

  private func function(_ f: UnsafeMutablePointer<Onnx__FunctionProto>) throws(OnnxProblem) -> OnnxFunction {
    let base = unsafe f.pointee.base
    var defaults: [OnnxAttribute] = [], infos: [OnnxValueInfo] = []
    for unsafe field in unsafe laterFields(base, LaterField.functionAttributeDefaults) {
      defaults.append(try unsafe tree.withAttribute(field) { (a) throws(OnnxProblem) in try unsafe attribute(a) })
    }
    for unsafe field in unsafe laterFields(base, LaterField.functionValueInfo) {
      infos.append(try unsafe tree.withValueInfo(field) { (v) throws(OnnxProblem) in try unsafe valueInfo(v) })
    }
    return unsafe OnnxFunction(
      name: text(f.pointee.name), domain: text(f.pointee.domain), overload: laterText(base, LaterField.functionOverload),
      inputs: texts(f.pointee.n_input, f.pointee.input), outputs: texts(f.pointee.n_output, f.pointee.output),
      attributeNames: texts(f.pointee.n_attribute, f.pointee.attribute), attributeDefaults: defaults,
      nodes: try list(f.pointee.n_node, f.pointee.node, node),
      operatorSets: try list(f.pointee.n_opset_import, f.pointee.opset_import, operatorSet),
      valueInfo: infos, docString: text(f.pointee.doc_string),
      metadata: try laterProperties(base, LaterField.functionMetadata))
  }

  private func operatorSet(_ o: UnsafeMutablePointer<Onnx__OperatorSetIdProto>) -> OnnxOperatorSet {
    unsafe OnnxOperatorSet(domain: text(o.pointee.domain), version: o.pointee.version)
  }

  private func annotation(_ a: UnsafeMutablePointer<Onnx__TensorAnnotation>) throws(OnnxProblem) -> OnnxTensorAnnotation {
    unsafe OnnxTensorAnnotation(tensorName: text(a.pointee.tensor_name),
                                parameters: try list(a.pointee.n_quant_parameter_tensor_names, a.pointee.quant_parameter_tensor_names, property))
  }

  func property(_ p: UnsafeMutablePointer<Onnx__StringStringEntryProto>) -> OnnxProperty {
    unsafe OnnxProperty(key: text(p.pointee.key), value: text(p.pointee.value))
  }

  func valueInfo(_ v: UnsafeMutablePointer<Onnx__ValueInfoProto>) throws(OnnxProblem) -> OnnxValueInfo {
    var declared: OnnxType?
    if let t = unsafe v.pointee.type { unsafe declared = type(t) }
    return unsafe OnnxValueInfo(name: text(v.pointee.name), type: declared, docString: text(v.pointee.doc_string),
                                metadata: try laterProperties(v.pointee.base, LaterField.valueInfoMetadata))
  }

  // MARK: parts

  /// A string that may be absent. The scan has checked that it is UTF-8 without NUL.
  func text(_ pointer: UnsafeMutablePointer<CChar>?) -> String {
    guard let pointer = unsafe pointer else { return "" }
    return unsafe String(cString: pointer)
  }

  func texts(_ count: Int, _ items: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> [String] {
    guard let items = unsafe items else { return [] }
    return (0..<count).map { unsafe text(items[$0]) }
  }

  func list<M, R>(_ count: Int, _ items: MessageList<M>, _ read: (UnsafeMutablePointer<M>) throws(OnnxProblem) -> R) throws(OnnxProblem) -> [R] {
    guard let items = unsafe items, count > 0 else { return [] }
    var values: [R] = []
    values.reserveCapacity(count)
    for i in 0..<count {
      if let item = unsafe items[i] { values.append(try unsafe read(item)) }
    }
    return values
  }

  // MARK: fields later than the generated code

  /// The contents of a length-prefixed field that protobuf-c did not know.
  func laterFields(_ base: ProtobufCMessage, _ number: UInt32) -> [UnsafeBufferPointer<UInt8>] {
    var found: [UnsafeBufferPointer<UInt8>] = unsafe []
    guard let fields = unsafe base.unknown_fields else { return unsafe [] }
    for i in 0..<Int(unsafe base.n_unknown_fields) where unsafe fields[i].tag == number && fields[i].wire_type == PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED {
      // protobuf-c keeps the length in front of the bytes.
      let all = unsafe UnsafeBufferPointer(start: UnsafePointer(fields[i].data), count: fields[i].len)
      guard let end = unsafe all.firstIndex(where: { $0 < 0x80 }) else { continue }
      unsafe found.append(UnsafeBufferPointer(rebasing: all[(end + 1)...]))
    }
    return unsafe found
  }

  func laterProperties(_ base: ProtobufCMessage, _ number: UInt32) throws(OnnxProblem) -> [OnnxProperty] {
    guard unsafe base.n_unknown_fields > 0 else { return [] }
    var properties: [OnnxProperty] = []
    for unsafe field in unsafe laterFields(base, number) {
      properties.append(try unsafe tree.withProperty(field) { (p) throws(OnnxProblem) in unsafe property(p) })
    }
    return properties
  }

  func laterText(_ base: ProtobufCMessage, _ number: UInt32) -> String {
    guard unsafe base.n_unknown_fields > 0, let field = unsafe laterFields(base, number).last else { return "" }
    return unsafe String(decoding: field, as: UTF8.self)
  }
}
