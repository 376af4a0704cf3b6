// A typed, shaped, contiguous view of a Storage. It holds values; it computes nothing but conversions between element types.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// A contiguous row-major tensor. Copies share the storage.
public struct Tensor: Sendable {
  public let dtype: DType
  public let shape: Shape
  public let storage: Storage
  public let byteOffset: Int

  public var count: Int { shape.count }
  public var byteCount: Int { dtype.byteCount(of: shape.count)! }
  public var byteRange: Range<Int> { byteOffset..<(byteOffset + byteCount) }

  /// A view of `storage`; nil where the shape does not fit into it. Alignment is not required.
  public init?(dtype: DType, shape: Shape, storage: Storage, byteOffset: Int) {
    guard let count = shape.checkedCount, let bytes = dtype.byteCount(of: count), byteOffset >= 0 else { return nil }
    let (end, overflow) = byteOffset.addingReportingOverflow(bytes)
    guard !overflow, end <= storage.byteCount else { return nil }
    self.dtype = dtype
    self.shape = shape
    self.storage = storage
    self.byteOffset = byteOffset
  }

  /// New memory, filled by `body`, which gets the bytes uninitialised.
  public init(dtype: DType, shape: Shape, fill body: (UnsafeMutableRawBufferPointer) throws -> Void) throws {
    guard let count = shape.checkedCount, let bytes = dtype.byteCount(of: count) else { throw StorageError.outOfMemory(bytes: .max) }
    let storage = try Storage(byteCount: bytes)
    try body(UnsafeMutableRawBufferPointer(start: storage.base, count: bytes))
    self.dtype = dtype
    self.shape = shape
    self.storage = storage
    byteOffset = 0
  }

  /// A float tensor with a copy of `values`, whose count must be that of `shape`.
  public init(_ values: [Float], shape: Shape) {
    precondition(values.count == shape.count, "\(values.count) values for shape \(shape)")
    self = Tensor.copy(values, dtype: .f32, shape: shape)
  }

  /// A tensor of any plain element type with a copy of `values`; widths must agree.
  public static func copy<T: BitwiseCopyable>(_ values: [T], dtype: DType, shape: Shape) -> Tensor {
    precondition(values.count == shape.count && MemoryLayout<T>.stride * 8 == dtype.bitWidth)
    // A copy of an array that already fits in memory; failing here is out-of-memory.
    guard let t = try? Tensor(dtype: dtype, shape: shape, fill: { out in values.withUnsafeBytes { out.copyMemory(from: $0) } })
    else { fatalError("out of memory") }
    return t
  }

  /// The same bytes under another shape of the same count.
  public func reshaped(_ shape: Shape) -> Tensor {
    precondition(shape.checkedCount == count, "cannot see \(self.shape) as \(shape)")
    return Tensor(dtype: dtype, shape: shape, storage: storage, byteOffset: byteOffset)!
  }

  public var unsafeBytes: UnsafeRawBufferPointer {
    UnsafeRawBufferPointer(start: storage.base + byteOffset, count: byteCount)
  }

  /// The bytes, for safe code.
  public func withBytes<R, E: Error>(_ body: (Span<UInt8>) throws(E) -> R) throws(E) -> R {
    try storage.reading { (base) throws(E) in
      try body(UnsafeBufferPointer(start: UnsafePointer((base + byteOffset).assumingMemoryBound(to: UInt8.self)), count: byteCount).span)
    }
  }

  /// Whether one of the bytes has this value.
  public func contains(byte: UInt8) -> Bool { byteCount > 0 && memchr(storage.base + byteOffset, Int32(byte), byteCount) != nil }

  /// Lets go of the resident pages of a mapped file under this tensor; see `Storage.release`.
  public func releasePages() { storage.release(byteRange) }
}
