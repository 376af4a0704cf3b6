// What a permitted name makes of its arguments: tensors, containers, scalars. Each case checks the number and kinds of its arguments;
// whatever does not fit is refused with a sentence.

internal import DinoTensor

extension Unpickler {
  typealias Callee = (global: AllowedGlobal, name: String)

  /// The result of calling `target`. Nothing of Python runs: the value is made here.
  mutating func call(_ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) -> NodeID {
    switch target.global {
    case .rebuildTensor:
      try expect(a.count == 4, target, a)
      return try tensor(a, dtype: nil, requiresGradient: false)
    case .rebuildTensorV2:
      try expect(a.count == 6 || a.count == 7, target, a)
      if a.count == 7 { try checkMetadata(a[6]) }
      return try tensor(a, dtype: nil, requiresGradient: try bool(a[4], target))
    case .rebuildTensorV3:
      try expect(a.count == 7 || a.count == 8, target, a)
      if a.count == 8 { try checkMetadata(a[7]) }
      return try tensor(a, dtype: try elementType(a[6], target), requiresGradient: try bool(a[4], target))
    case .rebuildParameter, .rebuildParameterWithState:
      try expect(a.count == (target.global == .rebuildParameter ? 3 : 4), target, a)
      guard case .tensor(let index) = store[a[0]] else { throw fault("a parameter made of \(store[a[0]].kind) in place of a tensor") }
      var record = store.tensors[Int(index)]
      record.requiresGradient = try bool(a[1], target)
      record.isParameter = true
      return try add(record)

    case .dictionary, .orderedDictionary: return try dictionary(target, a)
    case .defaultDictionary:
      // The factory makes missing values: a finished tree has none.
      return try dictionary(target, Array(a.dropFirst()))
    case .list: return try store.add(try elements(a, target), Node.list)
    case .tuple, .size: return try store.add(try elements(a, target), Node.tuple)
    case .set, .frozenSet: return try store.add(try elements(a, target), Node.set)
    case .slice:
      try expect((1...3).contains(a.count), target, a)
      return try store.add(a, Node.slice)
    case .namespace:
      try expect(a.isEmpty, target, a)
      return try store.add([], Node.namespace)

    case .int, .float, .bool, .complex: return try number(target, a)
    case .string:
      if a.isEmpty { return try store.add(.string("")) }
      try expect(a.count == 1, target, a)
      guard case .string = store[a[0]] else { throw unexpected(target, a) }
      return a[0]
    case .bytes, .byteArray: return try bytes(target, a)
    case .encode:
      try expect(a.count == 2, target, a)
      guard case .string(let text) = store[a[0]], case .string(let encoding) = store[a[1]], encoding == "latin1" || encoding == "latin-1" else {
        throw unexpected(target, a)
      }
      return try store.add(.bytes(try latin1(text)))
    case .device: return try device(target, a)
    case .path: return try path(target, a)

    case .numpyDType:
      try expect((1...3).contains(a.count), target, a)
      guard case .string(let code) = store[a[0]], code.utf8.count <= 16 else { throw unexpected(target, a) }
      let bigEndian = code.hasPrefix(">")
      let plain = code.drop { "<>=|".contains($0) }
      return try store.add(.numpyDType(NumpyDType(code: String(plain), bigEndian: bigEndian)))
    case .numpyReconstruct:
      try expect(a.count == 3, target, a)
      store.arrays.append(ArrayRecord())
      return try store.add(.array(Int32(store.arrays.count - 1)))
    case .numpyFromBuffer:
      try expect(a.count == 4, target, a)
      guard case .bytes(let data) = store[a[0]], case .string(let order) = store[a[3]], order == "C" || order == "F" else { throw unexpected(target, a) }
      try store.charge(bytes: data.count)
      let record = ArrayRecord(dtype: try numpyType(a[1]), shape: try integers(a[2], target), fortranOrder: order == "F", bytes: data)
      store.arrays.append(record)
      return try store.add(.array(Int32(store.arrays.count - 1)))
    case .numpyScalar: return try numpyScalar(target, a)

    case .storageType, .untypedStorage, .typedStorage, .dtype, .numpyArray:
      throw refusal("calls \(target.name), which is a type that is only named")
    }
  }

  // MARK: Arguments

  func unexpected(_ target: Callee, _ a: [NodeID]) -> TorchArchiveError {
    fault("\(target.name) is called with \(a.isEmpty ? "nothing" : a.prefix(4).map { store[$0].kind }.joined(separator: ", "))")
  }

  private func expect(_ holds: Bool, _ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) {
    guard holds else { throw fault("\(target.name) is called with \(a.count) arguments") }
  }

