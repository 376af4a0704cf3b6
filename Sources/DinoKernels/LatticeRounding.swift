// Rounds the weights of a linear layer for the least squared error of the layer's results on typical inputs, rather than of the weights themselves: with G the inputs' second
// moments, each row minimises (w − q)ᵀ G (w − q) over the integers, by Babai's nearest-plane rule (the idea of GPTQ): one element after the other, those with the largest inputs
// first, each takes up what the rounding of those before it has cost. Then single elements move by whole steps while that helps.

internal import CDinoKernels
public import DinoTensor

public struct LatticeRounding: Sendable {
  public let width: Int
  /// Which element stands at each place: those of large inputs last, as rounding begins at the end.
  private let order: [Int]
  /// G in this order, and its lower Cholesky factor, row-major.
  private let gram: [Float]
  private let factor: [Float]

  /// - Parameters:
  ///   - moments: the mean of x xᵀ over inputs x, [width, width].
  ///   - damping: what is added to the diagonal, as a share of its mean: noise of the inputs' own rounding, and what the sample has not seen.
  /// Nil where the moments are not those of finite inputs.
  public init?(moments: [Double], width: Int, damping: Double = 0.01) {
    precondition(width > 0 && moments.count == width * width)
    self.width = width
    let order = (0..<width).sorted { (moments[$0 * width + $0], $0) < (moments[$1 * width + $1], $1) }
    var a = order.flatMap { i in order.map { moments[i * width + $0] } }, trace = 0.0
    for i in 0..<width { trace += a[i * width + i] }
    guard trace.isFinite, trace >= 0 else { return nil }
    let added = trace > 0 ? damping * trace / Double(width) : 1
    for i in 0..<width { a[i * width + i] += added }
    self.order = order
    gram = a.map { Float($0) }
    guard a.withUnsafeMutableBufferPointer({ Self.cholesky($0.baseAddress!, width) }) else { return nil }
    factor = a.map { Float($0) }
  }

  /// Cholesky–Banachiewicz in place: the lower triangle becomes the factor. False where the matrix is not positive.
  private static func cholesky(_ a: UnsafeMutablePointer<Double>, _ n: Int) -> Bool {
    for i in 0..<n {
      let row = a + i * n
      for j in 0...i {
        let rest = row[j] - dot(row, a + j * n, j)
        if i == j {
          guard rest > 0, rest.isFinite else { return false }
          row[j] = rest.squareRoot()
        } else {
          row[j] = rest / a[j * n + j]
        }
      }
    }
    return true
  }

  private static func dot(_ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ n: Int) -> Double {
    var sum = SIMD8<Double>.zero, i = 0
    while i + 8 <= n {
      sum += UnsafeRawPointer(x + i).loadUnaligned(as: SIMD8<Double>.self) * UnsafeRawPointer(y + i).loadUnaligned(as: SIMD8<Double>.self)
      i += 8
    }
    var total = sum.sum()
    while i < n {
      total += x[i] * y[i]
      i += 1
    }
    return total
  }

  /// What the range of a row may shrink to.
  private static let ranges: [Float] = [1, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6]

