// Plain twins of foreign operators: RotaryEmbedding, ONNX's and com.microsoft's. Pairs of elements of a head turn by the angle of their position, whose cosines
// and sines the caches hold; elements beyond `rotary_embedding_dim` stay.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func rotary() throws(GenericProblem) -> Tensor {
    let (type, shape) = try inferredShape()
    let microsoft = op.kind == .attention(.microsoftRotary)
    let x = try input(0).float32(), cos = try input(microsoft ? 2 : 1).float32(), sin = try input(microsoft ? 3 : 2).float32()
    let given = optional(microsoft ? 1 : 3), s = try op.rotarySizes(shape, cache: cos.shape, positions: given?.shape)
    // The line of the caches for each (batch, position).
    var lines = Array(0..<s.batch * s.count)
    if let given {
      let positions = try given.int64s(), available = cos.shape.dims[0]
      let all = positions.count == 1 && given.shape.rank == 1
      guard positions.allSatisfy({ $0 >= 0 && $0 <= available }) else { throw .invalid("\(op.kind.name) has a position beyond its caches of \(available)") }
      lines = lines.map { all ? positions[0] + $0 % Swift.max(s.count, 1) : positions[$0] }
      guard lines.allSatisfy({ $0 < available }) else { throw .invalid("\(op.kind.name) has a position beyond its caches of \(available)") }
    }
    let interleaved = (op.int("interleaved") ?? 0) != 0, half = s.turning / 2
    return try x.read(Float.self) { x throws(GenericProblem) in
      try cos.read(Float.self) { cos throws(GenericProblem) in
        try sin.read(Float.self) { sin throws(GenericProblem) in
          try Tensor.result(.f32, shape, of: Float.self) { out in
            for b in 0..<s.batch {
              for h in 0..<s.heads {
                for i in 0..<s.count {
                  let start = (s.packed ? (b * s.count + i) * s.heads + h : (b * s.heads + h) * s.count + i) * s.size
                  let from = x + start, to = out + start, line = lines[b * s.count + i] * half
                  for j in 0..<half {
                    let first = interleaved ? 2 * j : j, second = interleaved ? 2 * j + 1 : j + half
                    let c = cos[line + j], t = sin[line + j]
                    to[first] = c * from[first] - t * from[second]
                    to[second] = t * from[first] + c * from[second]
                  }
                  for j in s.turning..<s.size { to[j] = from[j] }
                }
              }
            }
          }
        }
      }
    }.rounded(to: type)
  }
}
