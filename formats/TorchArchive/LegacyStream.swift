// The stream form that PyTorch wrote before 1.6: three small pickles, the object's pickle, the list of storage keys, then the storages
// one after the other. It finds the parts and checks that they lie in the file.

internal import DinoTensor

/// The parts of a legacy stream.
struct LegacyStream {
  /// 0x1950a86a20f9469cfc6c, least significant byte first.
  static let magic: [UInt8] = [0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]
  /// The one version that was ever written.
  static let version = 1001

  let store: NodeStore
  let root: NodeID
  let places: [String: StorageTable.Place]

  init(_ bytes: ByteView, file: String, limits: TorchLimits) throws(TorchArchiveError) {
    let start = try LegacyStream.objectStart(bytes, file: file, limits: limits)
    guard let rest = bytes.slice(at: start, count: bytes.count - start) else { throw .badPickle(file: file, detail: "it ends early", offset: start) }
    var object = Unpickler(rest, file: file, limits: limits)
    root = try object.run()
    store = object.store
    let (keys, dataStart) = try LegacyStream.keys(bytes, at: start + object.end, file: file, limits: limits)
    places = try LegacyStream.places(keys, records: store.storages, bytes: bytes, at: dataStart, file: file)
  }

  /// Reads the head: magic number, version, and what the writing machine was like.
  static func objectStart(_ bytes: ByteView, file: String, limits: TorchLimits) throws(TorchArchiveError) -> Int {
    let notTorch = TorchArchiveError.notAnArchive(file: file, looksLike: "it is a pickle, but not one that torch.save wrote")
    // The head is small. A limit on its values keeps a hostile pickle from growing before it is known to be ours.
    var small = limits
    small.values = 256
    small.pickleBytes = 4096
    var reader = PickleReader(bytes, file: file)
    var token = try reader.next()
    while token != .stop {
      switch token {
      case .protocolVersion, .frame, .memoize, .put: break
      case .bigInteger(magic) where true: break
      default: throw notTorch
      }
      token = try reader.next()
    }
    guard reader.position > magic.count else { throw notTorch }
    var position = reader.position

    func part(_ at: Int) throws(TorchArchiveError) -> (node: NodeID, store: NodeStore, end: Int) {
      guard let rest = bytes.slice(at: at, count: bytes.count - at) else { throw .badPickle(file: file, detail: "it ends early", offset: at) }
      var machine = Unpickler(rest, file: file, limits: small)
      let node = try machine.run()
      return (node, machine.store, at + machine.end)
    }
    let versionPart = try part(position)
    guard case .int(version) = versionPart.store[versionPart.node] else {
      throw .unsupported(file: file, what: "a legacy stream of another version than \(version)", advice: "load and save it again with PyTorch")
    }
    position = versionPart.end
    let system = try part(position)
    if case .dictionary(let c) = system.store[system.node] {
      let items = system.store.containers[Int(c)]
      for i in stride(from: 0, to: items.count - 1, by: 2) {
        if case .string("little_endian") = system.store[items[i]], case .bool(false) = system.store[items[i + 1]] {
          throw .unsupported(file: file, what: "a legacy stream from a big-endian machine", advice: "load and save it again with PyTorch 1.6 or later")
        }
      }
    }
    return system.end
  }

  /// The list of storage keys, in the order of their data.
  private static func keys(_ bytes: ByteView, at start: Int, file: String, limits: TorchLimits) throws(TorchArchiveError) -> (keys: [String], end: Int) {
    guard let rest = bytes.slice(at: start, count: bytes.count - start) else { throw .badPickle(file: file, detail: "it ends early", offset: start) }
    var machine = Unpickler(rest, file: file, limits: limits)
    let root = try machine.run()
    guard case .list(let c) = machine.store[root] else { throw .badPickle(file: file, detail: "the list of storages is \(machine.store[root].kind)", offset: 0) }
    var keys: [String] = []
    for id in machine.store.containers[Int(c)] {
      guard case .string(let key) = machine.store[id] else { throw .badPickle(file: file, detail: "a storage key is \(machine.store[id].kind)", offset: 0) }
      keys.append(key)
    }
    return (keys, start + machine.end)
  }

  /// Where each storage's bytes are. Each begins with its count of elements, which must be what the object's pickle says.
  private static func places(_ keys: [String], records: [StorageRecord], bytes: ByteView, at start: Int, file: String) throws(TorchArchiveError)
    -> [String: StorageTable.Place] {
    var named: [String: StorageRecord] = [:]
    for record in records {
      if let other = named.updateValue(record, forKey: record.key), other.dtype != record.dtype || other.count != record.count {
        throw .badStorage(file: file, key: record.key, detail: "it is described twice, in two ways")
      }
    }
    var places: [String: StorageTable.Place] = [:]
    var position = start
    for key in keys {
      guard let record = named[key], let size = record.dtype.byteCount(of: record.count) else {
        throw .badStorage(file: file, key: key, detail: "no tensor says what type it has")
      }
      guard bytes.has(8, at: position) else { throw .badStorage(file: file, key: key, detail: "the file ends before it: it is probably truncated, download it again") }
      let count = bytes.u64(position)
      guard count == UInt64(record.count) else {
        throw .badStorage(file: file, key: key, detail: "it says that it has \(count) elements where its tensors say \(record.count)")
      }
      guard let data = bytes.slice(at: position + 8, count: size) else {
        throw .badStorage(file: file, key: key, detail: "it needs \(size) bytes where \(bytes.count - position - 8) are left: the file is probably truncated, download it again")
      }
      guard places.updateValue(.inFile(data), forKey: key) == nil else { throw .badStorage(file: file, key: key, detail: "it comes twice") }
      position += 8 + size
    }
    return places
  }
}