  /// Eight bits, a scale for each row: I8 of the weight's shape and F32 [out].
  public func int8(_ weight: Tensor, team: ThreadTeam) throws -> (values: Tensor, scales: Tensor) {
    let out = weight.shape[0], d = width
    precondition(weight.count == out * d)
    let values = try Tensor(dtype: .i8, shape: weight.shape) { _ in }, scales = try Tensor(dtype: .f32, shape: [out]) { _ in }
    let bytes = Sendables(values.storage.base.assumingMemoryBound(to: Int8.self)), factors = Sendables(scales.storage.base.assumingMemoryBound(to: Float.self))
    team.forEach(out) { row in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 6 * d) { memory in
        let x = memory.baseAddress!, steps = x + d, targets = x + 2 * d, q = x + 3 * d, best = x + 4 * d, plain = x + 5 * d
        weight.convert(range: row * d..<(row + 1) * d, into: plain)
        for i in 0..<d { x[i] = plain[order[i]] }
        var largest: Float = 0, least = Float.infinity
        for i in 0..<d { largest = max(largest, abs(x[i])) }
        factors.pointer[row] = 1
        best.update(repeating: 0, count: d)
        if largest > 0 {
          for range in Self.ranges {
            let scale = largest * range / 127
            guard scale > 0 else { continue }
            steps.update(repeating: scale, count: d)
            let error = round(x, steps, limit: 127, targets, q)
            if error < least {
              (least, factors.pointer[row]) = (error, scale)
              best.update(from: q, count: d)
            }
          }
        }
        steps.update(repeating: factors.pointer[row], count: d)
        refine(x, steps, limit: 127, targets, best)
        for i in 0..<d { bytes.pointer[row * d + order[i]] = Int8(best[i]) }
      }
    }
    weight.releasePages()
    return (values, scales)
  }

  /// Four bits in groups of 32: the scales that `rounded` found, other nibbles.
  public func int4(_ weight: Tensor, team: ThreadTeam) throws -> (values: Tensor, scales: Tensor) {
    var importance = [Float](repeating: 0, count: width)
    for i in 0..<width { importance[order[i]] = gram[i * width + i] }
    let (values, scales) = try Int4Groups.rounded(weight, importance: importance, team: team)
    let out = weight.shape[0], d = width, size = Int4Groups.size, groups = (d + size - 1) / size
    let bytes = Sendables(values.storage.base.assumingMemoryBound(to: UInt8.self))
    team.forEach(out) { row in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 5 * d + groups) { memory in
        let x = memory.baseAddress!, steps = x + d, targets = x + 2 * d, q = x + 3 * d, plain = x + 4 * d, factors = x + 5 * d
        weight.convert(range: row * d..<(row + 1) * d, into: plain)
        for i in 0..<d { x[i] = plain[order[i]] }
        scales.convert(range: row * groups..<(row + 1) * groups, into: factors)
        for i in 0..<d { steps[i] = factors[order[i] / size] }
        _ = round(x, steps, limit: 7, targets, q)
        refine(x, steps, limit: 7, targets, q)
        for i in 0..<d {
          let at = row * groups * (size / 2) + order[i] / 2, nibble = UInt8(q[i] + 8)
          bytes.pointer[at] = order[i] % 2 == 0 ? bytes.pointer[at] & 0xF0 | nibble : bytes.pointer[at] & 0x0F | nibble << 4
        }
      }
    }
    return (values, scales)
  }

  /// Moves single elements by whole steps as long as the error falls, at most a few times over the row: with e what is left of x and g = G e, element i is best moved by
  /// g[i] / (step · G[i, i]).
  private func refine(_ x: UnsafePointer<Float>, _ steps: UnsafePointer<Float>, limit: Float, _ g: UnsafeMutablePointer<Float>, _ q: UnsafeMutablePointer<Float>) {
    let d = width
    gram.withUnsafeBufferPointer { gram in
      g.update(repeating: 0, count: d)
      for i in 0..<d {
        let e = x[i] - q[i] * steps[i], row = gram.baseAddress! + i * d
        for j in 0..<d { g[j] += e * row[j] }
      }
      for _ in 0..<4 {
        var moved = false
        for i in 0..<d where steps[i] > 0 {
          let row = gram.baseAddress! + i * d
          let to = min(max(q[i] + (g[i] / (steps[i] * row[i])).rounded(.toNearestOrEven), -limit), limit), change = (to - q[i]) * steps[i]
          guard to != q[i] else { continue }
          moved = true
          q[i] = to
          for j in 0..<d { g[j] -= change * row[j] }
        }
        if !moved { return }
      }
    }
  }

  /// One row with given steps. Returns the squared error of its results.
  private func round(_ x: UnsafePointer<Float>, _ steps: UnsafePointer<Float>, limit: Float, _ targets: UnsafeMutablePointer<Float>, _ q: UnsafeMutablePointer<Float>) -> Float {
    let d = width
    // What later elements have cost, in units of the results: element i is to take up targets[i] / L[i, i].
    targets.update(repeating: 0, count: d)
    return factor.withUnsafeBufferPointer { l in
      var error: Float = 0, i = d - 1
      while i >= 0 {
        let row = l.baseAddress! + i * d, wanted = x[i] + targets[i] / row[i]
        q[i] = min(max((wanted / steps[i]).rounded(.toNearestOrEven), -limit), limit)
        let own = wanted - q[i] * steps[i], e = x[i] - q[i] * steps[i]
        error += own * own * row[i] * row[i]
        for j in 0..<i { targets[j] += e * row[j] }
        i -= 1
      }
      return error
    }
  }
}
