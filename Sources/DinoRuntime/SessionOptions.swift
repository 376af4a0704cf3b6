// How a session computes.

/// The arithmetic of the linear layers and of attention. Norms, softmax and the residual stream are f32 in all of them; a run of int8
/// that gives attention weights computes in bf16.
public enum Precision: String, Sendable, CaseIterable, Codable {
  case f32, bf16, int8
}

public struct SessionOptions: Sendable {
  /// Threads that take part in a run; 0 for the cores that this process may use.
  public var threads: Int
  public var precision: Precision
  /// Passes left out, by name; results stay the same within rounding.
  public var disabledPasses: Set<String>
  /// Plans kept for shapes and outputs seen before, the latest used.
  public var maxPlans: Int
  /// A kernel table by name ("avx2", "portable"); nil for the best, or what DINO_FORCE_ISA says.
  public var kernels: String?
  /// Weights, by the names of their constants, whose linear layers compute in f32 whatever the precision: layers that 8 bits do not bear.
  public var keptInF32: Set<String> = []
  /// f32: whether throughput over many images counts more than the time of one. Where the kernels have products of split values, linear layers are made of them: faster for many rows, as near to
  /// the exact sums, other last bits. Which bits does not depend on how many images a run has.
  public var manyImages = false
  /// Most bytes between the two layers of a feed-forward part in f32: beyond it rows take turns.
  public var hiddenBytes = defaultHiddenBytes
  static let defaultHiddenBytes = 64 << 20

  public init(threads: Int = 0, precision: Precision = .f32, disabledPasses: Set<String> = [], maxPlans: Int = 8, kernels: String? = nil) {
    self.threads = threads
    self.precision = precision
    self.disabledPasses = disabledPasses
    self.maxPlans = maxPlans
    self.kernels = kernels
  }
}
