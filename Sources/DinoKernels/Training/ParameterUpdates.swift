// What an optimizer does to parameters, as loops over blocks of fixed length on the team: norms, AdamW, momentum, the moving average. Sums are added block by block
// in one order, so that the number of threads changes no bit. Rules (which tensors, which rates) are the caller's.

internal import CDinoKernels
internal import DinoTensor

public final class ParameterUpdates {
  private struct Piece {
    var tensor: Int
    var range: Range<Int>
  }
  private static let pieceFloats = 16_384
  private let pieces: [Piece]
  private let tensors: Int
  private let partial: UnsafeMutablePointer<Double>
  private let table: KernelTable
  private let team: ThreadTeam

  /// - Parameter layout: a block; all blocks that are given later must lie like it.
  public init(layout: ParameterBlock, table: KernelTable = .selected, threads: Int) {
    var pieces: [Piece] = []
    for (i, range) in layout.ranges.enumerated() {
      var start = range.lowerBound
      while start < range.upperBound {
        pieces.append(Piece(tensor: i, range: start..<min(start + Self.pieceFloats, range.upperBound)))
        start += Self.pieceFloats
      }
    }
    self.pieces = pieces
    tensors = layout.ranges.count
    partial = .allocate(capacity: max(pieces.count, 1))
    self.table = table
    team = ThreadTeam.shared(threads)
  }

  deinit { partial.deallocate() }

  /// Σ (aFactor[i] · a + bFactor[i] · b)² for each tensor i.
  public func squares(_ a: ParameterBlock, _ aFactor: [Float]? = nil, _ b: ParameterBlock? = nil, _ bFactor: [Float]? = nil) -> [Double] {
    let pa = a.pointer, pb = b?.pointer, kernel = table.c.pointee.f32_squares!, pieces = pieces
    let out = Sendables(partial)
    team.forEach(pieces.count) { i in
      let p = pieces[i]
      out.pointer[i] = kernel(pa + p.range.lowerBound, aFactor?[p.tensor] ?? 1, pb.map { UnsafePointer($0) + p.range.lowerBound }, bFactor?[p.tensor] ?? 0, p.range.count)
    }
    var sums = [Double](repeating: 0, count: tensors)
    for (i, p) in pieces.enumerated() { sums[p.tensor] += partial[i] }
    return sums
  }

  /// What AdamW does to one tensor; nil leaves it as it is.
  public struct AdamW: Sendable {
    /// The gradient is multiplied by it first.
    public var factor: Double
    public var rate: Double
    public var decay: Double
    /// How many steps the tensor has had, this one counted.
    public var step: Int
    public var beta1 = 0.9
    public var beta2 = 0.999
    public var epsilon = 1e-8
    public init(factor: Double, rate: Double, decay: Double, step: Int) {
      self.factor = factor
      self.rate = rate
      self.decay = decay
      self.step = step
    }
  }

  public func adamW(_ p: ParameterBlock, gradients: ParameterBlock, mean: ParameterBlock, square: ParameterBlock, _ settings: [AdamW?]) {
    let pp = p.pointer, pg = gradients.pointer, pm = mean.pointer, pv = square.pointer, kernel = table.c.pointee.f32_adamw!, pieces = pieces
    let runs = settings.map { s -> dk_f32_adamw_run? in
      guard let s else { return nil }
      return dk_f32_adamw_run(p: nil, g: nil, m: nil, v: nil, count: 0, factor: Float(s.factor), keep: Float(1 - s.rate * s.decay),
                              step: Float(s.rate / (1 - power(s.beta1, s.step))), inverse_root: Float(1 / (1 - power(s.beta2, s.step)).squareRoot()),
                              one_minus_beta1: Float(1 - s.beta1), beta2: Float(s.beta2), one_minus_beta2: Float(1 - s.beta2), epsilon: Float(s.epsilon))
    }
    team.forEach(pieces.count) { i in
      guard var run = runs[pieces[i].tensor] else { return }
      let start = pieces[i].range.lowerBound
      run.p = pp + start
      run.g = UnsafePointer(pg + start)
      run.m = pm + start
      run.v = pv + start
      run.count = pieces[i].range.count
      kernel(&run)
    }
  }

  /// What SGD with momentum, or LARS, does to one tensor: m = momentum · m + factor · g + decay · p, p -= rate · m.
  public struct Momentum: Sendable {
    public var factor: Double
    public var decay: Double
    public var momentum: Double
    public var rate: Double
    public init(factor: Double, decay: Double, momentum: Double, rate: Double) {
      self.factor = factor
      self.decay = decay
      self.momentum = momentum
      self.rate = rate
    }
  }

  public func momentum(_ p: ParameterBlock, gradients: ParameterBlock, buffer: ParameterBlock, _ settings: [Momentum?]) {
    let pp = p.pointer, pg = gradients.pointer, pm = buffer.pointer, kernel = table.c.pointee.f32_momentum!, pieces = pieces
    team.forEach(pieces.count) { i in
      guard let s = settings[pieces[i].tensor] else { return }
      let start = pieces[i].range.lowerBound
      kernel(pp + start, pg + start, pm + start, Float(s.factor), Float(s.decay), Float(s.momentum), Float(s.rate), pieces[i].range.count)
    }
  }

  /// y = keep · y + (1 - keep) · x for the tensors that take part.
  public func blend(_ y: ParameterBlock, toward x: ParameterBlock, keep: Double, _ takesPart: [Bool]) {
    let py = y.pointer, px = x.pointer, kernel = table.c.pointee.f32_blend!, pieces = pieces
    team.forEach(pieces.count) { i in
      guard takesPart[pieces[i].tensor] else { return }
      kernel(py + pieces[i].range.lowerBound, px + pieces[i].range.lowerBound, Float(keep), Float(1 - keep), pieces[i].range.count)
    }
  }
}

/// x^n by repeated squaring: no function of the system's library.
private func power(_ x: Double, _ n: Int) -> Double {
  var result = 1.0, base = x, n = n
  while n > 0 {
    if n & 1 == 1 { result *= base }
    base *= base
    n >>= 1
  }
  return result
}
