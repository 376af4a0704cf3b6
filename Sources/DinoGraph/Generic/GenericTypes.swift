// Which element types foreign operators take, and checks that the shape rules of all groups share. No shapes here.

internal import DinoTensor

/// Sets of element types, as ONNX's type constraints combine them.
enum TypeSet {
  static let floats: [DType] = [.f32, .f16, .bf16, .f64]
  static let signed: [DType] = [.i64, .i32, .i16, .i8]
  static let unsigned: [DType] = [.u64, .u32, .u16, .u8]
  static let integers: [DType] = signed + unsigned
  static let numbers: [DType] = floats + integers
  static let plain: [DType] = numbers + [.bool]
  static let indices: [DType] = [.i64, .i32]
}

extension GenericRule {
  /// The fact of an input that must be given, with one of these element types.
  func input(_ i: Int, _ types: [DType]) throws(GenericProblem) -> ValueFact {
    let fact = try input(i)
    try check(fact, i, types)
    return fact
  }

  /// The fact of an input that may be left out, with one of these element types where it is given.
  func optional(_ i: Int, _ types: [DType]) throws(GenericProblem) -> ValueFact? {
    guard let fact = optional(i) else { return nil }
    try check(fact, i, types)
    return fact
  }

  func check(_ fact: ValueFact, _ i: Int, _ types: [DType]) throws(GenericProblem) {
    guard types.contains(fact.dtype) else {
      let known = TypeSet.plain.contains(fact.dtype)
      throw GenericProblem(known ? .invalid : .unsupported, "\(op.kind.name) takes no \(fact.dtype.rawValue) elements as its input \(i)\(known ? "" : " here")")
    }
  }

  /// Checks that two inputs have the same element type.
  func same(_ a: ValueFact, _ b: ValueFact) throws(GenericProblem) {
    guard a.dtype == b.dtype else { throw .invalid("\(op.kind.name) has inputs of different element types, \(a.dtype.rawValue) and \(b.dtype.rawValue)") }
  }

  /// At most this many inputs may be given.
  func atMost(_ count: Int) throws(GenericProblem) {
    guard inputs.count <= count || inputs[count...].allSatisfy({ $0 == nil }) else {
      throw .invalid("\(op.kind.name) takes \(count) inputs, not \(inputs.count)")
    }
  }

  /// What an input says of axes, extents and the like, when it is given: the integers, or `.unknown` where they are not known before running.
  func list(_ i: Int, scalarAllowed: Bool = true) throws(GenericProblem) -> GivenList {
    guard let fact = optional(i) else { return .absent }
    try check(fact, i, TypeSet.integers)
    if let shape = fact.shape {
      guard shape.rank <= 1 else { throw .invalid("\(op.kind.name) needs a list as its input \(i), not a tensor of shape \(shape)") }
      // Lists hold extents and axes: more of them than this is a hostile file.
      guard let count = shape.checkedCount, count <= 4096 else { throw .unsupported("\(op.kind.name) has \(shape) numbers in its input \(i)") }
    }
    guard let value = fact.value else { return .unknown(count: fact.shape?.checkedCount) }
    guard let numbers = value.integers() else { throw .invalid("\(op.kind.name): a number of input \(i) is out of range") }
    return .known(numbers)
  }

  /// The one number of an input, when it is known; nil where it is not known before running. The input must be given and hold one element.
  func number(_ i: Int, _ types: [DType]) throws(GenericProblem) -> GivenNumber? {
    let fact = try input(i, types)
    if let shape = fact.shape, shape.checkedCount != 1 { throw .invalid("\(op.kind.name) needs one number as its input \(i), not a tensor of shape \(shape)") }
    guard let value = fact.value else { return nil }
    if let integers = value.integers() { return .integer(integers[0]) }
    guard let double = value.scalarDouble else { throw .unsupported("\(op.kind.name) cannot read its input \(i)") }
    return .real(double)
  }
}

enum GivenList {
  case absent, unknown(count: Int?), known([Int])
}

enum GivenNumber {
  case integer(Int), real(Double)
  var double: Double { switch self { case .integer(let v): Double(v); case .real(let v): v } }
  /// Truncated towards zero; nil where no Int holds it.
  var truncated: Int? { switch self { case .integer(let v): v; case .real(let v): Int(exactly: v.rounded(.towardZero)) } }
}

extension Tensor {
  /// The value of a tensor with one float element, f64 included.
  var scalarDouble: Double? {
    guard count == 1 else { return nil }
    if dtype == .f64 {
      return withBytes { bytes in
        var bits: UInt64 = 0
        for i in 0..<8 { bits |= UInt64(bytes[i]) << UInt64(8 * i) }
        return Double(bitPattern: bits)
      }
    }
    return dtype.convertsToFloat ? Double(floats()[0]) : nil
  }
}

extension DType {
  /// The element type that ONNX gives this number in attributes (`to`, `dtype`); nil for strings and types that are not here.
  init?(onnxNumber: Int) {
    let types: [Int: DType] = [
      1: .f32, 2: .u8, 3: .i8, 4: .u16, 5: .i16, 6: .i32, 7: .i64, 9: .bool, 10: .f16, 11: .f64, 12: .u32, 13: .u64, 14: .c64, 16: .bf16,
      17: .f8e4m3, 18: .f8e4m3fnuz, 19: .f8e5m2, 20: .f8e5m2fnuz, 24: .f8e8m0,
    ]
    guard let type = types[onnxNumber] else { return nil }
    self = type
  }
}
