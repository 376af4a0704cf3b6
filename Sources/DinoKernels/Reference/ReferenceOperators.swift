// The plain twin of every Core operator: loops as one would write them from the doc comments of Operator.swift, sums in double. Slow on
// purpose, and kept: the oracle of kernel and plan tests, and what evaluates constant parts of a graph when a plan is made.
// Arrays are row-major and dense.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

public enum Reference {
  /// Rotary positions on the first `columns` of each row of x [rows, width], or the transpose of what they do; row r has position r mod tokens.
  public static func rotary(_ x: [Float], width: Int, columns: Int, transposed: Bool = false, cos: [Float], sin: [Float], tokens: Int) -> [Float] {
    let d = cos.count / tokens, half = d / 2
    precondition(x.count % width == 0 && cos.count == sin.count && columns % d == 0)
    var y = x
    for row in 0..<x.count / width {
      for c in 0..<columns {
        let i = c % d, group = row * width + c - i, p = row % tokens * d + i
        let other = i < half ? i + half : i - half, isNegative = (i < half) != transposed
        // Row i of the matrix has sin of i beside the diagonal; row i of its transpose that of the other half.
        let across = x[group + other] * sin[transposed ? p - i + other : p]
        y[group + i] = x[group + i] * cos[p] + (isNegative ? -across : across)
      }
    }
    return y
  }

  /// [rows, columns] as [columns, rows].
  public static func transpose(_ x: [Float], rows: Int, columns: Int) -> [Float] {
    precondition(x.count == rows * columns)
    return (0..<columns).flatMap { c in (0..<rows).map { x[$0 * columns + c] } }
  }

  /// x·wᵀ for x [rows, inputs], w [outputs, inputs]; then + bias, activation, · scale, + residual, in this order.
  public static func linear(_ x: [Float], _ w: [Float], rows: Int, inputs: Int, outputs: Int, bias: [Float]? = nil,
                            activation: ((Float) -> Float)? = nil, scale: [Float]? = nil, residual: [Float]? = nil) -> [Float] {
    precondition(x.count == rows * inputs && w.count == outputs * inputs)
    var y = [Float](repeating: 0, count: rows * outputs)
    for r in 0..<rows {
      for o in 0..<outputs {
        var sum = 0.0
        for i in 0..<inputs { sum += Double(x[r * inputs + i]) * Double(w[o * inputs + i]) }
        var v = Float(sum + Double(bias?[o] ?? 0))
        if let activation { v = activation(v) }
        if let scale { v *= scale[o] }
        if let residual { v += residual[r * outputs + o] }
        y[r * outputs + o] = v
      }
    }
    return y
  }

  /// x·Φ(x), with the C library's error function in double.
  public static func gelu(_ x: Float) -> Float { Float(0.5 * Double(x) * (1 + erf(Double(x) * 0.5.squareRoot()))) }
  /// The tanh approximation of `gelu` (Hendrycks & Gimpel 2016).
  public static func geluTanh(_ x: Float) -> Float {
    let v = Double(x)
    return Float(0.5 * v * (1 + tanh((2 / Double.pi).squareRoot() * (v + 0.044715 * v * v * v))))
  }
  public static func relu(_ x: Float) -> Float { max(x, 0) }
  public static func silu(_ x: Float) -> Float { Float(Double(x) / (1 + exp(-Double(x)))) }

  /// (x - mean)/sqrt(variance + epsilon)·weight + bias for each row of `columns`; biased variance.
  public static func layerNorm(_ x: [Float], weight: [Float], bias: [Float], epsilon: Double, columns: Int) -> [Float] {
    var y = x
    for r in 0..<(x.count / max(columns, 1)) {
      let row = x[r * columns..<(r + 1) * columns]
      let mean = row.reduce(0.0) { $0 + Double($1) } / Double(columns)
      let variance = row.reduce(0.0) { $0 + (Double($1) - mean) * (Double($1) - mean) } / Double(columns)
      let inverse = 1 / (variance + epsilon).squareRoot()
      for i in 0..<columns { y[r * columns + i] = Float((Double(x[r * columns + i]) - mean) * inverse * Double(weight[i]) + Double(bias[i])) }
    }
    return y
  }

  /// Softmax over rows of `columns`.
  public static func softmax(_ x: [Float], columns: Int) -> [Float] {
    var y = x
    for r in 0..<(x.count / max(columns, 1)) {
      let row = x[r * columns..<(r + 1) * columns].map(Double.init)
      let top = row.max() ?? 0
      let e = row.map { exp($0 - top) }
      let sum = e.reduce(0, +)
      for i in 0..<columns { y[r * columns + i] = Float(e[i] / sum) }
    }
    return y
  }

  /// softmax(scale·q·kᵀ) of each head: [batch, heads, tokens, tokens], or [batch, heads, tokens] for the first query only. q and k are [batch, tokens, width].
  /// - Parameter queries: how many tokens ask, the first ones; nil for all.
  public static func attentionWeights(q: [Float], k: [Float], batch: Int, tokens: Int, width: Int, heads: Int, scale: Double, queries: Int? = nil) -> [Float] {
    let d = width / heads, queries = queries ?? tokens
    var scores = [Float]()
    scores.reserveCapacity(batch * heads * queries * tokens)
    for b in 0..<batch {
      for h in 0..<heads {
        for i in 0..<queries {
          for j in 0..<tokens {
            var dot = 0.0
            for c in 0..<d { dot += Double(q[(b * tokens + i) * width + h * d + c]) * Double(k[(b * tokens + j) * width + h * d + c]) }
            scores.append(Float(dot * scale))
          }
        }
      }
    }
    return softmax(scores, columns: tokens)
  }

