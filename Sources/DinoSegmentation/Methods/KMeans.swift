// k-means on rows of features: Lloyd's rounds from a k-means++ start, several starts, the best kept. Deterministic: its random numbers have a fixed seed.

internal import DinoKernels

struct KMeans {
  /// [k, width]
  var centres: [Float]
  let width: Int

  var count: Int { centres.count / width }

  /// - Parameters:
  ///   - rows: [n, width], n at least 1. Fewer than `k` different rows give fewer centres that are used.
  init(_ rows: [Float], width: Int, k: Int, starts: Int = 3, rounds: Int = 100, threads: Int = 0) {
    self.width = width
    var random = Generator(state: UInt64(k))
    var best: (objective: Double, centres: [Float])?
    for _ in 0..<starts {
      var candidate = KMeans(centres: Self.spread(rows, width: width, k: k, &random), width: width)
      var labels: [Int] = [], objective = 0.0
      for _ in 0..<rounds {
        let (next, sum) = candidate.nearest(rows, threads: threads)
        objective = sum
        if next == labels { break }
        labels = next
        candidate.moveCentres(rows, labels)
      }
      if best == nil || objective < best!.objective { best = (objective, candidate.centres) }
    }
    centres = best?.centres ?? []
  }

  private init(centres: [Float], width: Int) {
    self.centres = centres
    self.width = width
  }

  /// The nearest centre of each row, and the sum of squared distances to it.
  func nearest(_ rows: [Float], threads: Int = 0) -> (labels: [Int], objective: Double) {
    let n = rows.count / width, k = count
    let products = RowProducts(threads: threads).all(rows, centres, width: width)
    let lengths = (0..<k).map { c in (0..<width).reduce(0.0) { $0 + Double(centres[c * width + $1]) * Double(centres[c * width + $1]) } }
    var labels = [Int](repeating: 0, count: n), objective = 0.0
    for i in 0..<n {
      var own = 0.0
      for c in 0..<width { own += Double(rows[i * width + c]) * Double(rows[i * width + c]) }
      var least = Double.infinity
      for c in 0..<k {
        let distance = own - 2 * Double(products[i * k + c]) + lengths[c]
        if distance < least {
          least = distance
          labels[i] = c
        }
      }
      objective += max(least, 0)
    }
    return (labels, objective)
  }

  /// Each centre to the mean of its rows; one without rows stays.
  private mutating func moveCentres(_ rows: [Float], _ labels: [Int]) {
    var sums = [Double](repeating: 0, count: centres.count), counts = [Int](repeating: 0, count: count)
    for (i, label) in labels.enumerated() {
      counts[label] += 1
      for c in 0..<width { sums[label * width + c] += Double(rows[i * width + c]) }
    }
    for k in counts.indices where counts[k] > 0 {
      for c in 0..<width { centres[k * width + c] = Float(sums[k * width + c] / Double(counts[k])) }
    }
  }

  /// k-means++: each next centre is a row taken with a probability in proportion to its squared distance to those before.
  private static func spread(_ rows: [Float], width: Int, k: Int, _ random: inout Generator) -> [Float] {
    let n = rows.count / width
    let first = Int(random.unit() * Double(n))
    var centres = Array(rows[first * width..<(first + 1) * width]), distances = [Double](repeating: .infinity, count: n)
    for added in 1..<max(k, 1) {
      let from = (added - 1) * width
      var total = 0.0
      for i in 0..<n {
        var d = 0.0
        for c in 0..<width {
          let difference = Double(rows[i * width + c] - centres[from + c])
          d += difference * difference
        }
        distances[i] = min(distances[i], d)
        total += distances[i]
      }
      var left = random.unit() * total, pick = n - 1
      for i in 0..<n {
        left -= distances[i]
        if left < 0 {
          pick = i
          break
        }
      }
      centres += rows[pick * width..<(pick + 1) * width]
    }
    return centres
  }

  /// SplitMix64.
  private struct Generator {
    var state: UInt64
    /// From 0 to below 1.
    mutating func unit() -> Double {
      state &+= 0x9E37_79B9_7F4A_7C15
      var z = state
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      return Double((z ^ (z >> 31)) >> 11) / 9_007_199_254_740_992
    }
  }
}
