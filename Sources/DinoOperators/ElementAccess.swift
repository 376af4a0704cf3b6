// How twins read elements and make results: typed pointers, conversion to the type of the arithmetic and back with correct rounding, the limit on results,
// and dispatch over element types. No operator is computed here.
//
// Arithmetic is in the element's own type. F16 and BF16 have none here: their twins convert to F32 (`float32`), compute, and round once (`rounded`).

import DinoGraph
import DinoKernels
import DinoTensor

// MARK: - Reading

extension Tensor {
  /// The elements as contiguous, aligned `T`. The width of `T` must be that of the dtype. The pointer is valid inside `body` only.
  @inline(__always)
  func read<T: BitwiseCopyable, R>(_ type: T.Type, _ body: (UnsafePointer<T>) throws(GenericProblem) -> R) throws(GenericProblem) -> R {
    precondition(MemoryLayout<T>.stride * 8 == dtype.bitWidth, "elements of \(dtype.rawValue) are not that wide")
    let tensor = try aligned()
    defer { withExtendedLifetime(tensor.storage) {} }
    return try body(UnsafePointer((tensor.storage.base + tensor.byteOffset).assumingMemoryBound(to: T.self)))
  }

  /// This tensor, or a copy where a view into a file does not start at a multiple of the element's width.
  func aligned() throws(GenericProblem) -> Tensor {
    let width = Swift.max(dtype.bitWidth / 8, 1)
    if Int(bitPattern: storage.base + byteOffset) % width == 0 { return self }
    let copy = try Tensor.result(dtype, shape)
    copy.storage.base.copyMemory(from: storage.base + byteOffset, byteCount: byteCount)
    return copy
  }

  /// An F32 tensor of the same values: itself, or converted (wide types round to nearest).
  func float32() throws(GenericProblem) -> Tensor {
    if dtype == .f32 { return try aligned() }
    guard dtype.convertsToFloat else { throw .unsupported("\(dtype.rawValue) elements are not computed with here") }
    return try Tensor.result(.f32, shape, of: Float.self) { out in convert(range: 0..<count, into: out) }
  }

  /// All elements of any plain type as doubles; wide integers round to nearest.
  func doubles() throws(GenericProblem) -> [Double] {
    switch dtype {
    case .f64: return try elements(Double.self)
    case .i64: return try elements(Int64.self).map(Double.init)
    case .u64: return try elements(UInt64.self).map(Double.init)
    case .i32: return try elements(Int32.self).map(Double.init)
    case .u32: return try elements(UInt32.self).map(Double.init)
    default:
      guard dtype.convertsToFloat else { throw .unsupported("\(dtype.rawValue) elements are not computed with here") }
      return floats().map(Double.init)
    }
  }

  /// A copy of the elements as an array of `T`, which must be as wide as the dtype.
  func elements<T: BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) -> [T] {
    let n = count
    return try read(type) { p in Array(UnsafeBufferPointer(start: p, count: n)) }
  }

  /// All elements of an integer or BOOL tensor.
  func int64s() throws(GenericProblem) -> [Int] {
    guard let values = integers() else { throw .invalid("integers are needed, not \(dtype.rawValue) (or one is out of range)") }
    return values
  }
}

// MARK: - Results

extension Tensor {
  /// Results above this many bytes are refused: a hostile shape must not take the machine's memory.
  static let largestResult = 1 << 33

  /// Bytes of a result, where it is not too large.
  @discardableResult
  static func size(_ dtype: DType, _ shape: Shape) throws(GenericProblem) -> Int {
    guard let count = shape.checkedCount, let bytes = dtype.byteCount(of: count), bytes <= largestResult else {
      throw .unsupported("a result of shape \(shape) is larger than 8 GB")
    }
    // Asking the system costs more than small results do.
    if bytes > 64 << 20, let available = availableMemory(), bytes > available {
      throw .unsupported("a result of shape \(shape) needs \(bytes) bytes, more than is available")
    }
    return bytes
  }

  /// New memory for a result; the caller writes every element through `storage.base`.
  static func result(_ dtype: DType, _ shape: Shape) throws(GenericProblem) -> Tensor {
    let bytes = try size(dtype, shape)
    guard let storage = try? Storage(byteCount: bytes), let tensor = Tensor(dtype: dtype, shape: shape, storage: storage, byteOffset: 0) else {
      throw .unsupported("there is no memory for a result of shape \(shape)")
    }
    return tensor
  }

