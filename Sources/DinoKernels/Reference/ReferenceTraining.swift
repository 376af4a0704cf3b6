// The plain twins of the operators of training: the formulas of TrainingOperator.swift as loops, sums in double. Slow on purpose: the oracle of kernels,
// itself checked against finite differences of the forward twins.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension Reference {
  /// dyᵀ·x for dy [rows, outputs] and x [rows, inputs]: [outputs, inputs].
  public static func weightGradient(_ dy: [Float], _ x: [Float], outputs: Int, inputs: Int) -> [Float] {
    let rows = dy.count / outputs
    precondition(dy.count == rows * outputs && x.count == rows * inputs)
    var sums = [Double](repeating: 0, count: outputs * inputs)
    for r in 0..<rows {
      for k in 0..<outputs {
        let d = Double(dy[r * outputs + k])
        for i in 0..<inputs { sums[k * inputs + i] += d * Double(x[r * inputs + i]) }
      }
    }
    return sums.map { Float($0) }
  }

  /// Normalised rows, and one over the deviation of each.
  private static func normalized(_ x: [Float], epsilon: Double, columns: Int) -> (n: [Double], inverse: [Double]) {
    var n = x.map(Double.init), inverse = [Double]()
    for start in stride(from: 0, to: x.count, by: columns) {
      let row = n[start..<start + columns]
      let mean = row.reduce(0, +) / Double(columns)
      let variance = row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(columns)
      let factor = 1 / (variance + epsilon).squareRoot()
      for i in start..<start + columns { n[i] = (n[i] - mean) * factor }
      inverse.append(factor)
    }
    return (n, inverse)
  }

  public static func layerNormGradient(_ dy: [Float], _ x: [Float], weight: [Float], epsilon: Double, columns: Int) -> [Float] {
    let (n, inverse) = normalized(x, epsilon: epsilon, columns: columns)
    var dx = dy
    for r in 0..<x.count / columns {
      let h = (0..<columns).map { Double(dy[r * columns + $0]) * Double(weight[$0]) }
      let mean = h.reduce(0, +) / Double(columns)
      let dot = (0..<columns).reduce(0.0) { $0 + h[$1] * n[r * columns + $1] } / Double(columns)
      for i in 0..<columns { dx[r * columns + i] = Float(inverse[r] * (h[i] - mean - n[r * columns + i] * dot)) }
    }
    return dx
  }

  public static func layerNormWeightGradient(_ dy: [Float], _ x: [Float], epsilon: Double, columns: Int) -> [Float] {
    let (n, _) = normalized(x, epsilon: epsilon, columns: columns)
    var sums = [Double](repeating: 0, count: columns)
    for i in dy.indices { sums[i % columns] += Double(dy[i]) * n[i] }
    return sums.map { Float($0) }
  }

  /// f'(x).
  public static func geluSlope(_ x: Float) -> Float {
    let v = Double(x)
    return Float(0.5 * (1 + erf(v * 0.5.squareRoot())) + v * exp(-v * v / 2) / (2 * Double.pi).squareRoot())
  }
  public static func geluTanhSlope(_ x: Float) -> Float {
    let v = Double(x), c = (2 / Double.pi).squareRoot()
    let t = tanh(c * (v + 0.044715 * v * v * v))
    return Float(0.5 * (1 + t) + 0.5 * v * (1 - t * t) * c * (1 + 3 * 0.044715 * v * v))
  }
  public static func reluSlope(_ x: Float) -> Float { x > 0 ? 1 : 0 }
  public static func siluSlope(_ x: Float) -> Float {
    let s = 1 / (1 + exp(-Double(x)))
    return Float(s + Double(x) * s * (1 - s))
  }

  /// The gradient by qkv [batch, tokens, 3·width] for dy [batch, tokens, width].
  public static func attentionGradient(_ dy: [Float], qkv: [Float], batch: Int, tokens: Int, width: Int, heads: Int, scale: Double) -> [Float] {
    let d = width / heads, queries = dy.count / (batch * width)
    let (q, k, v) = splitQKV(qkv, width: width)
    let p = attentionWeights(q: q, k: k, batch: batch, tokens: tokens, width: width, heads: heads, scale: scale, queries: queries)
    var sums = [Double](repeating: 0, count: qkv.count)
    for b in 0..<batch {
      for h in 0..<heads {
        for i in 0..<queries {
          let query = (b * tokens + i) * width + h * d, asked = (b * queries + i) * width + h * d, row = ((b * heads + h) * queries + i) * tokens
          let weights = p[row..<row + tokens].map(Double.init)
          let dp = (0..<tokens).map { j in
            (0..<d).reduce(0.0) { $0 + Double(dy[asked + $1]) * Double(v[(b * tokens + j) * width + h * d + $1]) }
          }
          let dot = zip(weights, dp).reduce(0.0) { $0 + $1.0 * $1.1 }
          for j in 0..<tokens {
            let key = (b * tokens + j) * width + h * d, ds = weights[j] * (dp[j] - dot) * scale
            let to = (b * tokens + i) * 3 * width + h * d, from = (b * tokens + j) * 3 * width + h * d
            for c in 0..<d {
              sums[to + c] += ds * Double(k[key + c])
              sums[from + width + c] += ds * Double(q[query + c])
              sums[from + 2 * width + c] += weights[j] * Double(dy[asked + c])
            }
          }
        }
      }
    }
    return sums.map { Float($0) }
  }

  public static func l2NormalizeGradient(_ dy: [Float], _ x: [Float], epsilon: Double, columns: Int) -> [Float] {
    var dx = dy
    for start in stride(from: 0, to: x.count, by: columns) {
      let range = start..<start + columns
      let norm = range.reduce(0.0) { $0 + Double(x[$1]) * Double(x[$1]) }.squareRoot()
      let dot = range.reduce(0.0) { $0 + Double(dy[$1]) * Double(x[$1]) }
      // Below epsilon the divisor is constant.
      for i in range { dx[i] = norm > epsilon ? Float((Double(dy[i]) - Double(x[i]) * dot / (norm * norm)) / norm) : Float(Double(dy[i]) / epsilon) }
    }
    return dx
  }

  /// The gradients of g·v/‖v‖ by v and by g.
  public static func weightNormGradients(_ dw: [Float], v: [Float], g: [Float], columns: Int) -> (v: [Float], g: [Float]) {
    var dv = dw, dg = [Float]()
    for r in 0..<v.count / columns {
      let range = r * columns..<(r + 1) * columns
      let norm = range.reduce(0.0) { $0 + Double(v[$1]) * Double(v[$1]) }.squareRoot()
      let dot = range.reduce(0.0) { $0 + Double(dw[$1]) * Double(v[$1]) }
      for i in range { dv[i] = Float(Double(g[r]) / norm * (Double(dw[i]) - Double(v[i]) * dot / (norm * norm))) }
      dg.append(Float(dot / norm))
    }
    return (dv, dg)
  }

  /// exp(x), columns normalised, then rows, `iterations` times.
  public static func sinkhorn(_ x: [Float], columns: Int, iterations: Int) -> [Float] {
    let top = Double(x.max() ?? 0), rows = x.count / columns
    var q = x.map { exp(Double($0) - top) }
    for _ in 0..<iterations {
      for c in 0..<columns {
        let sum = (0..<rows).reduce(0.0) { $0 + q[$1 * columns + c] }
        for r in 0..<rows { q[r * columns + c] /= sum }
      }
      for r in 0..<rows {
        let sum = (0..<columns).reduce(0.0) { $0 + q[r * columns + $1] }
        for c in 0..<columns { q[r * columns + c] /= sum }
      }
    }
    return q.map { Float($0) }
  }

  /// KoLeo of unit rows [groups · n, columns], and its gradient.
  public static func koleo(_ x: [Float], columns: Int, groups: Int) -> (loss: Float, gradient: [Float]) {
    let n = x.count / columns / groups
    var loss = 0.0, gradient = [Double](repeating: 0, count: x.count)
    for g in 0..<groups {
      for i in 0..<n {
        let a = (g * n + i) * columns
        var best = -Double.infinity, at = 0
        for j in 0..<n where j != i {
          let b = (g * n + j) * columns, dot = (0..<columns).reduce(0.0) { $0 + Double(x[a + $1]) * Double(x[b + $1]) }
          if dot > best { (best, at) = (dot, b) }
        }
        let difference = (0..<columns).map { Double(x[a + $0]) - Double(x[at + $0]) }
        let distance = difference.reduce(0) { $0 + $1 * $1 }.squareRoot()
        loss -= log(distance + 1e-8) / Double(n)
        guard distance > 0 else { continue }
        for c in 0..<columns {
          let d = -difference[c] / (distance * (distance + 1e-8) * Double(n))
          gradient[a + c] += d
          gradient[at + c] -= d
        }
      }
    }
    return (Float(loss), gradient.map { Float($0) })
  }

  /// Columns of x [rows, columns]: mean, and variance over `rows - less`.
  public static func columnStatistics(_ x: [Float], columns: Int, less: Int) -> (mean: [Double], variance: [Double]) {
    let rows = x.count / columns
    var mean = [Double](repeating: 0, count: columns), variance = mean
    for i in x.indices { mean[i % columns] += Double(x[i]) / Double(rows) }
    for i in x.indices {
      let d = Double(x[i]) - mean[i % columns]
      variance[i % columns] += d * d / Double(rows - less)
    }
    return (mean, variance)
  }

  public static func batchNorm(_ x: [Float], weight: [Float], bias: [Float], epsilon: Double) -> [Float] {
    let columns = weight.count, (mean, variance) = columnStatistics(x, columns: columns, less: 0)
    return x.indices.map { i in
      let c = i % columns
      return Float((Double(x[i]) - mean[c]) / (variance[c] + epsilon).squareRoot() * Double(weight[c]) + Double(bias[c]))
    }
  }

  /// The gradients of batchNorm by x and by its weight.
  public static func batchNormGradients(_ dy: [Float], _ x: [Float], weight: [Float], epsilon: Double) -> (x: [Float], weight: [Float]) {
    let columns = weight.count, rows = Double(x.count / columns), (mean, variance) = columnStatistics(x, columns: columns, less: 0)
    var sums = [Double](repeating: 0, count: columns), dots = sums
    func normalized(_ i: Int) -> Double { (Double(x[i]) - mean[i % columns]) / (variance[i % columns] + epsilon).squareRoot() }
    for i in x.indices {
      sums[i % columns] += Double(dy[i])
      dots[i % columns] += Double(dy[i]) * normalized(i)
    }
    let dx = x.indices.map { i in
      let c = i % columns
      return Float(Double(weight[c]) / (variance[c] + epsilon).squareRoot() * (Double(dy[i]) - sums[c] / rows - normalized(i) * dots[c] / rows))
    }
    return (dx, dots.map { Float($0) })
  }

  /// Of `gate`, with f's derivative: dy has rows of `columns`, x of twice as many.
  public static func gateGradient(_ dy: [Float], _ x: [Float], columns: Int, _ f: (Float) -> Float, slope: (Float) -> Float) -> [Float] {
    var dx = x
    for (i, d) in dy.enumerated() {
      let first = i / columns * 2 * columns + i % columns
      dx[first] = d * x[first + columns] * slope(x[first])
      dx[first + columns] = d * f(x[first])
    }
    return dx
  }

  public static func softmaxGradient(_ dy: [Float], _ y: [Float], columns: Int) -> [Float] {
    var dx = dy
    for start in stride(from: 0, to: y.count, by: columns) {
      let dot = (start..<start + columns).reduce(0.0) { $0 + Double(dy[$1]) * Double(y[$1]) }
      for i in start..<start + columns { dx[i] = Float(Double(y[i]) * (Double(dy[i]) - dot)) }
    }
    return dx
  }

  /// The mean over rows of 1 - cosine, and its derivative by a.
  public static func cosineDistance(_ a: [Float], _ b: [Float], columns: Int) -> (loss: Float, gradient: [Float]) {
    let rows = a.count / columns
    var loss = 0.0, gradient = [Float](repeating: 0, count: a.count)
    for r in 0..<rows {
      let x = (0..<columns).map { Double(a[r * columns + $0]) }, y = (0..<columns).map { Double(b[r * columns + $0]) }
      let length = max(x.reduce(0) { $0 + $1 * $1 }.squareRoot(), 1e-8), other = max(y.reduce(0) { $0 + $1 * $1 }.squareRoot(), 1e-8)
      let cosine = zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } / (length * other)
      loss += (1 - cosine) / Double(rows)
      for i in 0..<columns { gradient[r * columns + i] = Float((x[i] * cosine / length - y[i] / other) / length / Double(rows)) }
    }
    return (Float(loss), gradient)
  }

  /// -Σ target · log softmax(factor · logits).
  public static func softCrossEntropy(_ logits: [Float], target: [Float], factor: Float, columns: Int) -> Float {
    var loss = 0.0
    for start in stride(from: 0, to: logits.count, by: columns) {
      let s = logits[start..<start + columns].map { Double($0) * Double(factor) }
      let top = s.max() ?? 0
      let normalizer = top + log(s.reduce(0) { $0 + exp($1 - top) })
      for i in 0..<columns { loss -= Double(target[start + i]) * (s[i] - normalizer) }
    }
    return Float(loss)
  }

  public static func softCrossEntropyGradient(_ logits: [Float], target: [Float], factor: Float, by dloss: Float, columns: Int) -> [Float] {
    var dx = softmax(logits.map { $0 * factor }, columns: columns)
    for start in stride(from: 0, to: logits.count, by: columns) {
      let total = target[start..<start + columns].reduce(0.0) { $0 + Double($1) }
      for i in start..<start + columns { dx[i] = Float(Double(factor) * Double(dloss) * (Double(dx[i]) * total - Double(target[i]))) }
    }
    return dx
  }

  /// For each of `views` views the teacher's distributions of the other global views, over the terms of the loss; q is [2·batch, columns].
  public static func crossViewTargets(_ q: [Float], batch: Int, views: Int, columns: Int) -> [Float] {
    let terms = Float((2 * views - 2) * batch), half = batch * columns
    return (0..<views).flatMap { view in (0..<half).map { i in
      ((view == 0 ? 0 : q[i]) + (view == 1 ? 0 : q[half + i])) / terms
    } }
  }

  /// x summed to a shape that broadcasts to x's.
  public static func sum(_ x: [Float], _ shape: [Int], to like: [Int]) -> [Float] {
    let padded = Array(repeating: 1, count: shape.count - like.count) + like
    var sums = [Double](repeating: 0, count: like.reduce(1, *))
    for i in x.indices {
      var rest = i, step = 1, at = 0
      for axis in shape.indices.reversed() {
        let index = rest % shape[axis]
        rest /= shape[axis]
        if padded[axis] > 1 { at += index * step }
        step *= padded[axis]
      }
      sums[at] += Double(x[i])
    }
    return sums.map { Float($0) }
  }
}
