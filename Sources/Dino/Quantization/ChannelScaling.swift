// Factors between a layer's input channels and its columns: the input is divided by them (in the norm before it, or in the values that attention mixes), the columns are
// multiplied, and nothing changes but how evenly the channels fill 8 bits. The factors of least expected error, by a small search.

internal import DinoTensor

struct ChannelScaling {
  /// A sample of inputs.
  let rows: [[Float]]
  /// Sums of squares of each column of the weight, and its largest magnitude in each row as factors would change it.
  private let weight: [Float]
  private let width: Int
  private let columnEnergy: [Float]
  private let inputEnergy: [Float]
  private let largestInput: [Float]

  init(rows: [[Float]], weight: [Float], width: Int) {
    self.rows = rows
    self.weight = weight
    self.width = width
    var energy = [Float](repeating: 0, count: width), inputs = energy, largest = energy
    for row in stride(from: 0, to: weight.count, by: width) {
      for c in 0..<width { energy[c] += weight[row + c] * weight[row + c] }
    }
    for row in rows {
      for c in 0..<width {
        inputs[c] += row[c] * row[c] / Float(max(rows.count, 1))
        largest[c] = max(largest[c], abs(row[c]))
      }
    }
    columnEnergy = energy
    inputEnergy = inputs
    largestInput = largest
  }

  /// The best factors found; nil where none are better than none by a twentieth.
  func factors() -> [Float]? {
    let plain = cost([Float](repeating: 1, count: width))
    var best: (cost: Float, factors: [Float])?
    for alpha: Float in [0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9] {
      for beta: Float in [0, 0.15, 0.3, 0.5, 0.7] where alpha + beta > 0 {
        let f = candidate(alpha, beta), c = cost(f)
        if c < best?.cost ?? .infinity { best = (c, f) }
      }
    }
    guard let best, best.cost < 0.95 * plain else { return nil }
    return best.factors
  }

  private func candidate(_ alpha: Float, _ beta: Float) -> [Float] {
    let least = (largestInput.max() ?? 0) * 1e-3, leastEnergy = (columnEnergy.max() ?? 0) * 1e-6
    let logs = (0..<width).map { c -> Double in
      let x = max(largestInput[c], least), w = max(columnEnergy[c], leastEnergy)
      guard x > 0, w > 0 else { return 0 }
      return Double(alpha) * logarithm(Double(x)) - 0.5 * Double(beta) * logarithm(Double(w))
    }
    let middle = logs.reduce(0, +) / Double(width)
    return logs.map { Float(exponential($0 - middle)) }
  }

  /// Expected squared error of the layer's results: from rounding the inputs, each row by its own range, and from rounding the weights.
  func cost(_ f: [Float]) -> Float {
    let inverse = f.map { 1 / $0 }
    var range: Float = 0
    for row in rows {
      var low: Float = 0, high: Float = 0
      for c in 0..<width {
        let x = row[c] * inverse[c]
        low = min(low, x)
        high = max(high, x)
      }
      range += (high - low) * (high - low)
    }
    var energy: Float = 0, inputs: Float = 0
    for c in 0..<width {
      energy += columnEnergy[c] * f[c] * f[c]
      inputs += inputEnergy[c] * inverse[c] * inverse[c]
    }
    var steps: Float = 0
    for row in stride(from: 0, to: weight.count, by: width) {
      var largest: Float = 0
      for c in 0..<width { largest = max(largest, abs(weight[row + c] * f[c])) }
      steps += largest * largest
    }
    // Inputs have 254 steps over their range. Clipping and lattice rounding leave about half of what plain rounding of weights would cost.
    return range / Float(max(rows.count, 1)) / (254 * 254) * energy + 0.5 * steps / (127 * 127) * inputs
  }
}
