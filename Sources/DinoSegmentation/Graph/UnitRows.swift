// Rows of length 1, which every method here compares by.

/// Rows of `width` values with length 1 each (torch.nn.functional.normalize, epsilon 1e-12).
func unitRows(_ values: [Float], width: Int) -> [Float] {
  var out = values
  for start in stride(from: 0, to: values.count, by: width) {
    var sum = 0.0
    for i in start..<start + width { sum += Double(values[i]) * Double(values[i]) }
    let length = Float(max(sum.squareRoot(), 1e-12))
    for i in start..<start + width { out[i] = values[i] / length }
  }
  return out
}
