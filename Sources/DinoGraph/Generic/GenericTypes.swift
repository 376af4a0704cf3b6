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
}
