// From the C structures to Swift values: attributes, tensors, types.

internal import COnnxProto
internal import CProtobufC
internal import DinoTensor

extension TreeReader {
  func attribute(_ a: UnsafeMutablePointer<Onnx__AttributeProto>) throws(OnnxProblem) -> OnnxAttribute {
    let name = unsafe text(a.pointee.name)
    return unsafe OnnxAttribute(name: name, value: try value(a, name: name), docString: text(a.pointee.doc_string))
  }

  private func value(_ a: UnsafeMutablePointer<Onnx__AttributeProto>, name: String) throws(OnnxProblem) -> OnnxAttributeValue {
    let kind = unsafe kind(a)
    let reference = unsafe text(a.pointee.ref_attr_name)
    if !reference.isEmpty { return .reference(to: reference, kind) }
    switch kind {
    case .undefined: return .undefined
    // An absent number is the default of its type, as protobuf has it.
    case .float: return unsafe .float(a.pointee.f)
    case .int: return unsafe .int(a.pointee.i)
    case .string: return unsafe .string(bytes(a.pointee.s))
    case .tensor: return unsafe .tensor(try tensor(required(a.pointee.t, name)))
    case .graph: return unsafe .graph(try graph(required(a.pointee.g, name)))
    case .sparseTensor: return unsafe .sparseTensor(try sparseTensor(required(a.pointee.sparse_tensor, name)))
    case .type: return unsafe .type(type(try required(a.pointee.tp, name)))
    case .floats: return unsafe .floats(numbers(a.pointee.n_floats, a.pointee.floats))
    case .ints: return unsafe .ints(numbers(a.pointee.n_ints, a.pointee.ints))
    case .strings: return unsafe .strings(byteStrings(a.pointee.n_strings, a.pointee.strings))
    case .tensors: return unsafe .tensors(try list(a.pointee.n_tensors, a.pointee.tensors, tensor))
    case .graphs: return unsafe .graphs(try list(a.pointee.n_graphs, a.pointee.graphs, graph))
    case .sparseTensors: return unsafe .sparseTensors(try list(a.pointee.n_sparse_tensors, a.pointee.sparse_tensors, sparseTensor))
    case .types: return unsafe .types(try list(a.pointee.n_type_protos, a.pointee.type_protos, type))
    }
  }

  /// What kind of value it has: as said, or in files of IR version 1, which do not say it, the field that is there.
  private func kind(_ a: UnsafeMutablePointer<Onnx__AttributeProto>) -> OnnxAttributeKind {
    if unsafe a.pointee.has_type != 0, let kind = unsafe OnnxAttributeKind(rawValue: Int32(a.pointee.type.rawValue)), kind != .undefined { return kind }
    if unsafe a.pointee.has_f != 0 { return .float }
    if unsafe a.pointee.has_i != 0 { return .int }
    if unsafe a.pointee.has_s != 0 { return .string }
    if unsafe a.pointee.t != nil { return .tensor }
    if unsafe a.pointee.g != nil { return .graph }
    if unsafe a.pointee.sparse_tensor != nil { return .sparseTensor }
    if unsafe a.pointee.tp != nil { return .type }
    if unsafe a.pointee.n_floats > 0 { return .floats }
    if unsafe a.pointee.n_ints > 0 { return .ints }
    if unsafe a.pointee.n_strings > 0 { return .strings }
    if unsafe a.pointee.n_tensors > 0 { return .tensors }
    if unsafe a.pointee.n_graphs > 0 { return .graphs }
    if unsafe a.pointee.n_sparse_tensors > 0 { return .sparseTensors }
    if unsafe a.pointee.n_type_protos > 0 { return .types }
    return .undefined
  }

  private func required<M>(_ message: UnsafeMutablePointer<M>?, _ name: String) throws(OnnxProblem) -> UnsafeMutablePointer<M> {
    guard let message = unsafe message else { throw .attributeWithoutValue(name: name) }
    return unsafe message
  }

  // MARK: tensors

  func tensor(_ t: UnsafeMutablePointer<Onnx__TensorProto>) throws(OnnxProblem) -> OnnxTensor {
    unsafe OnnxTensor(
      name: text(t.pointee.name), dataType: OnnxDataType(rawValue: t.pointee.data_type), dims: numbers(t.pointee.n_dims, t.pointee.dims),
      content: try content(t), docString: text(t.pointee.doc_string),
      metadata: try laterProperties(t.pointee.base, LaterField.tensorMetadata))
  }

  private func content(_ t: UnsafeMutablePointer<Onnx__TensorProto>) throws(OnnxProblem) -> OnnxTensor.Content {
    if unsafe t.pointee.has_data_location != 0 && t.pointee.data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL {
      return .external(OnnxExternalReference(entries: try unsafe list(t.pointee.n_external_data, t.pointee.external_data, property)))
    }
    var found: [OnnxTensor.Content] = []
    var raw: OnnxBytes?
    if unsafe t.pointee.has_raw_data != 0 {
      raw = try unsafe payload(t.pointee.raw_data)
      if let raw, raw.count > 0 { found.append(.raw(raw)) }
    }
    if unsafe t.pointee.n_float_data > 0 { unsafe found.append(.floats(numbers(t.pointee.n_float_data, t.pointee.float_data))) }
    if unsafe t.pointee.n_int32_data > 0 { unsafe found.append(.int32s(numbers(t.pointee.n_int32_data, t.pointee.int32_data))) }
    if unsafe t.pointee.n_int64_data > 0 { unsafe found.append(.int64s(numbers(t.pointee.n_int64_data, t.pointee.int64_data))) }
    if unsafe t.pointee.n_double_data > 0 { unsafe found.append(.doubles(numbers(t.pointee.n_double_data, t.pointee.double_data))) }
    if unsafe t.pointee.n_uint64_data > 0 { unsafe found.append(.uint64s(numbers(t.pointee.n_uint64_data, t.pointee.uint64_data))) }
    if unsafe t.pointee.n_string_data > 0 { unsafe found.append(.strings(byteStrings(t.pointee.n_string_data, t.pointee.string_data))) }
    // Some writers leave an empty raw_data beside the typed field.
    if found.isEmpty { return raw.map { .raw($0) } ?? .none }
    return found.count == 1 ? found[0] : .conflicting
  }

