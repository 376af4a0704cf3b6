// The fast bilateral solver (Barron and Poole, ECCV 2016): the smoothest picture, where smoothness crosses no edge of the photograph, that stays near a given one. As
// TokenCut uses it: a mask of patches goes in, values that follow the edges of the pixels come out. Its arithmetic is that of TokenCut's bilateral_solver.py.

internal import DinoAlgebra
public import DinoImaging

/// The photograph's pixels in cells of place and colour, and how these touch.
public struct BilateralSolver: Sendable {
  public struct Settings: Sendable {
    /// Sides of a cell: pixels, steps of brightness, steps of colour. TokenCut's.
    public var spatial = 16.0
    public var luma = 16.0
    public var chroma = 8.0
    /// Strength of smoothness.
    public var smoothness = 256.0
    public var tolerance = 1e-5
    public var rounds = 25
    public init() {}
  }

  private let settings: Settings
  /// The cell of each pixel.
  private let cell: [Int32]
  private let cells: Int
  /// Ten neighbours of each cell, two along each of the five axes; -1 where there is none.
  private let neighbours: [Int32]
  /// Scales of rows and columns that make the blur's sums one, and what they add up to.
  private let n: [Double]
  private let m: [Double]

  public init(_ photograph: Image, settings: Settings = Settings()) {
    self.settings = settings
    let image = photograph.rgb()
    var index: [UInt64: Int32] = [:], coordinates: [UInt64] = []
    var cell = [Int32](repeating: 0, count: image.width * image.height)
    for y in 0..<image.height {
      for x in 0..<image.width {
        let key = Self.key(image, x, y, settings)
        let i = y * image.width + x
        if let known = index[key] { cell[i] = known } else {
          cell[i] = Int32(coordinates.count)
          index[key] = cell[i]
          coordinates.append(key)
        }
      }
    }
    var neighbours = [Int32](repeating: -1, count: coordinates.count * 10)
    for (v, key) in coordinates.enumerated() {
      for axis in 0..<5 {
        // Coordinates begin at 1, so a step down never borrows from the next field.
        let step = UInt64(1) << Self.shifts[axis]
        neighbours[v * 10 + 2 * axis] = index[key - step] ?? -1
        neighbours[v * 10 + 2 * axis + 1] = index[key + step] ?? -1
      }
    }
    self.cell = cell
    cells = coordinates.count
    self.neighbours = neighbours
    var mass = [Double](repeating: 0, count: cells)
    for c in cell { mass[Int(c)] += 1 }
    var n = [Double](repeating: 1, count: cells)
    for _ in 0..<10 {
      let blurred = Self.blur(n, neighbours)
      for i in 0..<cells { n[i] = (n[i] * mass[i] / blurred[i]).squareRoot() }
    }
    let blurred = Self.blur(n, neighbours)
    m = (0..<cells).map { n[$0] * blurred[$0] }
    self.n = n
  }

  /// - Parameter target: a value for each pixel, such as 0 and 1.
  /// - Returns: as many values.
  public func solve(_ target: [Double], confidence: Double = 0.999) -> [Float] {
    precondition(target.count == cell.count)
    var weight = [Double](repeating: 0, count: cells), b = weight
    for (i, c) in cell.enumerated() {
      weight[Int(c)] += confidence
      b[Int(c)] += target[i] * confidence
    }
    let lambda = settings.smoothness
    func apply(_ x: [Double]) -> [Double] {
      let blurred = Self.blur((0..<cells).map { n[$0] * x[$0] }, neighbours)
      return (0..<cells).map { lambda * (m[$0] * x[$0] - n[$0] * blurred[$0]) + weight[$0] * x[$0] }
    }
    // Conjugate gradients, preconditioned with the diagonal; the blur's own is 2 for each axis.
    let diagonal = (0..<cells).map { max(lambda * (m[$0] - 10 * n[$0] * n[$0]) + weight[$0], 1e-5) }
    var x = (0..<cells).map { b[$0] / weight[$0] }
    let product = apply(x)
    var r = (0..<cells).map { b[$0] - product[$0] }
    let limit = settings.tolerance * dot(b, b).squareRoot()
    var p: [Double] = [], before = 1.0
    for _ in 0..<settings.rounds {
      if dot(r, r).squareRoot() <= limit { break }
      let z = (0..<cells).map { r[$0] / diagonal[$0] }
      let rz = dot(r, z)
      if p.isEmpty { p = z } else {
        let beta = rz / before
        p = (0..<cells).map { z[$0] + beta * p[$0] }
      }
      before = rz
      let q = apply(p)
      let alpha = rz / dot(p, q)
      add(alpha, p, to: &x)
      add(-alpha, q, to: &r)
    }
    return cell.map { Float(x[Int($0)]) }
  }

  // MARK: Cells

  /// Where each of the five coordinates begins in a key: 16 bits for places, 10 and more for colours.
  private static let shifts: InlineArray<5, UInt64> = [0, 16, 32, 42, 52]
  private static let limits: InlineArray<5, UInt64> = [1 << 16, 1 << 16, 1 << 10, 1 << 10, 1 << 10]

  private static func key(_ image: Image, _ x: Int, _ y: Int, _ s: Settings) -> UInt64 {
    let i = (y * image.width + x) * 3
    let r = Double(image.pixels[i]), g = Double(image.pixels[i + 1]), b = Double(image.pixels[i + 2])
    let luma = 0.299 * r + 0.587 * g + 0.114 * b
    let u = -0.168736 * r - 0.331264 * g + 0.5 * b + 128
    let v = 0.5 * r - 0.418688 * g - 0.081312 * b + 128
    let fields = [Double(x) / s.spatial, Double(y) / s.spatial, luma / s.luma, u / s.chroma, v / s.chroma]
    var key: UInt64 = 0
    for (axis, field) in fields.enumerated() {
      let whole = UInt64(max(field, 0)) + 1
      precondition(whole + 1 < limits[axis], "the cells of the bilateral solver are too small for this picture")
      key |= whole << shifts[axis]
    }
    return key
  }

  /// 1 2 1 along each axis, summed over the axes.
  private static func blur(_ x: [Double], _ neighbours: [Int32]) -> [Double] {
    var out = [Double](repeating: 0, count: x.count)
    for v in 0..<x.count {
      var sum = 10 * x[v]
      for k in v &* 10..<v &* 10 &+ 10 where neighbours[k] >= 0 { sum += x[Int(neighbours[k])] }
      out[v] = sum
    }
    return out
  }
}
