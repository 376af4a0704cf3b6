// The plain twin of Einsum: the sum over all labels that the result does not have, element by element. It is the definition; nothing here is fast.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func einsum() throws(GenericProblem) -> Tensor {
    let (dtype, shape) = try inferredShape()
    guard let equation = op.string("equation") else { throw .invalid("Einsum has no equation") }
    var operands: [Tensor] = []
    for i in inputs.indices { operands.append(try input(i)) }
    let plan = try EinsumPlan(equation, operands.map(\.shape))
    let labels = plan.output + Set(plan.operands.joined()).subtracting(plan.output).sorted()
    var work = 1
    for label in labels { work = work.multipliedReportingOverflow(by: plan.extents[label] ?? 1).overflow ? .max : work * (plan.extents[label] ?? 1) }
    guard work <= 1 << 36 else { throw .unsupported("Einsum '\(equation.prefix(80))' of this size") }
    if dtype == .f16 || dtype == .bf16 {
      var wide: [Tensor] = []
      for operand in operands { wide.append(try operand.float32()) }
      return try EinsumWork(operands: wide, plan: plan, labels: labels, dtype: .f32, shape: shape).dispatch(.f32).rounded(to: dtype)
    }
    return try EinsumWork(operands: operands, plan: plan, labels: labels, dtype: dtype, shape: shape).dispatch(dtype)
  }
}

private struct EinsumWork: ElementWork {
  let operands: [Tensor]
  let plan: EinsumPlan
  /// Those of the result first.
  let labels: [Int]
  let dtype: DType
  let shape: Shape

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    var values: [[T]] = [], steps: [[Int]] = []
    for (operand, names) in zip(operands, plan.operands) {
      values.append(try operand.elements(T.self))
      let strides = operand.shape.strides
      // A label may stand twice in an operand (its diagonal); an extent of 1 stays where it is.
      steps.append(labels.map { label in names.indices.reduce(0) { $0 + (names[$1] == label && operand.shape[$1] != 1 ? strides[$1] : 0) } })
    }
    let outer = plan.output.count, extents = labels.map { plan.extents[$0] ?? 1 }
    let inner = extents[outer...].reduce(1, *)
    return try Tensor.result(dtype, shape, of: T.self) { out in
      var index = [Int](repeating: 0, count: labels.count)
      var at = [Int](repeating: 0, count: operands.count)
      func advance(_ range: Range<Int>) {
        for axis in range.reversed() {
          index[axis] += 1
          for o in at.indices { at[o] += steps[o][axis] }
          if index[axis] < extents[axis] { return }
          for o in at.indices { at[o] -= steps[o][axis] * extents[axis] }
          index[axis] = 0
        }
      }
      for i in 0..<shape.count {
        var sum: T = 0
        for _ in 0..<inner {
          var product: T = 1
          for o in at.indices { product = T.mul(product, values[o][at[o]]) }
          sum = T.add(sum, product)
          advance(outer..<labels.count)
        }
        out[i] = sum
        advance(0..<outer)
      }
    }
  }
}