  private func bool(_ id: NodeID, _ target: Callee) throws(TorchArchiveError) -> Bool {
    switch store[id] {
    case .bool(let value): return value
    case .int(let value): return value != 0
    default: throw unexpected(target, [id])
    }
  }

  /// A tuple or list of integers, no more of them than a tensor has dimensions.
  func integers(_ id: NodeID, _ target: Callee) throws(TorchArchiveError) -> [Int] {
    let container: Int32
    switch store[id] {
    case .tuple(let c), .list(let c): container = c
    default: throw unexpected(target, [id])
    }
    let items = store.containers[Int(container)]
    guard items.count <= store.limits.rank else { throw .limitExceeded(file: store.file, what: "a tensor of \(items.count) dimensions", limit: store.limits.rank) }
    var out: [Int] = []
    for item in items {
      guard case .int(let value) = store[item] else { throw unexpected(target, [item]) }
      out.append(value)
    }
    return out
  }

  private func elements(_ a: [NodeID], _ target: Callee) throws(TorchArchiveError) -> [NodeID] {
    if a.isEmpty { return [] }
    try expect(a.count == 1, target, a)
    switch store[a[0]] {
    case .list(let c), .tuple(let c), .set(let c): return store.containers[Int(c)]
    default: throw unexpected(target, a)
    }
  }

  // MARK: Tensors

  private mutating func add(_ record: TensorRecord) throws(TorchArchiveError) -> NodeID {
    store.tensors.append(record)
    return try store.add(.tensor(Int32(store.tensors.count - 1)))
  }

  private mutating func tensor(_ a: [NodeID], dtype: DType?, requiresGradient: Bool) throws(TorchArchiveError) -> NodeID {
    guard case .storage(let storage) = store[a[0]] else { throw fault("a tensor made of \(store[a[0]].kind) in place of a storage") }
    guard case .int(let offset) = store[a[1]] else { throw fault("a tensor whose offset is \(store[a[1]].kind)") }
    let named: Callee = (.rebuildTensor, "_rebuild_tensor")
    let shape = try integers(a[2], named), strides = try integers(a[3], named)
    return try add(TensorRecord(storage: storage, dtype: dtype ?? store.storages[Int(storage)].dtype, offset: offset, shape: shape, strides: strides,
                                requiresGradient: requiresGradient))
  }

  /// Entries of a tensor's metadata. PyTorch writes two.
  private static let mostMetadata = 16

  /// Metadata may say that a tensor is conjugated or negated lazily: its bytes are then not its values.
  private func checkMetadata(_ id: NodeID) throws(TorchArchiveError) {
    switch store[id] {
    case .none: return
    case .dictionary(let c):
      // Each tensor may name the same one again.
      guard store.containers[Int(c)].count <= 2 * Self.mostMetadata else { throw fault("tensor metadata of \(store.containers[Int(c)].count / 2) entries") }
      for value in store.containers[Int(c)].enumerated() where value.offset % 2 == 1 {
        if case .bool(false) = store[value.element] { continue }
        throw fault("a tensor that is marked as conjugated or negated; save it after .resolve_conj().resolve_neg()")
      }
    default: throw fault("tensor metadata that is \(store[id].kind)")
    }
  }

  private func elementType(_ id: NodeID, _ target: Callee) throws(TorchArchiveError) -> DType {
    guard case .global(let index) = store[id], case .dtype(let name) = store.globals[Int(index)].global else { throw unexpected(target, [id]) }
    guard let type = AllowedGlobal.elementTypes[name] else { throw fault("a tensor of torch.\(name), which is not read here") }
    return type
  }

  /// A persistent id: `('storage', type, key, location, count)`, in old files with a sixth element that makes it a view.
  mutating func storage(_ id: NodeID) throws(TorchArchiveError) -> NodeID {
    guard case .tuple(let container) = store[id] else { throw fault("a persistent id that is \(store[id].kind)") }
    let a = store.containers[Int(container)]
    if let first = a.first, case .string("module") = store[first] {
      throw refusal("holds a whole pickled module with its source code; save its state_dict() with PyTorch instead")
    }
    guard a.count == 5 || a.count == 6, case .string("storage") = store[a[0]], case .global(let type) = store[a[1]],
          case .string(let key) = store[a[2]], case .int(let count) = store[a[4]] else {
      throw fault("a persistent id that does not name a storage")
    }
    let dtype: DType
    switch store.globals[Int(type)].global {
    case .storageType(let t): dtype = t
    case .untypedStorage: dtype = .u8
    default: throw fault("a storage of type \(store.globals[Int(type)].name), which is not read here")
    }
    guard count >= 0, dtype.byteCount(of: count) != nil, key.utf8.count <= 256 else { throw fault("a storage of \(count) elements") }
    var record = StorageRecord(key: key, dtype: dtype, count: count, view: 0..<count)
    if a.count == 6 { record.view = try view(a[5], of: count) }
    store.storages.append(record)
    return try store.add(.storage(Int32(store.storages.count - 1)))
  }

