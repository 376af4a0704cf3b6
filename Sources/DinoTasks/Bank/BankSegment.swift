// One immutable file of rows, and its making. Tensors: `features` [n, D] of unit length, `scales` [n] (int8 and f16), `lengths` [n] (what a row was divided by),
// `labels` [n] (index of the class, -1 for none), `paths` (the names' bytes, one after the other) and `path_ends` [n] (where each ends); perhaps `stamps` [n]
// (what each row's file was when it was read, 0 where that is not known).

internal import DinoKernels
internal import DinoTensor
internal import Safetensors

/// A mapped segment. Nothing is read before it is asked for.
struct BankSegment: Sendable {
  let rows: StoredRows
  private let lengths: Tensor
  private let labels: Tensor
  private let paths: Tensor
  private let pathEnds: Tensor
  /// Nil in segments of before there were any.
  private let stamps: Tensor?

  var count: Int { rows.count }

  init(_ entry: BankManifest.Segment, folder: String, width: Int, element: BankElement) throws(TaskError) {
    let path = "\(folder)/\(entry.file)"
    let file = try Self.open(path)
    guard file.byteCount == entry.bytes else { throw .badSegment(path: path, reason: "\(file.byteCount) bytes, where the bank's list says \(entry.bytes)") }
    let n = entry.rows
    func tensor(_ name: String, _ dtype: DType, _ shape: Shape?) throws(TaskError) -> Tensor {
      guard let t = file.tensor(name), t.dtype == dtype, shape == nil || t.shape == shape else {
        throw .badSegment(path: path, reason: "it has no tensor '\(name)' of \(dtype.rawValue)\(shape.map { " \($0)" } ?? "")")
      }
      return t
    }
    let dtype: DType = switch element {
    case .f32: .f32
    case .f16: .f16
    case .int8: .i8
    }
    let features = try tensor("features", dtype, [n, width])
    // Banks of f16 from before they had any are of unit length to rounding.
    let scales = element == .int8 || (element == .f16 && file.tensor("scales") != nil) ? try tensor("scales", .f32, [n]) : nil
    lengths = try tensor("lengths", .f32, [n])
    labels = try tensor("labels", .i32, [n])
    paths = try tensor("paths", .u8, nil)
    pathEnds = try tensor("path_ends", .i64, [n])
    stamps = try file.tensor("stamps") == nil ? nil : tensor("stamps", .u64, [n])
    let removed = try entry.removedFile.map { (name) throws(TaskError) in try Self.bits("\(folder)/\(name)", rows: n, set: entry.removedRows) } ?? []
    guard let rows = StoredRows(rows: features, scales: scales, removed: removed) else { throw .badSegment(path: path, reason: "its rows are not aligned to their elements") }
    self.rows = rows
  }

  func path(_ row: Int) -> String {
    let end = Int(integer64(pathEnds, row)), start = row == 0 ? 0 : Int(integer64(pathEnds, row - 1))
    // A damaged table of ends must not lead outside of the names.
    guard start >= 0, start <= end, end <= paths.count else { return "(row \(row): damaged name)" }
    return String(decoding: paths.storage.bytes(paths.byteOffset + start..<paths.byteOffset + end), as: UTF8.self)
  }

  /// The index of the class; nil for none.
  func label(_ row: Int) -> Int? {
    let value = labels.withBytes { Int32(truncatingIfNeeded: Self.little($0, row * 4, 4)) }
    return value < 0 ? nil : Int(value)
  }

  func length(_ row: Int) -> Float { lengths.withBytes { Float(bitPattern: UInt32(truncatingIfNeeded: Self.little($0, row * 4, 4))) } }

  /// What the row's file was known by when it was read; nil where that was not kept.
  func stamp(_ row: Int) -> UInt64? {
    let value = stamps?.withBytes { Self.little($0, row * 8, 8) } ?? 0
    return value == 0 ? nil : value
  }

  private func integer64(_ tensor: Tensor, _ row: Int) -> Int64 { tensor.withBytes { Int64(bitPattern: Self.little($0, row * 8, 8)) } }

  private static func little(_ bytes: Span<UInt8>, _ at: Int, _ count: Int) -> UInt64 {
    var value: UInt64 = 0
    for i in 0..<count { value |= UInt64(bytes[at + i]) << UInt64(8 * i) }
    return value
  }

  private static func open(_ path: String) throws(TaskError) -> SafetensorsFile {
    do { return try SafetensorsFile(path: path) } catch { throw .badSegment(path: path, reason: error.reason) }
  }

  // MARK: Removed rows