  /// A new tensor whose elements `fill` writes, all of them.
  @inline(__always)
  static func result<T: BitwiseCopyable>(_ dtype: DType, _ shape: Shape, of type: T.Type,
                                         fill: (UnsafeMutablePointer<T>) throws(GenericProblem) -> Void) throws(GenericProblem) -> Tensor {
    precondition(MemoryLayout<T>.stride * 8 == dtype.bitWidth, "elements of \(dtype.rawValue) are not that wide")
    let tensor = try result(dtype, shape)
    defer { withExtendedLifetime(tensor.storage) {} }
    try fill(tensor.storage.base.assumingMemoryBound(to: T.self))
    return tensor
  }

  /// This F32 tensor's values in a float type, rounded to nearest even.
  func rounded(to target: DType) throws(GenericProblem) -> Tensor {
    precondition(dtype == .f32)
    let n = count
    switch target {
    case .f32: return self
    case .f16: return try read(Float.self) { x throws(GenericProblem) in
      try Tensor.result(.f16, shape, of: UInt16.self) { out in for i in 0..<n { out[i] = halfFromFloat(x[i]) } }
    }
    case .bf16: return try read(Float.self) { x throws(GenericProblem) in
      try Tensor.result(.bf16, shape, of: UInt16.self) { out in for i in 0..<n { out[i] = bfloat16FromFloat(x[i]) } }
    }
    case .f64: return try read(Float.self) { x throws(GenericProblem) in
      try Tensor.result(.f64, shape, of: Double.self) { out in for i in 0..<n { out[i] = Double(x[i]) } }
    }
    default: throw .unsupported("\(target.rawValue) results are not computed here")
    }
  }

  /// The same bytes under another shape of the same count; unlike `reshaped` it never stops the program.
  func viewed(as shape: Shape) throws(GenericProblem) -> Tensor {
    guard shape.checkedCount == count, let view = Tensor(dtype: dtype, shape: shape, storage: storage, byteOffset: byteOffset) else {
      throw .invalid("\(self.shape) cannot be seen as \(shape)")
    }
    return view
  }
}

/// To the neighbour of `value` in F32 that a second rounding, to a narrower type, treats as it would treat `value` itself (rounding to odd).
func oddFloat(_ value: Double) -> Float {
  let f = Float(value)
  guard f.isFinite, Double(f) != value, f.bitPattern & 1 == 0 else { return f }
  let towardsZero = Swift.abs(Double(f)) > Swift.abs(value)
  return Float(bitPattern: towardsZero ? f.bitPattern &- 1 : f.bitPattern &+ 1)
}
/// F16 bits of a double, rounded once.
func halfFromDouble(_ value: Double) -> UInt16 { halfFromFloat(oddFloat(value)) }
/// BF16 bits of a double, rounded once.
func bfloat16FromDouble(_ value: Double) -> UInt16 { bfloat16FromFloat(oddFloat(value)) }

// MARK: - What the shape rules say

extension OperatorCall {
  /// Element types and shapes of the results, from the shape rules, which also check inputs and attributes: twins start here.
  func inferred() throws(GenericProblem) -> [ValueFact] {
    try op.infer(inputs.map { $0.map(ValueFact.init) }, outputs: outputs)
  }

  /// Type and shape of the one result, or of the `i`th.
  func inferredShape(_ i: Int = 0) throws(GenericProblem) -> (dtype: DType, shape: Shape) {
    let facts = try inferred()
    guard i < facts.count, let shape = facts[i].shape else { throw .unsupported("\(op.kind.name): the shape of its result could not be found") }
    return (facts[i].dtype, shape)
  }
}

// MARK: - Arithmetic of any plain type

/// What elementwise twins need of an element type: arithmetic that wraps (integers) or follows IEEE (floats), and never stops the program.
protocol NumericElement: Numeric, Comparable, BitwiseCopyable, Sendable {
  static func add(_ a: Self, _ b: Self) -> Self
  static func sub(_ a: Self, _ b: Self) -> Self
  static func mul(_ a: Self, _ b: Self) -> Self
  /// Integers truncate towards zero; the caller has refused zero divisors.
  static func div(_ a: Self, _ b: Self) -> Self
  static var isInteger: Bool { get }
  var isNotANumber: Bool { get }
  static var lowest: Self { get }
  static var highest: Self { get }
  var double: Double { get }
  /// Truncated towards zero and wrapped into the type, where it is an integer type.
  init(wrapping value: Double)
}

