// Makes the finished values from what the pickle machine left behind: it refuses cycles, too much depth and too many values, and
// checks every tensor against the bytes of its storage. Shared values are built once.

internal import DinoTensor

/// Builds values bottom-up. Recursion is bounded by `TorchLimits.depth`.
struct TreeBuilder {
  private struct Built {
    let value: TorchValue
    /// Containers on the longest way down.
    var height = 0
    /// Values and bytes of tensors, counted at each place where they appear.
    var count = 1
    var bytes = 0
  }

  private let store: NodeStore
  private let table: StorageTable
  private let limits: TorchLimits
  private let byteBudget: Int
  private var done: [NodeID: Built] = [:]
  private var open: Set<NodeID> = []
  private var path: [String] = []

  init(store: NodeStore, table: StorageTable, fileBytes: Int) {
    self.store = store
    self.table = table
    limits = store.limits
    byteBudget = limits.expandedBytes(of: fileBytes)
  }

  mutating func build(_ root: NodeID) throws(TorchArchiveError) -> TorchValue { try built(root).value }

  private func fault(_ detail: String) -> TorchArchiveError {
    .badValue(file: table.file, path: path.joined(separator: "."), detail: detail)
  }

  private mutating func built(_ id: NodeID) throws(TorchArchiveError) -> Built {
    switch store[id] {
    case .none: return Built(value: .none)
    case .bool(let v): return Built(value: .bool(v))
    case .int(let v): return Built(value: .int(v))
    case .bigInteger(let v): return Built(value: .bigInteger(v))
    case .float(let v): return Built(value: .float(v))
    case .complex(let re, let im): return Built(value: .complex(real: re, imaginary: im))
    case .string(let v): return Built(value: .string(v))
    case .bytes(let v): return Built(value: .bytes(v))
    case .device(let v): return Built(value: .device(v))
    case .numpyDType(let v): return Built(value: .dtype("numpy." + v.code))
    case .global(let index):
      let named = store.globals[Int(index)]
      if case .dtype(let name) = named.global { return Built(value: .dtype(name)) }
      return Built(value: .type(named.name))
    case .list, .tuple, .dictionary, .set, .slice, .namespace, .storage, .tensor, .array: break
    }
    if let known = done[id] { return known }
    guard open.insert(id).inserted else { throw fault("it contains itself") }
    guard open.count <= limits.depth else { throw .limitExceeded(file: table.file, what: "values nested more deeply than a checkpoint needs", limit: limits.depth) }
    let value = try container(id)
    guard value.height <= limits.depth else { throw .limitExceeded(file: table.file, what: "values nested more deeply than a checkpoint needs", limit: limits.depth) }
    guard value.count <= limits.values else {
      throw .limitExceeded(file: table.file, what: "shared values that expand to more than a checkpoint needs", limit: limits.values)
    }
    guard value.bytes <= byteBudget else { throw .limitExceeded(file: table.file, what: "tensors far larger than the file", limit: byteBudget) }
    open.remove(id)
    done[id] = value
    return value
  }

  private mutating func container(_ id: NodeID) throws(TorchArchiveError) -> Built {
    switch store[id] {
    case .list(let c): return try sequence(c) { .list($0) }
    case .tuple(let c): return try sequence(c) { .tuple($0) }
    case .set(let c): return try sequence(c) { .set($0) }
    case .slice(let c): return try sequence(c) { .slice($0) }
    case .dictionary(let c): return try dictionary(c)
    case .namespace(let c): return try namespace(c)
    case .tensor(let index): return try tensor(store.tensors[Int(index)])
    case .storage(let index):
      let s = store.storages[Int(index)]
      return try tensor(TensorRecord(storage: index, dtype: s.dtype, offset: 0, shape: [s.view.count], strides: [1], requiresGradient: false))
    case .array(let index): return try array(store.arrays[Int(index)])
    default: throw fault("it is of no known kind")
    }
  }

  // MARK: Containers

  /// Adds a child's measures to its container's. Sums are bounded at every step, so they cannot overflow.
  private func add(_ child: Built, to sum: inout Built) throws(TorchArchiveError) {
    sum.height = max(sum.height, child.height + 1)
    sum.count += child.count
    let (bytes, overflow) = sum.bytes.addingReportingOverflow(child.bytes)
    sum.bytes = overflow ? .max : bytes
    guard sum.count <= limits.values else {
      throw .limitExceeded(file: table.file, what: "shared values that expand to more than a checkpoint needs", limit: limits.values)
    }
  }

  private mutating func child(_ id: NodeID, named name: String, sum: inout Built) throws(TorchArchiveError) -> TorchValue {
    path.append(name)
    let value = try built(id)
    path.removeLast()
    try add(value, to: &sum)
    return value.value
  }

  private mutating func sequence(_ c: Int32, _ wrap: ([TorchValue]) -> TorchValue) throws(TorchArchiveError) -> Built {
    var sum = Built(value: .none, height: 1)
    var out: [TorchValue] = []
    out.reserveCapacity(store.containers[Int(c)].count)
    for (index, id) in store.containers[Int(c)].enumerated() { out.append(try child(id, named: String(index), sum: &sum)) }
    return Built(value: wrap(out), height: sum.height, count: sum.count, bytes: sum.bytes)
  }

  private enum Key: Hashable { case string(String), int(Int) }

