// Writes a state dict, or a tree of dictionaries, lists, numbers and tensors, as a zip archive that torch.load(weights_only=True) reads. The same values give the
// same bytes. No compression, no legacy form, no objects of classes.

public import DinoTensor
internal import CZlib

#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

/// A value to write: what torch.load(weights_only=True) reads without being told to trust anything.
public indirect enum TorchItem: Sendable {
  case none
  case bool(Bool)
  case int(Int)
  case float(Double)
  case string(String)
  case list([TorchItem])
  case tuple([TorchItem])
  case dictionary([(key: TorchItem, value: TorchItem)])
  /// `collections.OrderedDict`: what a state dict is.
  case state([(name: String, value: TorchItem)])
  case tensor(Tensor)
}

public enum TorchArchiveWriter {
  /// Writes tensors in the order given. The file appears under its name only when it is complete (temporary file, fsync, rename).
  /// Throws `cannotEncode` for types that torch.save has no storage for, empty or repeated names, and `cannotWrite` with errno.
  public static func write(_ tensors: [(name: String, tensor: Tensor)], to path: String) throws(TorchArchiveError) {
    try write(.state(tensors.map { ($0.name, .tensor($0.tensor)) }), to: path)
  }

  /// Writes any value. Each tensor is stored once for each place that it stands in.
  public static func write(_ value: TorchItem, to path: String) throws(TorchArchiveError) {
    var pickle = PickleWriter(file: path)
    try pickle.add(value, name: "")
    pickle.raw(.STOP)
    let output = try ArchiveOutput(path)
    var zip = ZipWriter(output)
    // The folder has a fixed name, so that a file's bytes do not depend on where it is written.
    try zip.add("archive/data.pkl", pickle.bytes)
    try zip.add("archive/byteorder", Array("little".utf8))
    for (index, tensor) in pickle.tensors.enumerated() { try zip.add("archive/data/\(index)", tensor: tensor) }
    try zip.add("archive/version", Array("3\n".utf8))
    try zip.finish()
    try output.commit()
  }
}

/// Protocol 2, and the few operations that such values take. A tensor is `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`.
private struct PickleWriter {
  let file: String
  private(set) var bytes: [UInt8] = [PickleOpcode.PROTO.rawValue, 2]
  /// In the order of their storages' numbers.
  private(set) var tensors: [Tensor] = []

  private static let storageNames: [DType: String] = [
    .f32: "FloatStorage", .f16: "HalfStorage", .bf16: "BFloat16Storage", .f64: "DoubleStorage", .i64: "LongStorage", .i32: "IntStorage",
    .i16: "ShortStorage", .i8: "CharStorage", .u8: "ByteStorage", .bool: "BoolStorage", .c64: "ComplexFloatStorage",
  ]

  init(file: String) { self.file = file }

  /// - Parameter name: the keys that lead to the value, for an error.
  mutating func add(_ value: TorchItem, name: String) throws(TorchArchiveError) {
    switch value {
    case .none: raw(.NONE)
    case .bool(let v): raw(v ? .NEWTRUE : .NEWFALSE)
    case .int(let v): int(v)
    case .float(let v):
      raw(.BINFLOAT)
      little(v.bitPattern.byteSwapped, 8)
    case .string(let v): string(v)
    case .list(let items):
      raw(.EMPTY_LIST, .MARK)
      for item in items { try add(item, name: name) }
      raw(.APPENDS)
    case .tuple(let items):
      raw(.MARK)
      for item in items { try add(item, name: name) }
      raw(.TUPLE)
    case .dictionary(let items):
      raw(.EMPTY_DICT, .MARK)
      for item in items {
        try add(item.key, name: name)
        try add(item.value, name: name)
      }
      raw(.SETITEMS)
    case .state(let items):
      var names: Set<String> = []
      global("collections", "OrderedDict")
      raw(.EMPTY_TUPLE, .REDUCE, .MARK)
      for item in items {
        guard !item.name.isEmpty, names.insert(item.name).inserted else {
          throw .cannotEncode(file: file, name: item.name, detail: item.name.isEmpty ? "it has no name" : "the name comes twice")
        }
        string(item.name)
        try add(item.value, name: name.isEmpty ? item.name : "\(name).\(item.name)")
      }
      raw(.SETITEMS)
    case .tensor(let tensor): try add(tensor, name: name)
    }
  }

  private mutating func add(_ tensor: Tensor, name: String) throws(TorchArchiveError) {
    guard let storage = Self.storageNames[tensor.dtype] else {
      throw .cannotEncode(file: file, name: name, detail: "\(tensor.dtype.rawValue) has no PyTorch storage; convert it to F32 first")
    }
    global("torch._utils", "_rebuild_tensor_v2")
    raw(.MARK, .MARK)
    string("storage")
    global("torch", storage)
    string(String(tensors.count))
    string("cpu")
    int(tensor.count)
    raw(.TUPLE, .BINPERSID)
    int(0)
    tuple(tensor.shape.dims)
    tuple(tensor.shape.strides)
    raw(.NEWFALSE)
    global("collections", "OrderedDict")
    raw(.EMPTY_TUPLE, .REDUCE, .TUPLE, .REDUCE)
    tensors.append(tensor)
  }

  mutating func raw(_ operations: PickleOpcode...) { bytes += operations.map(\.rawValue) }

