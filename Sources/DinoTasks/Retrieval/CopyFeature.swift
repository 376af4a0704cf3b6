// The feature of the official copy detection (eval_copy_detection.py): the class token and, behind it, the generalised mean (power 4) of the patch tokens, each
// cut at 1e-6 first.

public enum CopyFeature {
  /// - Parameter tokens: [special + patches, D] of the last norm, the class token first.
  public static func classAndGeM(tokens: [Float], width: Int, special: Int = 1, power p: Double = 4) -> [Float] {
    precondition(tokens.count % width == 0 && tokens.count / width > special)
    let count = tokens.count / width
    var sums = [Double](repeating: 0, count: width)
    for t in special..<count {
      for i in 0..<width { sums[i] += power(max(Double(tokens[t * width + i]), 1e-6), p) }
    }
    return Array(tokens[..<width]) + sums.map { Float(power($0 / Double(count - special), 1 / p)) }
  }
}
