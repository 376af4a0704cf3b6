// An ONNX file read back as a checkpoint: configuration, tensors under their official names, and what could not be had as it was. How it is found is in
// NetworkReader.swift and PositionReader.swift.

internal import DinoGraph
public import DinoModels
public import DinoTensor

public struct RecoveredCheckpoint: Sendable {
  public var config: ViTConfig
  /// By official name. Those that the exporter only moved, split or transposed are bit for bit what they were.
  public var tensors: [String: Tensor]
  /// What is not what the exporter was given: each a sentence. Empty for a faithful file.
  public var losses: [String]
  /// What else is worth knowing.
  public var notes: [String]
  /// The outputs of the file by what they are: official output name by the file's name.
  public var outputs: [String: String]
}

/// Why a file is no checkpoint that we know.
public struct RecoveryError: Error, Sendable, Equatable, CustomStringConvertible {
  public var description: String
  init(_ description: String) { self.description = description }
}

extension Tensor {
  /// [rows, columns] as [columns, rows]: the same elements in another order.
  func transposedMatrix() -> Tensor {
    let rows = shape[0], columns = shape[1], width = dtype.bitWidth / 8
    if dtype == .f32 { return Tensor(Tensor.transposed(floats(), rows: rows, columns: columns), shape: [columns, rows]) }
    var bytes = [UInt8](repeating: 0, count: byteCount)
    withBytes { from in
      for r in 0..<rows {
        for c in 0..<columns {
          let source = (r * columns + c) * width, target = (c * rows + r) * width
          for b in 0..<width { bytes[target + b] = from[source + b] }
        }
      }
    }
    return Tensor.raw(bytes, dtype: dtype, shape: [columns, rows])
  }

  /// Block by block, so that both sides stay in the cache.
  private static func transposed(_ from: [Float], rows: Int, columns: Int) -> [Float] {
    let block = 32
    var to = [Float](repeating: 0, count: from.count)
    for r0 in stride(from: 0, to: rows, by: block) {
      for c0 in stride(from: 0, to: columns, by: block) {
        for c in c0..<min(c0 + block, columns) {
          for r in r0..<min(r0 + block, rows) { to[c &* rows &+ r] = from[r &* columns &+ c] }
        }
      }
    }
    return to
  }

  /// Some of the rows of a constant [1, T, D].
  func rows(_ range: Range<Int>) -> Tensor {
    let width = shape[2], values = floats()
    return Tensor(Array(values[range.lowerBound * width..<range.upperBound * width]), shape: [1, range.count, width])
  }

  /// Matrices of as many rows beside each other, in 32-bit floats.
  static func besideEachOther(_ parts: [Tensor]) -> Tensor {
    let rows = parts[0].shape[0], values = parts.map { $0.floats() }, widths = parts.map { $0.shape[1] }
    var all: [Float] = []
    all.reserveCapacity(values.reduce(0) { $0 + $1.count })
    for row in 0..<rows { for (part, width) in zip(values, widths) { all += part[row * width..<(row + 1) * width] } }
    return Tensor(all, shape: [rows, widths.reduce(0, +)])
  }

  /// Tensors of one type after one another along their first axis.
  static func stacked(_ parts: [Tensor]) -> Tensor {
    var bytes: [UInt8] = [], first = 0
    bytes.reserveCapacity(parts.reduce(0) { $0 + $1.byteCount })
    for part in parts {
      part.withBytes { span in for i in 0..<span.count { bytes.append(span[i]) } }
      first += part.shape[0]
    }
    return Tensor.raw(bytes, dtype: parts[0].dtype, shape: Shape([first] + parts[0].shape.dims.dropFirst()))
  }

  private static func raw(_ bytes: [UInt8], dtype: DType, shape: Shape) -> Tensor {
    let storage = Tensor.copy(bytes, dtype: .u8, shape: [bytes.count]).storage
    // The bytes are those of tensors of this type and count.
    return Tensor(dtype: dtype, shape: shape, storage: storage, byteOffset: 0)!
  }
}