  static func bits(_ path: String, rows: Int, set: Int) throws(TaskError) -> [UInt64] {
    let file = try open(path), words = (rows + 63) / 64
    guard let t = file.tensor("removed"), t.dtype == .u64, t.count == words else { throw .badSegment(path: path, reason: "it has no tensor 'removed' of U64 [\(words)]") }
    let bits = t.withBytes { bytes in (0..<words).map { little(bytes, $0 * 8, 8) } }
    guard bits.reduce(0, { $0 + $1.nonzeroBitCount }) == set else { throw .badSegment(path: path, reason: "it does not mark the \(set) rows that the bank's list says") }
    return bits
  }

  static func write(bits: [UInt64], to path: String) throws(TaskError) {
    try write([(name: "removed", tensor: Tensor.copy(bits, dtype: .u64, shape: [bits.count]))], to: path)
  }

  static func write(_ tensors: [(name: String, tensor: Tensor)], to path: String) throws(TaskError) {
    do { try SafetensorsWriter.write(tensors, metadata: ["format": "pt"], to: path) } catch { throw .cannotWrite(path: path, reason: error.description) }
  }
}

/// A row's numbers as a kind of bank stores them, in floats that hold them exactly.
struct EncodedRow {
  var values: [Float]
  /// What they are multiplied by for the row to be of length 1: rounding changes a row's length, and scores are cosines of rows of length 1 only.
  var scale: Float

  /// Rounds a row of length 1.
  init(unit row: [Float], as element: BankElement) {
    switch element {
    case .f32: self.init(values: row, scale: 1)
    case .f16: self.init(values: row.map { floatFromHalf(halfFromFloat($0)) }, scale: nil)
    case .int8:
      let largest = row.reduce(Float(0)) { max($0, abs($1)) }
      let inverse = largest > 0 ? 127 / largest : 0
      self.init(values: row.map { max(-127, min(127, ($0 * inverse).rounded(.toNearestOrEven))) }, scale: nil)
    }
  }

  init(values: [Float], scale: Float?) {
    self.values = values
    if let scale {
      self.scale = scale
    } else {
      let squares = values.reduce(0.0) { $0 + Double($1) * Double($1) }
      self.scale = squares > 0 ? Float(1 / squares.squareRoot()) : 0
    }
  }
}

/// Rows that will be a segment.
struct SegmentBuilder {
  let width: Int
  let element: BankElement
  private(set) var count = 0
  private var floats: [Float] = []
  private var halves: [UInt16] = []
  private var bytes: [Int8] = []
  private var scales: [Float] = []
  private var lengths: [Float] = []
  private var labels: [Int32] = []
  private var names: [UInt8] = []
  private var nameEnds: [Int64] = []
  private var stamps: [UInt64] = []

  init(width: Int, element: BankElement) {
    self.width = width
    self.element = element
  }

  var byteCount: Int { count * (width * element.bytes + 32) + names.count }

  /// Adds a row.
  mutating func append(_ row: EncodedRow, length: Float, label: Int?, path: String, stamp: UInt64?) {
    precondition(row.values.count == width)
    switch element {
    case .f32: floats += row.values
    case .f16: halves += row.values.map(halfFromFloat)
    case .int8: bytes += row.values.map { Int8($0) }
    }
    scales.append(row.scale)
    lengths.append(length)
    labels.append(label.map { Int32($0) } ?? -1)
    names += Array(path.utf8)
    nameEnds.append(Int64(names.count))
    stamps.append(stamp ?? 0)
    count += 1
  }

  func write(to path: String) throws(TaskError) {
    let shape: Shape = [count, width]
    let features = switch element {
    case .f32: Tensor.copy(floats, dtype: .f32, shape: shape)
    case .f16: Tensor.copy(halves, dtype: .f16, shape: shape)
    case .int8: Tensor.copy(bytes, dtype: .i8, shape: shape)
    }
    var tensors: [(name: String, tensor: Tensor)] = [
      (name: "features", tensor: features), (name: "lengths", tensor: Tensor.copy(lengths, dtype: .f32, shape: [count])),
      (name: "labels", tensor: Tensor.copy(labels, dtype: .i32, shape: [count])), (name: "paths", tensor: Tensor.copy(names, dtype: .u8, shape: [names.count])),
      (name: "path_ends", tensor: Tensor.copy(nameEnds, dtype: .i64, shape: [count])),
    ]
    if stamps.contains(where: { $0 != 0 }) { tensors.append((name: "stamps", tensor: Tensor.copy(stamps, dtype: .u64, shape: [count]))) }
    if element != .f32 { tensors.append((name: "scales", tensor: Tensor.copy(scales, dtype: .f32, shape: [count]))) }
    try BankSegment.write(tensors, to: path)
  }
}
