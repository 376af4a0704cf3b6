// Plain twins of foreign operators: com.microsoft's Attention, QAttention and MultiHeadAttention, in F32. What they leave out: the shape rule says.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func microsoftAttention() throws(GenericProblem) -> [Tensor] {
    let facts = try inferred(), quantized = op.kind == .attention(.quantized), target = facts[0].dtype
    let x = try input(0), w = try input(1), past = optional(quantized ? 8 : 4)
    let s = try op.microsoftSizes(x.shape, w.shape, past: past?.shape)
    let bias = try optional(2)?.float32().floats()
    let all = quantized ? try quantizedProjection(x, w, bias) : try projection(x.float32(), w.float32(), bias)
    // Queries, keys and values lie beside each other.
    let rows = s.heads * s.size, width = 2 * rows + s.heads * s.valueSize
    func slice(_ start: Int, _ size: Int) throws(GenericProblem) -> Tensor {
      try all.strided([s.batch, s.queries, size], start: start, steps: [s.queries * width, width, 1]).splitHeads(s.heads)
    }
    let q = try slice(0, rows)
    let k = try slice(rows, rows).appended(to: try past?.part(0, of: 0).float32(), axis: 2, context)
    let v = try slice(2 * rows, s.heads * s.valueSize).appended(to: try past?.part(1, of: 0).float32(), axis: 2, context)
    let y = try microsoftCore(s, q, k, v, mask: optional(quantized ? 5 : 3), bias: quantized ? nil : optional(5))
    if facts.count == 1 { return [try y.rounded(to: target)] }
    let one: Shape = [1, s.batch, s.heads, s.keys, s.size]
    let present = try v.viewed(as: one).appended(to: try k.viewed(as: one), axis: 0, context)
    return [try y.rounded(to: target), try present.rounded(to: target)]
  }

  func multiHeadAttention() throws(GenericProblem) -> [Tensor] {
    let facts = try inferred(), target = facts[0].dtype, given = try input(0)
    let s = try op.multiHeadSizes(inputs.map { $0?.shape })
    let bias = try optional(3)?.float32().floats(), rows = s.heads * s.size
    var q: Tensor, k: Tensor, v: Tensor
    if given.shape.rank == 5 {
      let packed = try given.float32()
      func take(_ i: Int) throws(GenericProblem) -> Tensor { try packed.part(i, of: 3).transposed([0, 2, 1, 3]) }
      (q, k, v) = (try take(0), try take(1), try take(2))
    } else {
      q = try given.float32().plus(bias?[..<rows]).splitHeads(s.heads)
      let key = try input(1).float32()
      switch key.shape.rank {
      case 5: (k, v) = (try key.part(0, of: 3).transposed([0, 2, 1, 3]), try key.part(1, of: 3).transposed([0, 2, 1, 3]))
      case 4: (k, v) = (key, try input(2).float32())
      default:
        k = try key.plus(bias?[rows..<(2 * rows)]).splitHeads(s.heads)
        v = try input(2).float32().plus(bias?[(2 * rows)...]).splitHeads(s.heads)
      }
    }
    k = try k.appended(to: try optional(6)?.float32(), axis: 2, context)
    v = try v.appended(to: try optional(7)?.float32(), axis: 2, context)
    let y = try microsoftCore(s, q, k, v, mask: optional(4), bias: optional(5))
    var results: [Tensor] = []
    for tensor in [y, k, v].prefix(facts.count) { results.append(try tensor.rounded(to: target)) }
    return results
  }

  /// Attention with com.microsoft's masks: hidden keys get `mask_filter_value`, keys in the future the least number.
  private func microsoftCore(_ s: AttentionSizes, _ q: Tensor, _ k: Tensor, _ v: Tensor, mask: Tensor?, bias: Tensor?) throws(GenericProblem) -> Tensor {
    let filter = op.float("mask_filter_value") ?? -10000, causal = (op.int("unidirectional") ?? 0) != 0
    let given = op.float("scale") ?? 0, scale = given == 0 ? 1 / Double(Swift.max(s.size, 1)).squareRoot() : Double(given)
    let mask = try mask.map { m throws(GenericProblem) in (shape: m.shape, values: try m.elements(Int32.self)) }
    let extra = try bias.map { m throws(GenericProblem) in (shape: m.shape, values: try m.float32().floats()) }
    let core = AttentionCore(sizes: s, scale: scale)
    let (y, _) = try core.run(Float.self, q: q, k: k, v: v, team: context.team) { b, h, i, row in
      if let mask {
        if mask.shape.rank == 1 {
          // Where the keys end and, in a second list, where they start.
          let end = Int(mask.values[b]), start = mask.values.count == 2 * s.batch ? Int(mask.values[s.batch + b]) : 0
          for j in 0..<s.keys where j < start || j >= end { row[j] += filter }
        } else {
          let from = (mask.shape.rank == 2 ? b : b * s.queries + i) * s.keys
          for j in 0..<s.keys where mask.values[from + j] <= 0 { row[j] += filter }
        }
      }
      if let extra {
        let line = (extra.shape.dims[0] == 1 ? 0 : b) * extra.shape.dims[1] + (extra.shape.dims[1] == 1 ? 0 : h)
        let from = (line * s.queries + i) * s.keys
        for j in 0..<s.keys { row[j] += extra.values[from + j] }
      }
      if causal, s.past + i + 1 < s.keys { for j in (s.past + i + 1)..<s.keys { row[j] = -Float.greatestFiniteMagnitude } }
    }
    return try y.joinedHeads()
  }

  /// x · w + bias, [batch, count, inputs] by [inputs, width].
  private func projection(_ x: Tensor, _ w: Tensor, _ bias: [Float]?) throws(GenericProblem) -> Tensor {
    let rows = x.shape.dims[0] * x.shape.dims[1], depth = w.shape.dims[0], width = w.shape.dims[1]
    return try x.read(Float.self) { x throws(GenericProblem) in
      try w.read(Float.self) { w throws(GenericProblem) in
        try Tensor.result(.f32, [rows, width], of: Float.self) { out in
          for i in 0..<rows {
            let row = out + i * width
            row.initialize(repeating: 0, count: width)
            for l in 0..<depth {
              let factor = x[i * depth + l], line = w + l * width
              for j in 0..<width { row[j] += factor * line[j] }
            }
            if let bias { for j in 0..<width { row[j] += bias[j] } }
          }
        }
      }
    }
  }

  private func quantizedProjection(_ x: Tensor, _ w: Tensor, _ bias: [Float]?) throws(GenericProblem) -> Tensor {
    let rows = x.shape.dims[0] * x.shape.dims[1], depth = w.shape.dims[0], width = w.shape.dims[1]
    let scale = try oneFloat(3), scales = try input(4).floats()
    let sums = try Tensor.result(.i32, [rows, width])
    let sumsPointer = sums.storage.base.assumingMemoryBound(to: Int32.self)
    defer { withExtendedLifetime((x.storage, w.storage, sums.storage)) {} }
    try IntegerProduct.multiply(try x.integerMatrices(zero: optional(6), perRow: true, rows: rows, columns: depth).matrix(0),
                                try w.integerMatrices(zero: optional(7), perRow: false, rows: depth, columns: width).matrix(0), into: sumsPointer, rows: rows, depth: depth, columns: width, context)
    return try Tensor.result(.f32, [rows, width], of: Float.self) { out in
      for i in 0..<rows {
        for j in 0..<width { out[i * width + j] = Float(sumsPointer[i * width + j]) * (scale * scales[scales.count == 1 ? 0 : j]) + (bias?[j] ?? 0) }
      }
    }
  }
}

extension Tensor {
  /// With a bias added along the last axis.
  fileprivate func plus(_ bias: ArraySlice<Float>?) throws(GenericProblem) -> Tensor {
    guard let bias else { return self }
    let values = Array(bias), width = values.count, n = count
    return try read(Float.self) { p throws(GenericProblem) in
      try Tensor.result(.f32, shape, of: Float.self) { out in
        for row in 0..<(width == 0 ? 0 : n / width) {
          for j in 0..<width { out[row * width + j] = p[row * width + j] + values[j] }
        }
      }
    }
  }
}
