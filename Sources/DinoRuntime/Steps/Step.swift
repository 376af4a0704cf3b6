// A step of a plan: one kernel over one value, cut into chunks that any thread may take in any order. Closed enum: calls are direct.

import DinoKernels

/// What a chunk may use besides its operands.
struct StepContext {
  let table: KernelTable
  let bindings: Bindings
  /// This thread's own floats, as many as the plan's steps asked for.
  let scratch: UnsafeMutablePointer<Float>
  /// This thread's seconds in each operation of the plan's chains; nil where nobody asks.
  let timings: UnsafeMutablePointer<Double>?
}

struct Step {
  enum Kind {
    case linear(LinearStep)
    case split(SplitLinearStep)
    case attention(AttentionStep)
    case attentionWeights(AttentionWeightsStep)
    case layerNorm(LayerNormStep)
    case patches(PatchesStep)
    case rows(RowsStep)
    case elementwise(ElementwiseStep)
    case meanTokens(MeanTokensStep)
    case rotary(RotaryStep)
    case chain(ChainStep)
    case training(TrainingStep)
    case range(RangeStep)
    case integerRows(IntegerRowsStep)
    case integerLinear(IntegerLinearStep)
  }
  var kind: Kind
  var name: String
  var chunks: Int
  /// Multiply-adds count two.
  var flops: Double

  @inline(__always)
  func run(_ chunk: Int, _ context: StepContext) {
    switch kind {
    case .linear(let s): s.run(chunk, context)
    case .split(let s): s.run(chunk, context)
    case .attention(let s): s.run(chunk, context)
    case .attentionWeights(let s): s.run(chunk, context)
    case .layerNorm(let s): s.run(chunk, context)
    case .patches(let s): s.run(chunk, context)
    case .rows(let s): s.run(chunk, context)
    case .elementwise(let s): s.run(chunk, context)
    case .meanTokens(let s): s.run(chunk, context)
    case .rotary(let s): s.run(chunk, context)
    case .chain(let s): s.run(chunk, context)
    case .training(let s): s.run(chunk, context)
    case .range(let s): s.run(chunk, context)
    case .integerRows(let s): s.run(chunk, context)
    case .integerLinear(let s): s.run(chunk, context)
    }
  }
}

/// Cuts `count` items into `pieces` nearly equal ranges.
@inline(__always)
func slice(_ count: Int, _ pieces: Int, _ i: Int) -> Range<Int> { count * i / pieces..<count * (i + 1) / pieces }

/// Which of the ranges of `slice` an item is in.
@inline(__always)
func sliceNumber(_ count: Int, _ pieces: Int, holding item: Int) -> Int { ((item + 1) * pieces - 1) / count }