  /// The bytes at a place that the scan left in the skeleton.
  private func payload(_ data: ProtobufCBinaryData) throws(OnnxProblem) -> OnnxBytes {
    let place = unsafe bytes(data)
    guard place.count == PayloadPlace.byteCount else { throw .undecodable }
    func number(_ start: Int) -> Int {
      var value: UInt64 = 0
      for i in (0..<8).reversed() { value = value << 8 | UInt64(place[start + i]) }
      return Int(truncatingIfNeeded: value)
    }
    guard let bytes = OnnxBytes(storage, offset: number(0), count: number(8)) else { throw .undecodable }
    return bytes
  }

  func sparseTensor(_ s: UnsafeMutablePointer<Onnx__SparseTensorProto>) throws(OnnxProblem) -> OnnxSparseTensor {
    let absent = OnnxTensor(name: "", dataType: .undefined, dims: [0], content: .none)
    var values = absent, indices = absent
    if let t = unsafe s.pointee.values { values = try unsafe tensor(t) }
    if let t = unsafe s.pointee.indices { indices = try unsafe tensor(t) }
    return unsafe OnnxSparseTensor(values: values, indices: indices, dims: numbers(s.pointee.n_dims, s.pointee.dims))
  }

  // MARK: types

  func type(_ t: UnsafeMutablePointer<Onnx__TypeProto>) -> OnnxType {
    unsafe OnnxType(kind(t), denotation: text(t.pointee.denotation))
  }

  private func kind(_ t: UnsafeMutablePointer<Onnx__TypeProto>) -> OnnxType.Kind {
    switch unsafe t.pointee.value_case {
    case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
      guard let tensor = unsafe t.pointee.tensor_type else { return .unknown }
      return unsafe .tensor(OnnxDataType(rawValue: tensor.pointee.elem_type), shape: shape(tensor.pointee.shape))
    case ONNX__TYPE_PROTO__VALUE_SPARSE_TENSOR_TYPE:
      guard let tensor = unsafe t.pointee.sparse_tensor_type else { return .unknown }
      return unsafe .sparseTensor(OnnxDataType(rawValue: tensor.pointee.elem_type), shape: shape(tensor.pointee.shape))
    case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE: return unsafe .sequence(element(t.pointee.sequence_type?.pointee.elem_type))
    case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE: return unsafe .optional(element(t.pointee.optional_type?.pointee.elem_type))
    case ONNX__TYPE_PROTO__VALUE_MAP_TYPE:
      guard let map = unsafe t.pointee.map_type else { return .unknown }
      return unsafe .map(key: OnnxDataType(rawValue: map.pointee.key_type), value: element(map.pointee.value_type))
    default: return .unknown
    }
  }

  private func element(_ t: UnsafeMutablePointer<Onnx__TypeProto>?) -> OnnxType? {
    guard let t = unsafe t else { return nil }
    return unsafe type(t)
  }

  private func shape(_ s: UnsafeMutablePointer<Onnx__TensorShapeProto>?) -> [OnnxDimension]? {
    guard let s = unsafe s else { return nil }
    guard let dims = unsafe s.pointee.dim else { return [] }
    return (0..<Int(unsafe s.pointee.n_dim)).compactMap { i in
      guard let d = unsafe dims[i] else { return nil }
      return unsafe dimension(d)
    }
  }

  private func dimension(_ d: UnsafeMutablePointer<Onnx__TensorShapeProto__Dimension>) -> OnnxDimension {
    let value: OnnxDimension.Value =
      switch unsafe d.pointee.value_case {
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE: unsafe .fixed(d.pointee.dim_value)
      case ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM: unsafe .symbolic(text(d.pointee.dim_param))
      default: .unknown
      }
    return unsafe OnnxDimension(value, denotation: text(d.pointee.denotation))
  }

  // MARK: numbers and bytes

  func numbers<T: BitwiseCopyable>(_ count: Int, _ start: UnsafeMutablePointer<T>?) -> [T] {
    guard let start = unsafe start else { return [] }
    return unsafe Array(UnsafeBufferPointer(start: start, count: count))
  }

  func bytes(_ data: ProtobufCBinaryData) -> [UInt8] { unsafe numbers(data.len, data.data) }

  private func byteStrings(_ count: Int, _ items: UnsafeMutablePointer<ProtobufCBinaryData>?) -> [[UInt8]] {
    guard let items = unsafe items else { return [] }
    return (0..<count).map { unsafe bytes(items[$0]) }
  }
}
