// Finds the learned positions behind those that a file adds at given image sizes: a tensor of the file that, resampled by one of the known rules (ANCHORS 2.3), gives
// what the file computes. The rule is found by trying, so that a file with an exporter's own resize is named for what it is.

internal import DinoGraph
internal import DinoTensor
internal import ONNXFormat

struct PositionReader {
  /// What a file adds to the tokens of an image.
  struct Sample {
    var height: Int
    var width: Int
    /// [1, S + N, D], dense.
    var values: [Float]
    /// N.
    var cells: Int

    init(height: Int, width: Int, positions: Tensor, special: Int) {
      self.height = height
      self.width = width
      values = positions.floats()
      cells = positions.shape[1] - special
    }
  }
  struct Result {
    /// [1, S + rows · columns, D].
    var tensor: Tensor
    var rows: Int
    var columns: Int
    var resize: PositionResize
    /// Largest difference between the file's positions and those of the rule.
    var difference: Float
    var notes: [String] = []
    var losses: [String] = []
  }

  let special: Int
  let width: Int
  let patch: Int
  let samples: [Sample]

  static let rules: [(name: String, resize: PositionResize)] = [
    ("the original DINO's", .officialOffset), ("transformers'", .sized), ("timm's, antialiased", .antialiased),
    ("bilinear", PositionResize(kernel: .bilinear, cubicA: -0.75, antialias: false, offset: nil)),
    ("nearest", PositionResize(kernel: .nearest, cubicA: -0.75, antialias: false, offset: nil)),
  ]

  /// Tries every tensor that may be a grid of positions with every rule, and takes the closest.
  func find(in tensors: [(name: String, tensor: Tensor)]) -> Result? {
    guard let head = samples.first?.values.prefix(special * width) else { return nil }
    var best: Result?
    for (_, tensor) in tensors {
      for (grid, rows, columns) in grids(tensor) {
        for (_, rule) in Self.rules where looksRight(grid, rows, columns, rule) {
          let difference = samples.map { distance($0, grid, rows, columns, rule) }.max() ?? .infinity
          guard difference < best?.difference ?? .infinity else { continue }
          best = Result(tensor: Tensor(Array(head) + grid, shape: [1, special + rows * columns, width]), rows: rows, columns: columns, resize: rule, difference: difference)
        }
      }
    }
    let scale = samples.map { $0.values.reduce(0) { max($0, abs($1)) } }.max() ?? 0
    guard let best, best.difference <= 2e-5 * max(scale, 1) else { return nil }
    return best
  }

  /// Ways to see a tensor as rows of a grid, without special tokens: [1, S + n, D], [1, n, D], [n, D], [1, D, r, c], [1, r, c, D], [r, c · D].
  private func grids(_ tensor: Tensor) -> [(values: [Float], rows: Int, columns: Int)] {
    guard [.f32, .f16, .bf16].contains(tensor.dtype), tensor.count % width == 0, tensor.count > 0, tensor.count <= 1 << 27, tensor.count / width <= 1 << 16 else { return [] }
    let dims = tensor.shape.dims.filter { $0 != 1 }
    func square(_ n: Int) -> Int? {
      let side = Int(Double(n).squareRoot().rounded())
      return side > 0 && side * side == n ? side : nil
    }
    switch dims.count {
    case 2 where dims[1] == width:
      var found: [([Float], Int, Int)] = []
      if let side = square(dims[0] - special) { found.append((Array(tensor.floats()[(special * width)...]), side, side)) }
      if let side = square(dims[0]) { found.append((tensor.floats(), side, side)) }
      return found
    case 2 where dims[1] % width == 0 && tensor.shape.rank == 2: return [(tensor.floats(), dims[0], dims[1] / width)]
    case 3 where dims[2] == width: return [(tensor.floats(), dims[0], dims[1])]
    case 3 where dims[0] == width:
      let values = tensor.floats(), n = dims[1] * dims[2]
      return [((0..<n).flatMap { i in (0..<width).map { values[$0 * n + i] } }, dims[1], dims[2])]
    default: return []
    }
  }

  /// Whether the first cell of each sample is what the rule gives: most tensors and rules fall here, at the cost of one cell.
  private func looksRight(_ grid: [Float], _ rows: Int, _ columns: Int, _ rule: PositionResize) -> Bool {
    samples.allSatisfy { sample in
      let toRows = sample.height / patch, toColumns = sample.width / patch
      guard sample.cells == toRows * toColumns else { return false }
      var rowTaps = [ResamplingAxis.Tap(source: 0, weight: 1)], columnTaps = rowTaps
      if let resampling = PositionResampling(nativeRows: rows, nativeColumns: columns, height: sample.height, width: sample.width, patch: patch, resize: rule) {
        (rowTaps, columnTaps) = (resampling.rows.taps[0], resampling.columns.taps[0])
      }
      return (0..<width).allSatisfy { d in
        var sum = 0.0
        for r in rowTaps { for c in columnTaps { sum += Double(r.weight) * Double(c.weight) * Double(grid[(r.source * columns + c.source) * width + d]) } }
        return abs(Float(sum) - sample.values[special * width + d]) <= 1e-3
      }
    }
  }

  private func distance(_ sample: Sample, _ grid: [Float], _ rows: Int, _ columns: Int, _ rule: PositionResize) -> Float {
    let found = sample.values.dropFirst(special * width)
    let expected: [Float]
    if let resampling = PositionResampling(nativeRows: rows, nativeColumns: columns, height: sample.height, width: sample.width, patch: patch, resize: rule) {
      expected = resampling.apply(grid, nativeColumns: columns, width: width)
    } else {
      expected = grid
    }
    guard expected.count == found.count else { return .infinity }
    return zip(expected, found).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }
}
