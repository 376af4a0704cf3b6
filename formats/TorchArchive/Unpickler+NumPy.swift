// NumPy scalars and arrays inside a pickle, and BUILD, which gives them, dictionaries and Namespaces their state.

internal import DinoTensor

extension Unpickler {
  /// BUILD: sets the state of the object on top of the stack. Only for kinds whose state is data.
  mutating func build(_ id: NodeID, state: NodeID) throws(TorchArchiveError) {
    switch (store[id], store[state]) {
    case (.namespace(let object), .dictionary(let fields)):
      let items = store.containers[Int(fields)]
      try store.charge(slots: items.count)
      store.containers[Int(object)].append(contentsOf: items)
    case (.dictionary, .dictionary):
      // Attributes of an OrderedDict: the `_metadata` of a state dict, with version numbers of modules. No value depends on them.
      break
    case (.numpyDType(let type), .tuple(let items)):
      store[id] = .numpyDType(try withState(type, store.containers[Int(items)]))
    case (.array(let array), .tuple(let items)):
      try setState(array, store.containers[Int(items)])
    default:
      throw refusal("sets the state of \(store[id].kind) from \(store[state].kind)")
    }
  }

  /// `(version, byte order, subdtype, names, fields, …)`: only plain types have none of the three.
  private func withState(_ type: NumpyDType, _ items: [NodeID]) throws(TorchArchiveError) -> NumpyDType {
    guard items.count >= 5, case .string(let order) = store[items[1]], ["<", ">", "|", "="].contains(order),
          case .none = store[items[2]], case .none = store[items[3]], case .none = store[items[4]] else {
      throw fault("a NumPy type with fields or shapes, which is not read here")
    }
    var out = type
    out.bigEndian = order == ">"
    return out
  }

  /// `(version, shape, dtype, Fortran order, bytes)`.
  private mutating func setState(_ array: Int32, _ items: [NodeID]) throws(TorchArchiveError) {
    guard items.count == 5, case .bool(let fortran) = store[items[3]] else { throw fault("a NumPy array with a state of \(items.count) parts") }
    guard case .bytes(let data) = store[items[4]] else { throw fault("a NumPy array of objects, which is not read here") }
    try store.charge(bytes: data.count)
    let shape = try integers(items[1], (.numpyReconstruct, "numpy.ndarray"))
    store.arrays[Int(array)] = ArrayRecord(dtype: try numpyType(items[2]), shape: shape, fortranOrder: fortran, bytes: data)
  }

  func numpyType(_ id: NodeID) throws(TorchArchiveError) -> DType {
    guard case .numpyDType(let type) = store[id] else { throw fault("a NumPy type that is \(store[id].kind)") }
    guard let dtype = type.dtype, !type.bigEndian || dtype.bitWidth == 8 else {
      throw fault("a NumPy value of type \(quoted((type.bigEndian ? ">" : "") + type.code)), which is not read here")
    }
    return dtype
  }

  /// `scalar(dtype, bytes)`.
  mutating func numpyScalar(_ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) -> NodeID {
    guard a.count == 2, case .bytes(let raw) = store[a[1]] else { throw unexpected(target, a) }
    let type = try numpyType(a[0])
    guard raw.count * 8 == type.bitWidth else { throw fault("a NumPy scalar of \(raw.count) bytes for type \(type.rawValue)") }
    var bits: UInt64 = 0
    for byte in raw.reversed() { bits = bits << 8 | UInt64(byte) }
    return try store.add(scalar(type, bits))
  }

  private func scalar(_ type: DType, _ bits: UInt64) -> Node {
    switch type {
    case .bool: .bool(bits != 0)
    case .i8: .int(Int(Int8(truncatingIfNeeded: bits)))
    case .i16: .int(Int(Int16(truncatingIfNeeded: bits)))
    case .i32: .int(Int(Int32(truncatingIfNeeded: bits)))
    case .i64: .int(Int(truncatingIfNeeded: bits))
    case .u8, .u16, .u32: .int(Int(bits))
    case .u64: Int(exactly: bits).map { .int($0) } ?? .bigInteger(bytes(of: bits) + [0])
    case .f16: .float(Double(floatFromHalf(UInt16(truncatingIfNeeded: bits))))
    case .f32: .float(Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits))))
    case .f64: .float(Double(bitPattern: bits))
    default: .complex(Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits))), Double(Float(bitPattern: UInt32(truncatingIfNeeded: bits >> 32))))
    }
  }

  private func bytes(of bits: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt64($0))) } }
}
