// What the pickle machine works on: values in one flat array, referred to by number. Sharing and cycles cost nothing here,
// nothing is freed recursively, and a list that grows is changed in its place. `TreeBuilder` makes the finished values.

internal import DinoTensor

typealias NodeID = Int32

/// A value under construction. Containers are numbers into `NodeStore.containers`.
enum Node: Sendable {
  case none, bool(Bool), int(Int), bigInteger([UInt8]), float(Double), complex(Double, Double)
  case string(String), bytes([UInt8])
  case list(Int32), tuple(Int32), dictionary(Int32), set(Int32), slice(Int32), namespace(Int32)
  case global(Int32)
  case device(String)
  case storage(Int32), tensor(Int32)
  case numpyDType(NumpyDType), array(Int32)

  /// What to call it in a sentence.
  var kind: String {
    switch self {
    case .none: "None"
    case .bool: "a bool"
    case .int, .bigInteger: "an integer"
    case .float: "a float"
    case .complex: "a complex number"
    case .string: "a string"
    case .bytes: "bytes"
    case .list: "a list"
    case .tuple: "a tuple"
    case .dictionary: "a dictionary"
    case .set: "a set"
    case .slice: "a slice"
    case .namespace: "a Namespace"
    case .global: "a type or function"
    case .device: "a device"
    case .storage: "a storage"
    case .tensor: "a tensor"
    case .numpyDType: "a NumPy dtype"
    case .array: "a NumPy array"
    }
  }
}

/// A storage as a persistent id names it, before it is known where its bytes are.
struct StorageRecord: Sendable, Equatable {
  let key: String
  let dtype: DType
  /// Elements of the whole storage.
  let count: Int
  /// The part of it that is meant: old files give storages that are views of others.
  var view: Range<Int>
}

/// A tensor as `_rebuild_tensor` and its relatives describe it. Checked against its storage by `TreeBuilder`.
struct TensorRecord: Sendable {
  let storage: Int32
  let dtype: DType
  let offset: Int
  let shape: [Int]
  let strides: [Int]
  var requiresGradient: Bool
  var isParameter = false
}

/// A NumPy element type: `f4`, `i8`, `b1`.
struct NumpyDType: Sendable, Equatable {
  let code: String
  var bigEndian: Bool
  var dtype: DType? {
    switch code {
    case "f2": .f16
    case "f4": .f32
    case "f8": .f64
    case "i1": .i8
    case "i2": .i16
    case "i4": .i32
    case "i8": .i64
    case "u1": .u8
    case "u2": .u16
    case "u4": .u32
    case "u8": .u64
    case "b1", "?": .bool
    case "c8": .c64
    default: nil
    }
  }
}

/// A NumPy array; it has no bytes until its state was set.
struct ArrayRecord: Sendable {
  var dtype: DType = .u8
  var shape: [Int] = []
  var fortranOrder = false
  var bytes: [UInt8]?
}

/// Everything a pickle has made so far, with the limits on it.
struct NodeStore: Sendable {
  private(set) var nodes: [Node] = []
  var containers: [[NodeID]] = []
  var globals: [(global: AllowedGlobal, name: String)] = []
  var storages: [StorageRecord] = []
  var tensors: [TensorRecord] = []
  var arrays: [ArrayRecord] = []
  private var slots = 0
  private var copiedBytes = 0
  let file: String
  let limits: TorchLimits

  /// Bytes that may be copied out of strings and arrays: each appears once in the pickle, so its own size is the measure.
  private let copyBudget: Int

  init(file: String, pickleBytes: Int, limits: TorchLimits) {
    copyBudget = 2 * min(pickleBytes, limits.pickleBytes) + 65536
    self.file = file
    self.limits = limits
  }

  subscript(_ id: NodeID) -> Node {
    get { nodes[Int(id)] }
    set { nodes[Int(id)] = newValue }
  }

  mutating func add(_ node: Node) throws(TorchArchiveError) -> NodeID {
    guard nodes.count < limits.values else { throw .limitExceeded(file: file, what: "more values than a checkpoint needs", limit: limits.values) }
    nodes.append(node)
    return NodeID(nodes.count - 1)
  }

  /// A new container with these elements; `wrap` says of which kind.
  mutating func add(_ elements: [NodeID], _ wrap: (Int32) -> Node) throws(TorchArchiveError) -> NodeID {
    try charge(slots: elements.count)
    containers.append(elements)
    return try add(wrap(Int32(containers.count - 1)))
  }

  /// Counts elements put into containers: copying a long list again and again must not cost more than the file's size permits.
  mutating func charge(slots n: Int) throws(TorchArchiveError) {
    slots += n
    guard slots <= 2 * limits.values else { throw .limitExceeded(file: file, what: "more list elements than a checkpoint needs", limit: 2 * limits.values) }
  }

  /// Counts bytes that are copied from strings and into arrays.
  mutating func charge(bytes n: Int) throws(TorchArchiveError) {
    copiedBytes += n
    guard copiedBytes <= copyBudget else { throw .limitExceeded(file: file, what: "more converted bytes than the pickle itself", limit: copyBudget) }
  }
}