extension NumericElement where Self: FixedWidthInteger {
  @inline(__always) static func add(_ a: Self, _ b: Self) -> Self { a &+ b }
  @inline(__always) static func sub(_ a: Self, _ b: Self) -> Self { a &- b }
  @inline(__always) static func mul(_ a: Self, _ b: Self) -> Self { a &* b }
  @inline(__always) static func div(_ a: Self, _ b: Self) -> Self { b == 0 ? 0 : a.dividedReportingOverflow(by: b).partialValue }
  @inline(__always) static var isInteger: Bool { true }
  @inline(__always) var isNotANumber: Bool { false }
  @inline(__always) static var lowest: Self { min }
  @inline(__always) static var highest: Self { max }
  @inline(__always) var double: Double { Double(self) }
  @inline(__always) init(wrapping value: Double) { self = Self(truncatingIfNeeded: wrappedInteger(value)) }
}
extension NumericElement where Self: BinaryFloatingPoint {
  @inline(__always) static func add(_ a: Self, _ b: Self) -> Self { a + b }
  @inline(__always) static func sub(_ a: Self, _ b: Self) -> Self { a - b }
  @inline(__always) static func mul(_ a: Self, _ b: Self) -> Self { a * b }
  @inline(__always) static func div(_ a: Self, _ b: Self) -> Self { a / b }
  @inline(__always) static var isInteger: Bool { false }
  @inline(__always) var isNotANumber: Bool { self != self }
  @inline(__always) static var lowest: Self { -infinity }
  @inline(__always) static var highest: Self { infinity }
  @inline(__always) var double: Double { Double(self) }
  @inline(__always) init(wrapping value: Double) { self = Self(value) }
}

/// A double as a 64-bit integer: truncated; what no 64-bit integer holds becomes the least one, as the CPU's own instruction gives; large positives
/// that U64 holds keep their bits.
@inline(__always)
func wrappedInteger(_ value: Double) -> Int64 {
  if value > -9.2233720368547758e18, value < 9.2233720368547758e18 { return Int64(value) }
  if value >= 9.2233720368547758e18, value < 1.8446744073709552e19 { return Int64(bitPattern: UInt64(value)) }
  return .min
}

extension Float: NumericElement {}
extension Double: NumericElement {}
extension Int8: NumericElement {}
extension UInt8: NumericElement {}
extension Int16: NumericElement {}
extension UInt16: NumericElement {}
extension Int32: NumericElement {}
extension UInt32: NumericElement {}
extension Int64: NumericElement {}
extension UInt64: NumericElement {}

/// Work that is the same for each element type; `dispatch` calls it with the Swift type of a dtype.
protocol ElementWork {
  associatedtype Output
  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Output
}

extension ElementWork {
  /// Runs the work on the Swift type of `dtype`. BOOL runs as UInt8; F16 and BF16 must have been converted before.
  @inline(__always)
  func dispatch(_ dtype: DType) throws(GenericProblem) -> Output {
    switch dtype {
    case .f32: return try run(Float.self)
    case .f64: return try run(Double.self)
    case .i8: return try run(Int8.self)
    case .u8, .bool: return try run(UInt8.self)
    case .i16: return try run(Int16.self)
    case .u16: return try run(UInt16.self)
    case .i32: return try run(Int32.self)
    case .u32: return try run(UInt32.self)
    case .i64: return try run(Int64.self)
    case .u64: return try run(UInt64.self)
    case .f16, .bf16, .f4, .f6e2m3, .f6e3m2, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz, .c64:
      throw .unsupported("\(dtype.rawValue) elements are not computed with here")
    }
  }
}

/// Work that moves elements without looking at them; `dispatch` calls it with an unsigned integer of the element's width.
protocol MoveWork {
  associatedtype Output
  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) -> Output
}

extension MoveWork {
  @inline(__always)
  func dispatch(_ dtype: DType) throws(GenericProblem) -> Output {
    switch dtype.bitWidth {
    case 8: return try run(UInt8.self)
    case 16: return try run(UInt16.self)
    case 32: return try run(UInt32.self)
    case 64: return try run(UInt64.self)
    default: throw .unsupported("\(dtype.rawValue) elements, narrower than a byte, are not moved here")
    }
  }
}

/// Work on integer element types only.
protocol IntegerWork {
  associatedtype Output
  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> Output
}

extension IntegerWork {
  @inline(__always)
  func dispatch(_ dtype: DType) throws(GenericProblem) -> Output {
    switch dtype {
    case .i8: return try run(Int8.self)
    case .u8, .bool: return try run(UInt8.self)
    case .i16: return try run(Int16.self)
    case .u16: return try run(UInt16.self)
    case .i32: return try run(Int32.self)
    case .u32: return try run(UInt32.self)
    case .i64: return try run(Int64.self)
    case .u64: return try run(UInt64.self)
    case .f32, .f64, .f16, .bf16, .f4, .f6e2m3, .f6e3m2, .f8e5m2, .f8e4m3, .f8e8m0, .f8e4m3fnuz, .f8e5m2fnuz, .c64:
      throw .unsupported("\(dtype.rawValue) elements are not integers")
    }
  }
}
