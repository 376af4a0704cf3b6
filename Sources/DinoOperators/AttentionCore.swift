// Scaled dot-product attention, which the operators of this group share: softmax(softcap(q · kᵀ · scale) + bias) · v for each head, a row at a time. Masks are
// the callers' matter, who fill the bias of a row. No operator here.

import DinoGraph
import DinoKernels
import DinoTensor

struct AttentionCore {
  let sizes: AttentionSizes
  let scale: Double
  var softcap = 0.0

  /// Which of the intermediate scores are wanted: as ONNX's `qk_matmul_output_mode` numbers them; nil where none are.
  var scoresMode: Int?

  /// - Parameters:
  ///   - q: [batch, heads, queries, size], with k and v alike, all of the type `T`.
  ///   - bias: fills the addends of one row of scores; -infinity hides a key. A row that hides every key gives zeros.
  /// - Returns: [batch, heads, queries, valueSize], and the scores where they are wanted.
  func run<T: FloatElement>(_ type: T.Type, q: Tensor, k: Tensor, v: Tensor, team: ThreadTeam,
                            bias: (_ batch: Int, _ head: Int, _ query: Int, _ row: UnsafeMutablePointer<T>) -> Void) throws(GenericProblem) -> (Tensor, Tensor?) {
    let s = sizes, n = s.keys, d = s.size, e = s.valueSize
    let y = try Tensor.result(q.dtype, [s.batch, s.heads, s.queries, e])
    let scores = scoresMode == nil ? nil : try Tensor.result(q.dtype, [s.batch, s.heads, s.queries, n])
    // Keys with their elements along rows, so that a row of scores is a sum of rows.
    let turned = try k.transposed([0, 1, 3, 2])
    let scale = T(self.scale), cap = T(softcap), perKey = s.keyHeads == 0 ? 1 : s.heads / s.keyHeads
    try q.read(T.self) { q throws(GenericProblem) in
      try turned.read(T.self) { k throws(GenericProblem) in
        try v.read(T.self) { v throws(GenericProblem) in
          let out = y.storage.base.assumingMemoryBound(to: T.self), kept = scores?.storage.base.assumingMemoryBound(to: T.self)
          team.forEach(s.batch * s.heads) { task in
            let b = task / s.heads, h = task % s.heads, shared = b * s.keyHeads + h / perKey
            let keys = k + shared * d * n, values = v + shared * n * e
            withUnsafeTemporaryAllocation(of: T.self, capacity: Swift.max(2 * n, 1)) { scratch in
              let row = scratch.baseAddress!, addend = row + n
              for i in 0..<s.queries {
                let query = q + (task * s.queries + i) * d, result = out + (task * s.queries + i) * e
                let keep = kept.map { $0 + (task * s.queries + i) * n }
                row.initialize(repeating: 0, count: n)
                for l in 0..<d {
                  let x = query[l], line = keys + l * n
                  for j in 0..<n { row[j] += x * line[j] }
                }
                for j in 0..<n { row[j] *= scale }
                if scoresMode == 0 { keep?.update(from: row, count: n) }
                if cap > 0 { for j in 0..<n { row[j] = cap * T.cTanh(row[j] / cap) } }
                if scoresMode == 1 { keep?.update(from: row, count: n) }
                addend.initialize(repeating: 0, count: n)
                bias(b, h, i, addend)
                var visible = false
                for j in 0..<n { visible = visible || addend[j] != -T.infinity }
                for j in 0..<n { row[j] += addend[j] }
                if scoresMode == 2 { keep?.update(from: row, count: n) }
                if visible { Self.softmax(row, n) } else { row.update(repeating: 0, count: n) }
                if scoresMode == 3 { keep?.update(from: row, count: n) }
                result.initialize(repeating: 0, count: e)
                for j in 0..<n {
                  let p = row[j], line = values + j * e
                  for l in 0..<e { result[l] += p * line[l] }
                }
              }
            }
          }
        }
      }
    }
    withExtendedLifetime((y.storage, scores?.storage)) {}
    return (y, scores)
  }

  private static func softmax<T: FloatElement>(_ row: UnsafeMutablePointer<T>, _ n: Int) {
    var top = -T.infinity
    for j in 0..<n { top = row[j] > top ? row[j] : top }
    if top == -T.infinity { top = 0 }
    var sum: T = 0
    for j in 0..<n {
      row[j] = T.cExp(row[j] - top)
      sum += row[j]
    }
    let share = sum == 0 ? 1 : sum
    for j in 0..<n { row[j] /= share }
  }
}

extension Tensor {
  /// [batch, count, heads · size] as [batch, heads, count, size].
  func splitHeads(_ heads: Int) throws(GenericProblem) -> Tensor {
    let size = heads == 0 ? 0 : shape.dims[2] / heads
    return try viewed(as: [shape.dims[0], shape.dims[1], heads, size]).transposed([0, 2, 1, 3])
  }

  /// [batch, heads, count, size] as [batch, count, heads · size].
  func joinedHeads() throws(GenericProblem) -> Tensor {
    try transposed([0, 2, 1, 3]).viewed(as: [shape.dims[0], shape.dims[2], shape.dims[1] * shape.dims[3]])
  }

  /// This tensor after another along an axis.
  func appended(to past: Tensor?, axis: Int, _ context: OperatorContext) throws(GenericProblem) -> Tensor {
    guard let past else { return self }
    return try Generic(.layout(.concat), version: 13, attributes: ["axis": .int(axis)]).evaluate([past, self], outputs: 1, context: context)[0]
  }

  /// Part `i` of an axis, which goes.
  func part(_ i: Int, of axis: Int) throws(GenericProblem) -> Tensor {
    var dims = shape.dims, steps = shape.strides
    let start = i * steps[axis]
    dims.remove(at: axis)
    steps.remove(at: axis)
    return try strided(Shape(dims), start: start, steps: steps)
  }
}