  /// `None`, or `(key, offset, count)` of a view within a storage.
  private func view(_ id: NodeID, of count: Int) throws(TorchArchiveError) -> Range<Int> {
    if case .none = store[id] { return 0..<count }
    let a = try tuple(id)
    guard a.count == 3, case .int(let offset) = store[a[1]], case .int(let size) = store[a[2]], offset >= 0, size >= 0, offset <= count, size <= count - offset else {
      throw fault("a storage view that does not lie in its storage")
    }
    return offset..<offset + size
  }

  // MARK: Containers and scalars

  /// `dict()`, `dict(pairs)` or `dict(dictionary)`.
  private mutating func dictionary(_ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) -> NodeID {
    if a.isEmpty { return try store.add([], Node.dictionary) }
    try expect(a.count == 1, target, a)
    if case .dictionary(let other) = store[a[0]] { return try store.add(store.containers[Int(other)], Node.dictionary) }
    var flat: [NodeID] = []
    for item in try elements(a, target) {
      let pair: [NodeID]
      switch store[item] {
      case .tuple(let c), .list(let c): pair = store.containers[Int(c)]
      default: throw unexpected(target, a)
      }
      guard pair.count == 2 else { throw unexpected(target, a) }
      flat += pair
    }
    return try store.add(flat, Node.dictionary)
  }

  private mutating func number(_ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) -> NodeID {
    func double(_ id: NodeID) -> Double? {
      switch store[id] {
      case .float(let v): v
      case .int(let v): Double(v)
      case .string(let text) where text.utf8.count <= 64: Double(text)
      default: nil
      }
    }
    switch (target.global, a.count) {
    case (.int, 0): return try store.add(.int(0))
    case (.float, 0): return try store.add(.float(0))
    case (.bool, 0): return try store.add(.bool(false))
    case (.int, 1):
      if case .int = store[a[0]] { return a[0] }
      if case .string(let text) = store[a[0]], text.utf8.count <= 20, let value = Int(text) { return try store.add(.int(value)) }
    case (.bool, 1):
      if case .bool = store[a[0]] { return a[0] }
      if case .int(let value) = store[a[0]] { return try store.add(.bool(value != 0)) }
    case (.float, 1):
      if let value = double(a[0]) { return try store.add(.float(value)) }
    case (.complex, 2):
      if let re = double(a[0]), let im = double(a[1]) { return try store.add(.complex(re, im)) }
    default: break
    }
    throw unexpected(target, a)
  }

  private mutating func bytes(_ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) -> NodeID {
    if a.isEmpty { return try store.add(.bytes([])) }
    switch store[a[0]] {
    case .bytes(let raw) where a.count == 1: return try store.add(.bytes(raw))
    case .string(let text) where a.count == 2:
      guard case .string(let encoding) = store[a[1]], encoding == "latin-1" || encoding == "latin1" else { throw unexpected(target, a) }
      return try store.add(.bytes(try latin1(text)))
    default: throw unexpected(target, a)
    }
  }

  /// Protocol 2 has no bytes: they travel as text whose characters are bytes.
  private mutating func latin1(_ text: String) throws(TorchArchiveError) -> [UInt8] {
    try store.charge(bytes: text.utf8.count)
    var out: [UInt8] = []
    out.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      guard scalar.value < 256 else { throw fault("bytes in the form of text with characters that are no bytes") }
      out.append(UInt8(scalar.value))
    }
    return out
  }

  private mutating func device(_ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) -> NodeID {
    try expect(a.count == 1 || a.count == 2, target, a)
    guard case .string(let type) = store[a[0]], type.utf8.count <= 64 else { throw unexpected(target, a) }
    if a.count == 1 { return try store.add(.device(type)) }
    if case .none = store[a[1]] { return try store.add(.device(type)) }
    guard case .int(let index) = store[a[1]] else { throw unexpected(target, a) }
    return try store.add(.device("\(type):\(index)"))
  }

  /// A path is kept as the text it stands for; it is not looked up.
  private mutating func path(_ target: Callee, _ a: [NodeID]) throws(TorchArchiveError) -> NodeID {
    var out = ""
    for id in a {
      guard case .string(let part) = store[id] else { throw unexpected(target, a) }
      try store.charge(bytes: part.utf8.count + 1)
      if part.hasPrefix("/") { out = part } else { out += (out.isEmpty || out.hasSuffix("/") ? "" : "/") + part }
    }
    return try store.add(.string(out.isEmpty ? "." : out))
  }
}