  /// softmax(scale·q·kᵀ)·v of each head, heads side by side: [batch, queries, width].
  public static func attention(q: [Float], k: [Float], v: [Float], batch: Int, tokens: Int, width: Int, heads: Int, scale: Double, queries: Int? = nil) -> [Float] {
    let d = width / heads, queries = queries ?? tokens
    let weights = attentionWeights(q: q, k: k, batch: batch, tokens: tokens, width: width, heads: heads, scale: scale, queries: queries)
    var y = [Float](repeating: 0, count: batch * queries * width)
    for b in 0..<batch {
      for h in 0..<heads {
        for i in 0..<queries {
          for c in 0..<d {
            var sum = 0.0
            for j in 0..<tokens { sum += Double(weights[((b * heads + h) * queries + i) * tokens + j]) * Double(v[(b * tokens + j) * width + h * d + c]) }
            y[(b * queries + i) * width + h * d + c] = Float(sum)
          }
        }
      }
    }
    return y
  }

  /// q, k and v out of [rows, 3·width].
  public static func splitQKV(_ qkv: [Float], width: Int) -> (q: [Float], k: [Float], v: [Float]) {
    let rows = qkv.count / (3 * width)
    func part(_ n: Int) -> [Float] { (0..<rows).flatMap { qkv[($0 * 3 + n) * width..<($0 * 3 + n + 1) * width] } }
    return (part(0), part(1), part(2))
  }

  /// Patches of an image [batch, channels, height, width] as rows [batch·patches, channels·patch·patch], patches row by row; what does not fill a patch is left out.
  public static func patches(_ image: [Float], batch: Int, channels: Int, height: Int, width: Int, patch: Int) -> [Float] {
    let rows = height / patch, columns = width / patch
    var out = [Float]()
    out.reserveCapacity(batch * rows * columns * channels * patch * patch)
    for b in 0..<batch {
      for r in 0..<rows {
        for c in 0..<columns {
          for ch in 0..<channels {
            for y in 0..<patch {
              let start = ((b * channels + ch) * height + r * patch + y) * width + c * patch
              out.append(contentsOf: image[start..<start + patch])
            }
          }
        }
      }
    }
    return out
  }

  /// f(first half) · second half, of rows of 2 · `columns`.
  public static func gate(_ x: [Float], columns: Int, _ f: (Float) -> Float) -> [Float] {
    stride(from: 0, to: x.count, by: 2 * columns).flatMap { start in (start..<start + columns).map { f(x[$0]) * x[$0 + columns] } }
  }

  /// x / max(‖x‖₂, epsilon) over rows of `columns`.
  public static func l2Normalize(_ x: [Float], epsilon: Double, columns: Int) -> [Float] {
    var y = x
    for r in 0..<(x.count / max(columns, 1)) {
      var sum = 0.0
      for i in 0..<columns { sum += Double(x[r * columns + i]) * Double(x[r * columns + i]) }
      let inverse = 1 / max(sum.squareRoot(), epsilon)
      for i in 0..<columns { y[r * columns + i] = Float(Double(x[r * columns + i]) * inverse) }
    }
    return y
  }

  /// g·v/‖v‖ for each row of v [rows, columns].
  public static func weightNorm(v: [Float], g: [Float], columns: Int) -> [Float] {
    var y = v
    for r in 0..<(v.count / max(columns, 1)) {
      var sum = 0.0
      for i in 0..<columns { sum += Double(v[r * columns + i]) * Double(v[r * columns + i]) }
      let factor = Double(g[r]) / sum.squareRoot()
      for i in 0..<columns { y[r * columns + i] = Float(Double(v[r * columns + i]) * factor) }
    }
    return y
  }

  /// f(a, b) with NumPy's broadcasting; shapes outermost first.
  public static func broadcast(_ a: [Float], _ aShape: [Int], _ b: [Float], _ bShape: [Int], _ f: (Float, Float) -> Float) -> [Float] {
    let rank = max(aShape.count, bShape.count)
    let ad = Array(repeating: 1, count: rank - aShape.count) + aShape, bd = Array(repeating: 1, count: rank - bShape.count) + bShape
    let out = zip(ad, bd).map { max($0, $1) }
    func strides(_ dims: [Int]) -> [Int] {
      var s = [Int](repeating: 0, count: rank), step = 1
      for axis in stride(from: rank - 1, through: 0, by: -1) {
        s[axis] = dims[axis] == 1 ? 0 : step
        step *= dims[axis]
      }
      return s
    }
    let sa = strides(ad), sb = strides(bd)
    let total = out.reduce(1, *)
    var y = [Float]()
    y.reserveCapacity(total)
    var index = [Int](repeating: 0, count: rank)
    for _ in 0..<total {
      var i = 0, j = 0
      for axis in 0..<rank {
        i += index[axis] * sa[axis]
        j += index[axis] * sb[axis]
      }
      y.append(f(a[i], b[j]))
      var axis = rank - 1
      while axis >= 0 {
        index[axis] += 1
        if index[axis] < out[axis] { break }
        index[axis] = 0
        axis -= 1
      }
    }
    return y
  }
}
