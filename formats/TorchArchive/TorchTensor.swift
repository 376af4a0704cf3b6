// A tensor of an archive: a strided view of a storage, and its conversion to a contiguous Tensor, without a copy where the bytes allow it.

public import DinoTensor

/// A tensor as the archive describes it. Every element was checked to lie in its storage when the archive was opened.
public struct TorchTensor: Sendable, CustomStringConvertible {
  public let dtype: DType
  public let shape: Shape
  /// Elements between neighbours along each axis; 0 where an axis was expanded.
  public let strides: [Int]
  /// The first element, counted in elements from the storage's start.
  public let storageOffset: Int
  /// Tensors with the same key share memory in PyTorch.
  public let storageKey: String
  public let requiresGradient: Bool
  /// Whether it was an `nn.Parameter`.
  public let isParameter: Bool
  let table: StorageTable
  /// The first element, counted in bytes from the storage's start.
  let byteOffset: Int

  /// Whether elements lie row by row without gaps, so that no copy is needed.
  public var isContiguous: Bool {
    if shape.dims.contains(0) { return true }
    var expected = 1
    for axis in stride(from: shape.rank - 1, through: 0, by: -1) where shape.dims[axis] != 1 {
      if strides[axis] != expected { return false }
      expected *= shape.dims[axis]
    }
    return true
  }

  /// The values, contiguous: a view of the mapped file where elements lie in order and are not compressed, a copy otherwise.
  /// Throws where a compressed storage is damaged or memory is out.
  public func tensor() throws(TorchArchiveError) -> Tensor {
    let bytes = try table.bytes(storageKey)
    if isContiguous && !table.bigEndian {
      let offset = shape.dims.contains(0) ? 0 : bytes.start + byteOffset
      if let view = Tensor(dtype: dtype, shape: shape, storage: bytes.storage, byteOffset: offset) { return view }
      throw .badStorage(file: table.file, key: storageKey, detail: "it is shorter than a tensor of \(shape) needs")
    }
    let swap = table.bigEndian ? (dtype == .c64 ? 4 : dtype.bitWidth / 8) : 1
    do {
      return try unsafe Tensor(dtype: dtype, shape: shape) { out in
        unsafe gather(bytes.storage.base + bytes.start + byteOffset, shape: shape.dims, strides: strides, width: dtype.bitWidth / 8, into: out)
        if swap > 1 { unsafe swapWords(out, width: swap) }
      }
    } catch {
      throw .badStorage(file: table.file, key: storageKey, detail: "there is no memory for a tensor of \(shape)")
    }
  }

  public var description: String { "tensor \(dtype.rawValue) \(shape)" }
}

/// Copies a strided view row by row. The caller has checked that every element lies in the memory at `source`, and that `out` has room for all.
func gather(_ source: UnsafeRawPointer, shape: [Int], strides: [Int], width: Int, into out: UnsafeMutableRawBufferPointer) {
  let count = shape.reduce(1, *)
  guard count > 0, let target = out.baseAddress else { return }
  // An axis of one element is never stepped along, whatever stride a file gives it.
  let steps = zip(shape, strides).map { $0 == 1 ? 0 : $1 * width }
  let inner = shape.last ?? 1, innerStep = steps.last ?? width
  var index = [Int](repeating: 0, count: max(shape.count - 1, 0))
  var from = 0, to = 0
  while to < count * width {
    unsafe copyRow(source + from, step: innerStep, target + to, count: inner, width: width)
    to += inner * width
    var axis = index.count - 1
    while axis >= 0 {
      index[axis] += 1
      from += steps[axis]
      if index[axis] < shape[axis] { break }
      from -= steps[axis] * shape[axis]
      index[axis] = 0
      axis -= 1
    }
  }
}

private func copyRow(_ source: UnsafeRawPointer, step: Int, _ target: UnsafeMutableRawPointer, count: Int, width: Int) {
  if step == width || count == 1 { return unsafe target.copyMemory(from: source, byteCount: count * width) }
  func copy<T: BitwiseCopyable>(_ type: T.Type) {
    for i in 0..<count {
      unsafe target.storeBytes(of: (source + i * step).loadUnaligned(as: type), toByteOffset: i * width, as: type)
    }
  }
  switch width {
  case 1: copy(UInt8.self)
  case 2: copy(UInt16.self)
  case 4: copy(UInt32.self)
  default: copy(UInt64.self)
  }
}

private func swapWords(_ bytes: UnsafeMutableRawBufferPointer, width: Int) {
  var i = 0
  while i + width <= bytes.count {
    for k in 0..<width / 2 { unsafe bytes.swapAt(i + k, i + width - 1 - k) }
    i += width
  }
}
