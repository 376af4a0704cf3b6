// Which patches of the global crops the student does not see (iBOT), as DINOv2 draws them: a share of the crops, ratios spread evenly between two bounds, in blocks
// (BEiT's MaskingGenerator). How many are masked in a step never changes, so that a plan's shapes do not. It draws numbers; the graph masks.

struct MaskedPatches: Sendable, Equatable {
  let crops: Int
  let rows: Int
  let columns: Int
  let shape: TrainingSettings.MaskShape
  /// How many patches of each masked crop: which crop has which is drawn.
  let counts: [Int]
  /// Of all crops of a step.
  var count: Int { counts.reduce(0, +) }
  /// The most that so many of the crops can have.
  func most(crops: Int) -> Int { counts.suffix(crops).reduce(0, +) }

  /// - Parameters:
  ///   - probability: the share of crops that have masked patches at all.
  ///   - ratios: the least and the largest share of a crop's patches. DINOv2 draws a ratio in each of as many equal parts as there are masked crops; here it is the part's middle.
  init(crops: Int, rows: Int, columns: Int, probability: Double, ratios: ClosedRange<Double>, shape: TrainingSettings.MaskShape) {
    self.crops = crops
    self.rows = rows
    self.columns = columns
    self.shape = shape
    let masked = Int((Double(crops) * probability).rounded()), patches = Double(rows * columns)
    counts = (0..<masked).map { i in
      let ratio = ratios.lowerBound + (ratios.upperBound - ratios.lowerBound) * (Double(i) + 0.5) / Double(masked)
      return min(rows * columns, max(1, Int((patches * ratio).rounded())))
    }
  }

  /// One step's patches, counted through all crops, in rising order, and of each one over how many its crop has.
  func draw(_ random: inout Generator) -> [(patch: Int, weight: Double)] {
    var chosen: [(patch: Int, weight: Double)] = []
    let order = random.permutation(crops)
    for (crop, count) in zip(order, counts).sorted(by: { $0.0 < $1.0 }) {
      let mask = shape == .block ? blocks(count, &random) : Array(random.permutation(rows * columns).prefix(count))
      for patch in mask.sorted() { chosen.append((crop * rows * columns + patch, 1 / Double(count))) }
    }
    return chosen
  }

  /// Of one step's patches, those of a part of the images, counted through that part's crops: crops are view by view, all images' first ones, then all second ones.
  func part(_ chosen: [(patch: Int, weight: Double)], images: Range<Int>) -> [(patch: Int, weight: Double)] {
    let patches = rows * columns
    return chosen.compactMap { patch, weight in
      let crop = patch / patches, image = crop % (crops / 2)
      guard images.contains(image) else { return nil }
      return ((crop / (crops / 2) * images.count + image - images.lowerBound) * patches + patch % patches, weight)
    }
  }

  /// Rectangles until there are `count`, as BEiT's generator: each of 4 patches at least and half of the image at most, of an aspect ratio from 0.3 to 1/0.3, ten tries for each; what
  /// no rectangle fills is drawn one by one (DINOv3).
  private func blocks(_ count: Int, _ random: inout Generator) -> [Int] {
    var isMasked = [Bool](repeating: false, count: rows * columns), masked = 0
    while masked < count {
      let most = min(count - masked, max(1, rows * columns / 2))
      var grown = 0
      for _ in 0..<10 {
        let area = most <= 4 ? Double(most) : random.uniform(4, Double(most)), ratio = 0.3 * power(1 / 0.09, random.unit())
        let h = Int((area * ratio).squareRoot().rounded()), w = Int((area / ratio).squareRoot().rounded())
        guard h > 0, w > 0, h < rows, w < columns else { continue }
        let top = random.index(rows - h + 1), left = random.index(columns - w + 1)
        let fresh = (top..<top + h).flatMap { y in (left..<left + w).map { y * columns + $0 } }.filter { !isMasked[$0] }
        guard !fresh.isEmpty, fresh.count <= most else { continue }
        for patch in fresh { isMasked[patch] = true }
        grown = fresh.count
        break
      }
      if grown == 0 { break }
      masked += grown
    }
    if masked < count {
      let rest = isMasked.indices.filter { !isMasked[$0] }
      for i in random.permutation(rest.count).prefix(count - masked) { isMasked[rest[i]] = true }
    }
    return isMasked.indices.filter { isMasked[$0] }
  }
}
