// Channel outliers of a layer norm, folded exactly into the linear layers that read it: the norm's weight and bias of a channel are divided by a factor, the layers'
// columns multiplied by it. What the channel would be is known from the norm alone: before weight and bias its values have variance 1.

public import DinoTensor

struct Balance {
  let weight: FloatBlock
  let bias: FloatBlock
  let factors: [Float]

  /// No outlier, and no numbers: where sizes alone are wanted.
  init(ordinary columns: Int) throws(StorageError) {
    factors = [Float](repeating: 1, count: columns)
    weight = try FloatBlock(count: 1)
    bias = try FloatBlock(count: 1)
  }

  init(weight: [Float], bias: [Float], consumers: [Tensor]) throws(StorageError) {
    factors = ChannelOutliers.factors(weight: weight, bias: bias, consumers: consumers)
    self.weight = try FloatBlock(zip(weight, factors).map { $0 / $1 })
    self.bias = try FloatBlock(zip(bias, factors).map { $0 / $1 })
  }
}

public enum ChannelOutliers {
  /// Factors from which a channel is an outlier.
  static let outlier: Float = 3

  /// What each channel of a norm is to be divided by; 1 for ordinary ones.
  /// - Parameter consumers: the weights that read it, [out, channels].
  public static func factors(weight: [Float], bias: [Float], consumers: [Tensor]) -> [Float] {
    let columns = weight.count
    var largest = [Float](repeating: 0, count: columns)
    for consumer in consumers {
      // Row by row: a large layer as floats is more than the run needs.
      var w = [Float](repeating: 0, count: columns)
      w.withUnsafeMutableBufferPointer { w in
        for row in stride(from: 0, to: consumer.count, by: columns) {
          consumer.convert(range: row..<row + columns, into: w.baseAddress!)
          for i in 0..<columns { largest[i] = max(largest[i], abs(w[i])) }
        }
      }
    }
    let spread = zip(weight, bias).map { (w, b) in (w * w + b * b).squareRoot() }
    // A channel that is nothing on one side must not get an endless factor.
    let leastSpread = (spread.max() ?? 0) * 1e-4, leastWeight = (largest.max() ?? 0) * 1e-4
    let ratios = zip(spread, largest).map { (s, w) -> Float in
      let s = max(s, leastSpread), w = max(w, leastWeight)
      guard s > 0, w > 0, s.isFinite, w.isFinite else { return 1 }
      return s / w
    }
    // Ordinary unevenness is better left alone (measured: the norm alone says too little about it). What stands far out is brought to where most channels are, half
    // of the way on either side.
    let usual = ratios.sorted()[columns / 2]
    return ratios.map { r -> Float in
      let f = (r / usual).squareRoot()
      return f.isFinite && (f > outlier || f < 1 / outlier) ? f : 1
    }
  }
}