  mutating func little(_ value: UInt64, _ width: Int) { for i in 0..<width { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * UInt64(i)))) } }

  mutating func string(_ text: String) {
    raw(.BINUNICODE)
    little(UInt64(text.utf8.count), 4)
    bytes += Array(text.utf8)
  }

  mutating func global(_ module: String, _ name: String) {
    raw(.GLOBAL)
    bytes += Array((module + "\n" + name + "\n").utf8)
  }

  mutating func int(_ value: Int) {
    if let small = Int32(exactly: value) {
      raw(.BININT)
      little(UInt64(UInt32(bitPattern: small)), 4)
    } else {
      raw(.LONG1)
      bytes.append(8)
      little(UInt64(bitPattern: Int64(value)), 8)
    }
  }

  mutating func tuple(_ values: [Int]) {
    raw(.MARK)
    for value in values { int(value) }
    raw(.TUPLE)
  }
}

/// Writes stored entries, their data aligned to 64 bytes as PyTorch does it, with 64-bit records where sizes need them.
private struct ZipWriter {
  private let output: ArchiveOutput
  private var central: [UInt8] = []
  private var count = 0

  init(_ output: ArchiveOutput) { self.output = output }

  mutating func add(_ name: String, _ bytes: [UInt8]) throws(TorchArchiveError) {
    let crc = unsafe bytes.withUnsafeBytes { raw in unsafe checksum(raw) }
    try header(name, size: bytes.count, crc: crc)
    try output.write(bytes)
  }

  mutating func add(_ name: String, tensor: Tensor) throws(TorchArchiveError) {
    let raw = unsafe tensor.unsafeBytes
    try header(name, size: raw.count, crc: unsafe checksum(raw))
    try unsafe output.write(raw)
  }

  private func checksum(_ raw: UnsafeRawBufferPointer) -> UInt32 {
    var crc: UInt = 0
    var done = 0
    while done < raw.count {
      let n = min(raw.count - done, 1 << 30)
      unsafe crc = crc32(crc, (raw.baseAddress! + done).assumingMemoryBound(to: UInt8.self), UInt32(n))
      done += n
    }
    return UInt32(truncatingIfNeeded: crc)
  }

  private static let wide = 0xFFFF_FFFF

  private mutating func header(_ name: String, size: Int, crc: UInt32) throws(TorchArchiveError) {
    let offset = output.position
    let isWide = size >= Self.wide
    var extra: [UInt8] = []
    if isWide {
      extra.little(1, 2)
      extra.little(16, 2)
      extra.little(size, 8)
      extra.little(size, 8)
    }
    // A field named "FB" fills up to the boundary, as in PyTorch's own files.
    let start = offset + 30 + name.utf8.count + extra.count + 4
    let padding = (64 - start % 64) % 64
    extra.little(0x4246, 2)
    extra.little(padding, 2)
    extra += [UInt8](repeating: 0x5A, count: padding)
    let short = isWide ? Self.wide : size
    var local = ZipDirectory.localSignature
    for value in [isWide ? 45 : 20, 0x0800, 0, 0, 0x21] { local.little(value, 2) }
    for value in [Int(crc), short, short] { local.little(value, 4) }
    local.little(name.utf8.count, 2)
    local.little(extra.count, 2)
    try output.write(local + Array(name.utf8) + extra)

    var wideExtra: [UInt8] = []
    if isWide { for _ in 0..<2 { wideExtra.little(size, 8) } }
    if offset >= Self.wide { wideExtra.little(offset, 8) }
    central += ZipDirectory.centralSignature
    for value in [45, wideExtra.isEmpty ? 20 : 45, 0x0800, 0, 0, 0x21] { central.little(value, 2) }
    for value in [Int(crc), short, short] { central.little(value, 4) }
    for value in [name.utf8.count, wideExtra.isEmpty ? 0 : wideExtra.count + 4, 0, 0, 0] { central.little(value, 2) }
    central.little(0, 4)
    central.little(min(offset, Self.wide), 4)
    central += Array(name.utf8)
    if !wideExtra.isEmpty {
      central.little(1, 2)
      central.little(wideExtra.count, 2)
      central += wideExtra
    }
    count += 1
  }

  mutating func finish() throws(TorchArchiveError) {
    let offset = output.position
    try output.write(central)
    var end: [UInt8] = []
    if offset + central.count >= Self.wide || count >= 0xFFFF {
      let record = output.position
      end += [0x50, 0x4B, 6, 6]
      end.little(44, 8)
      for value in [45, 45] { end.little(value, 2) }
      for _ in 0..<2 { end.little(0, 4) }
      for value in [count, count, central.count, offset] { end.little(value, 8) }
      end += [0x50, 0x4B, 6, 7]
      end.little(0, 4)
      end.little(record, 8)
      end.little(1, 4)
    }
    end += [0x50, 0x4B, 5, 6]
    for value in [0, 0, min(count, 0xFFFF), min(count, 0xFFFF)] { end.little(value, 2) }
    for value in [min(central.count, Self.wide), min(offset, Self.wide)] { end.little(value, 4) }
    end.little(0, 2)
    try output.write(end)
  }
}

extension [UInt8] {
  /// Appends the low bytes of a number, least significant first.
  fileprivate mutating func little(_ value: Int, _ width: Int) {
    for i in 0..<width { append(UInt8(truncatingIfNeeded: value >> (8 * i))) }
  }
}