  /// Like Python's: a key that comes again keeps its place and takes the later value.
  private mutating func dictionary(_ c: Int32) throws(TorchArchiveError) -> Built {
    var sum = Built(value: .none, height: 1)
    var out: [(key: TorchValue, value: TorchValue)] = []
    var known: [Key: Int] = [:]
    let items = store.containers[Int(c)]
    for i in stride(from: 0, to: items.count - 1, by: 2) {
      let key = try key(items[i], sum: &sum)
      let name = key.stringValue ?? key.text(limit: 40)
      let value = try child(items[i + 1], named: name, sum: &sum)
      let hashable: Key? = switch key {
      case .string(let v): .string(v)
      case .int(let v): .int(v)
      default: nil
      }
      if let hashable, let place = known.updateValue(out.count, forKey: hashable) {
        known[hashable] = place
        out[place].value = value
      } else {
        out.append((key, value))
      }
    }
    return Built(value: .dictionary(out), height: sum.height, count: sum.count, bytes: sum.bytes)
  }

  /// Keys are what Python can hash by value.
  private mutating func key(_ id: NodeID, sum: inout Built) throws(TorchArchiveError) -> TorchValue {
    switch store[id] {
    case .none, .bool, .int, .bigInteger, .float, .complex, .string, .bytes, .tuple, .global, .device: return try child(id, named: "key", sum: &sum)
    case let other: throw fault("\(other.kind) is used as a dictionary's key")
    }
  }

  private mutating func namespace(_ c: Int32) throws(TorchArchiveError) -> Built {
    let inner = try dictionary(c)
    guard case .dictionary(let items) = inner.value else { return inner }
    var fields: [(name: String, value: TorchValue)] = []
    for (key, value) in items {
      guard let name = key.stringValue else { throw fault("a field of a Namespace has a name that is no string") }
      fields.append((name, value))
    }
    return Built(value: .object(className: "argparse.Namespace", fields: fields), height: inner.height, count: inner.count, bytes: inner.bytes)
  }

  // MARK: Tensors

  /// Checks that every element lies in the storage, and the storage in the file. All arithmetic is checked.
  private func tensor(_ t: TensorRecord) throws(TorchArchiveError) -> Built {
    let storage = store.storages[Int(t.storage)]
    guard let place = table.places[storage.key] else { throw fault("its storage \(quoted(storage.key)) is not in the archive") }
    guard let wanted = storage.dtype.byteCount(of: storage.count), place.byteCount == wanted else {
      throw fault("its storage \(quoted(storage.key)) has \(place.byteCount) bytes where \(storage.count) elements of \(storage.dtype.rawValue) are named")
    }
    let shape = Shape(t.shape)
    guard t.shape.count == t.strides.count else { throw fault("a shape of \(t.shape.count) dimensions has \(t.strides.count) strides") }
    guard let count = shape.checkedCount, let bytes = t.dtype.byteCount(of: count) else { throw fault("the shape \(shape) is not possible") }
    guard t.offset >= 0, t.strides.allSatisfy({ $0 >= 0 }) else { throw fault("an offset or stride is negative") }
    let width = t.dtype.bitWidth / 8, storageWidth = storage.dtype.bitWidth / 8
    let available = storage.view.count * storageWidth / width
    guard let last = lastElement(t, count: count), last < available || (count == 0 && t.offset <= available) else {
      throw fault("the shape \(shape) with strides \(Shape(t.strides)) from element \(t.offset) reaches beyond the \(available) elements of its storage")
    }
    let offset = storage.view.lowerBound * storageWidth + (count == 0 ? 0 : t.offset * width)
    let value = TorchTensor(dtype: t.dtype, shape: shape, strides: t.strides, storageOffset: t.offset, storageKey: storage.key,
                            requiresGradient: t.requiresGradient, isParameter: t.isParameter, table: table, byteOffset: offset)
    return Built(value: .tensor(value), count: 1, bytes: bytes)
  }

  /// Index of the furthest element, counted from the storage's start; nil on overflow.
  private func lastElement(_ t: TensorRecord, count: Int) -> Int? {
    if count == 0 { return .max }
    var last = t.offset
    for (extent, step) in zip(t.shape, t.strides) {
      let (reach, o1) = (extent - 1).multipliedReportingOverflow(by: step)
      let (sum, o2) = last.addingReportingOverflow(reach)
      if o1 || o2 { return nil }
      last = sum
    }
    return last
  }

  private func array(_ record: ArrayRecord) throws(TorchArchiveError) -> Built {
    guard let bytes = record.bytes else { throw fault("a NumPy array without its data") }
    let shape = Shape(record.shape)
    guard let count = shape.checkedCount, record.dtype.byteCount(of: count) == bytes.count else {
      throw fault("a NumPy array of shape \(shape) has \(bytes.count) bytes")
    }
    // In Fortran order the first axis runs fastest.
    let strides: [Int] = record.fortranOrder ? Shape(record.shape.reversed()).strides.reversed() : shape.strides
    do {
      let tensor = try unsafe Tensor(dtype: record.dtype, shape: shape) { out in
        unsafe bytes.withUnsafeBytes { source in
          guard let base = source.baseAddress else { return }
          unsafe gather(base, shape: shape.dims, strides: strides, width: record.dtype.bitWidth / 8, into: out)
        }
      }
      return Built(value: .array(tensor), count: 1, bytes: bytes.count)
    } catch {
      throw fault("there is no memory for a NumPy array of shape \(shape)")
    }
  }
}
