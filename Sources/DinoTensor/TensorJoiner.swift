// Tensors of one shape that come one after the other, in one block of memory: each is copied to its place when it comes and need not be kept until the last one is there.
// It computes nothing.

/// A block with room for so many tensors like the first.
public struct TensorJoiner {
  private let capacity: Int
  private let storage: Storage
  private let dtype: DType
  private let shape: Shape
  public private(set) var count = 0

  /// - Parameter like: gives type and shape; its first axis is the one along which tensors are joined.
  public init(capacity: Int, like first: Tensor) throws(StorageError) {
    precondition(capacity > 0 && first.shape.rank > 0)
    self.capacity = capacity
    dtype = first.dtype
    shape = first.shape
    storage = try Storage(byteCount: capacity * first.byteCount)
  }

  /// Copies a tensor to the next place and gives it there.
  public mutating func append(_ tensor: Tensor) -> Tensor {
    precondition(count < capacity && tensor.dtype == dtype && tensor.shape == shape, "tensors to join must be alike, and no more than there is room for")
    let offset = count * tensor.byteCount
    (storage.base + offset).copyMemory(from: tensor.storage.base + tensor.byteOffset, byteCount: tensor.byteCount)
    count += 1
    return Tensor(dtype: dtype, shape: shape, storage: storage, byteOffset: offset)!
  }
}

extension Tensor {
  /// Tensors of one type and shape behind each other along their first axis: as they are where they lie so already, in new memory otherwise.
  public static func joined(_ parts: [Tensor]) throws(StorageError) -> Tensor {
    guard let first = parts.first, first.shape.rank > 0, parts.allSatisfy({ $0.dtype == first.dtype && $0.shape == first.shape }) else { preconditionFailure("tensors to join must be alike, and at least one") }
    let shape = Shape([parts.count * first.shape[0]] + first.shape.dims.dropFirst())
    if parts.indices.allSatisfy({ parts[$0].storage === first.storage && parts[$0].byteOffset == first.byteOffset + $0 * first.byteCount }) {
      return Tensor(dtype: first.dtype, shape: shape, storage: first.storage, byteOffset: first.byteOffset)!
    }
    var joiner = try TensorJoiner(capacity: parts.count, like: first)
    let start = parts.map { joiner.append($0) }[0]
    return Tensor(dtype: first.dtype, shape: shape, storage: start.storage, byteOffset: 0)!
  }
}

extension Tensor {
  /// Tensors as 32-bit floats, one after the other, joined only while somebody reads them (see `Storage.release`): the pages of a mapped file under the parts go when they are copied.
  public static func derived(joining parts: [Tensor], shape: Shape) throws(StorageError) -> Tensor {
    precondition(shape.count > 0 && parts.reduce(0) { $0 + $1.count } == shape.count, "parts must fill \(shape)")
    let storage = try Storage(byteCount: shape.count * 4) { bytes in
      var out = bytes.assumingMemoryBound(to: Float.self)
      for part in parts {
        part.convert(range: 0..<part.count, into: out)
        part.releasePages()
        out += part.count
      }
    }
    return Tensor(dtype: .f32, shape: shape, storage: storage, byteOffset: 0)!
  }
}
