// Tensors of one kind (parameters, their gradients, an optimizer's moments) in one block of memory, each at a 64-byte border. It holds; ParameterUpdates computes.

public import DinoTensor

public final class ParameterBlock: @unchecked Sendable {
  public let storage: Storage
  public let tensors: [Tensor]
  /// Where each tensor lies, in floats.
  public let ranges: [Range<Int>]

  /// Zeros of these shapes. Blocks of the same shapes lie alike.
  public init(shapes: [Shape]) throws(StorageError) {
    var ranges: [Range<Int>] = [], end = 0
    for shape in shapes {
      ranges.append(end..<end + shape.count)
      end = (end + shape.count + 15) / 16 * 16
    }
    storage = try Storage(byteCount: max(end, 1) * 4, zeroed: true)
    self.ranges = ranges
    let block = storage
    tensors = zip(shapes, ranges).map { Tensor(dtype: .f32, shape: $0, storage: block, byteOffset: $1.lowerBound * 4)! }
  }

  public var pointer: UnsafeMutablePointer<Float> { storage.base.assumingMemoryBound(to: Float.self) }

  /// Writes the values of a tensor, of any type that converts, into tensor `i`.
  public func set(_ i: Int, to tensor: Tensor) {
    precondition(tensor.count == ranges[i].count)
    tensor.convert(range: 0..<tensor.count, into: pointer + ranges[i].lowerBound)
  }

  public func copy(from other: ParameterBlock) {
    precondition(ranges == other.ranges)
    storage.base.copyMemory(from: other.storage.base, byteCount: storage.byteCount)
  }
}

extension Tensor {
  /// Overwrites 32-bit floats that training owns. Nobody may be reading them.
  public func overwrite(with values: [Float]) {
    precondition(dtype == .f32 && storage.kind == .allocated && values.count == count)
    (storage.base + byteOffset).assumingMemoryBound(to: Float.self).update(from: values, count: values.count)
  }
}
