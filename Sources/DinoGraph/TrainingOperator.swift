// Operators that only training needs: the loss, and the backward of Core operators. Each has one meaning, written here, a plain twin in
// DinoKernels/Reference/ReferenceTraining.swift and a step in DinoRuntime/Training. dy is the derivative of the loss by an operator's output.

internal import DinoTensor

public enum TrainingOperator: Sendable, Hashable {
  /// (a [A,...], b [B,...], …) → [A+B+…,...]: along the first axis.
  case concatenateBatch
  /// (x [A+B+…,...], a, b, …) → the part of x that came from that operand of concatenateBatch. Of a, b, … only the shapes are read.
  case splitBatch(part: Int)
  /// (q [2·B,K]) → [V·B,K]: for each of V views the sum of the teacher's distributions for the two global views, a view's own left out, over the
  /// (2·V-2)·B terms of the loss: the weights with which that view's log-probabilities enter.
  case crossViewTargets(views: Int)
  /// (logits [R,K], target [R,K], factor [1]) → [1]: -Σ target · log softmax(factor · logits).
  case softCrossEntropy
  /// (dloss [1], logits, target, factor) → [R,K]: by the logits: factor · (softmax · Σ target - target) · dloss.
  case softCrossEntropyGradient
  /// (dy [...,K], x [...,I]) → [K,I]: dyᵀ · x over all rows: a linear's weight.
  case weightGradient
  /// (dy [B,N,D], image [B,C,H,W]) → [D,C,P,P]: a patch embedding's weight.
  case patchWeightGradient(patch: Int)
  /// (dy [1,S+N,D], image [B,C,H,W]) → [1,S+M,D]: the transpose of `positionEmbedding`.
  case positionGradient(patch: Int, special: Int, nativeRows: Int, nativeColumns: Int, resize: PositionResize)
  /// (x, like) → like's shape: the transpose of NumPy's broadcasting from `like` to x. Of `like` only the shape is read.
  case sumTo
  /// (dy [B,n,D] or [B,D], like [B,T,D]) → [B,T,D]: tokens from `start` on, zeros elsewhere. The transpose of selectToken and sliceTokens.
  case placeTokens(start: Int)
  /// (dy [B,D], like [B,T,D]) → [B,T,D]: dy / T at each token.
  case spreadTokens
  /// (dy, x, weight) → dx of layerNorm.
  case layerNormGradient(epsilon: Double)
  /// (dy [...,D], x [...,D]) → [D]: Σ dy · normalised x.
  case layerNormWeightGradient(epsilon: Double)
  /// (dy, x) → dy · f'(x).
  case activationGradient(Activation)
  /// (dy [...,H], x [...,2·H]) → [...,2·H]: of `gate`: dy · second half · f'(first half), then dy · f(first half).
  case gateGradient(Activation)
  /// (dy [B,Q,D], qkv [B,T,3·D]) → [B,T,3·D]: of attention, where the first Q tokens asked; the probabilities are computed again, a block of queries at a time.
  case attentionGradient(heads: Int, scale: Double)
  /// (dy, x) → dx of l2Normalize.
  case l2NormalizeGradient(epsilon: Double)
  /// (dw [K,I], v [K,I], g [K,1]) → [K,I]: of weightNorm by v.
  case weightNormGradient
  /// (dw [K,I], v [K,I]) → [K,1]: of weightNorm by g.
  case weightNormScaleGradient
  /// (dy, y) → dx of softmax, y its result.
  case softmaxGradient
  /// (x [R,D], weight [D], bias [D]) → [R,D]: each column less its mean over its deviation (√(variance + epsilon), variance over R), times weight plus bias: batch
  /// normalisation as it is while training.
  case batchNorm(epsilon: Double)
  /// (dy, x, weight) → dx of batchNorm.
  case batchNormGradient(epsilon: Double)
  /// (dy [R,D], x [R,D]) → [D]: Σ dy · normalised x.
  case batchNormWeightGradient(epsilon: Double)
  /// (x [R,D]) → [2,D]: each column's mean, and its variance over R - 1: what running statistics follow.
  case columnStatistics
  /// (x [R,K]) → [R,K]: exp(x) with columns and rows normalised in turn, that many times, rows last, so that each row sums to 1 and each column to about R/K
  /// (Sinkhorn-Knopp, as DINOv2's teacher).
  case sinkhorn(iterations: Int)
  /// (x [R,D], rows of unit length; groups of R/groups rows) → [1]: -Σ over groups of the mean over its rows of log(‖x - nearest other row of its group‖ + 1e-8): DINOv2's KoLeo term.
  case koleo(groups: Int)
  /// (dloss [1], x [R,D]) → [R,D] of koleo; which row is nearest is taken as constant.
  case koleoGradient(groups: Int)
  /// (a [...,D], b [...,D]) → [1]: the mean over rows of 1 - a·b / (‖a‖·‖b‖), lengths 1e-8 at least: how far a student's features point from a teacher's.
  case cosineDistance
  /// (dloss [1], a, b) → a's shape: of cosineDistance by a.
  case cosineDistanceGradient
  /// (x [...,D], rows [M]) → [M,D]: of x's rows, counted through all its leading axes, those named: whole numbers below their count, each once at most. A number below 0, here and in
  /// the two that follow, names no row: zeros are gathered for it, and nothing is put anywhere.
  case gatherRows
  /// (dy [M,D], rows [M], like [...,D]) → like's shape: dy's rows at the places named, zeros elsewhere: the transpose of gatherRows. Of `like` only the shape is read.
  case scatterRows
  /// (x [...,D], rows [M], token of D values) → x with the token in place of the rows named, each once at most.
  case replaceRows
}

extension TrainingOperator {
  public var name: String {
    switch self {
    case .concatenateBatch: "concatenateBatch"
    case .splitBatch: "splitBatch"
    case .crossViewTargets: "crossViewTargets"
    case .softCrossEntropy: "softCrossEntropy"
    case .softCrossEntropyGradient: "softCrossEntropyGradient"
    case .weightGradient: "weightGradient"
    case .patchWeightGradient: "patchWeightGradient"
    case .positionGradient: "positionGradient"
    case .sumTo: "sumTo"
    case .placeTokens: "placeTokens"
    case .spreadTokens: "spreadTokens"
    case .layerNormGradient: "layerNormGradient"
    case .layerNormWeightGradient: "layerNormWeightGradient"
    case .activationGradient: "activationGradient"
    case .gateGradient: "gateGradient"
    case .attentionGradient: "attentionGradient"
    case .l2NormalizeGradient: "l2NormalizeGradient"
    case .weightNormGradient: "weightNormGradient"
    case .weightNormScaleGradient: "weightNormScaleGradient"
    case .softmaxGradient: "softmaxGradient"
    case .batchNorm: "batchNorm"
    case .batchNormGradient: "batchNormGradient"
    case .batchNormWeightGradient: "batchNormWeightGradient"
    case .columnStatistics: "columnStatistics"
    case .sinkhorn: "sinkhorn"
    case .koleo: "koleo"
    case .koleoGradient: "koleoGradient"
    case .cosineDistance: "cosineDistance"
    case .cosineDistanceGradient: "cosineDistanceGradient"
    case .gatherRows: "gatherRows"
    case .scatterRows: "scatterRows"
    case .replaceRows: "replaceRows"
    }
  }

  public var attributes: [String] {
    switch self {
    case .splitBatch(let part): ["part=\(part)"]
    case .crossViewTargets(let views): ["views=\(views)"]
    case .patchWeightGradient(let patch): ["patch=\(patch)"]
    case .positionGradient(let patch, let special, let rows, let columns, let resize):
      ["patch=\(patch)", "special=\(special)", "native=\(rows)x\(columns)", "resize=\(resize.text)"]
    case .placeTokens(let start): ["start=\(start)"]
    case .layerNormGradient(let epsilon), .layerNormWeightGradient(let epsilon), .l2NormalizeGradient(let epsilon), .batchNorm(let epsilon), .batchNormGradient(let epsilon),
      .batchNormWeightGradient(let epsilon): ["epsilon=\(epsilon)"]
    case .activationGradient(let f), .gateGradient(let f): [f.rawValue]
    case .sinkhorn(let iterations): ["iterations=\(iterations)"]
    case .koleo(let groups), .koleoGradient(let groups): ["groups=\(groups)"]
    case .attentionGradient(let heads, let scale): ["heads=\(heads)", "scale=\(scale)"]
    case .concatenateBatch, .softCrossEntropy, .softCrossEntropyGradient, .weightGradient, .sumTo, .spreadTokens, .weightNormGradient,
      .weightNormScaleGradient, .softmaxGradient, .columnStatistics, .cosineDistance, .cosineDistanceGradient, .gatherRows, .scatterRows, .replaceRows: []
    }
  }

  public var arities: [Int] {
    switch self {
    case .concatenateBatch: Array(1...64)
    case .splitBatch: Array(2...65)
    case .crossViewTargets, .columnStatistics, .sinkhorn, .koleo: [1]
    case .softCrossEntropyGradient: [4]
    case .softCrossEntropy, .layerNormGradient, .weightNormGradient, .batchNorm, .batchNormGradient, .cosineDistanceGradient, .scatterRows, .replaceRows: [3]
    case .weightGradient, .patchWeightGradient, .positionGradient, .sumTo, .placeTokens, .spreadTokens, .layerNormWeightGradient, .activationGradient, .gateGradient,
      .attentionGradient, .l2NormalizeGradient, .weightNormScaleGradient, .softmaxGradient, .batchNormWeightGradient, .koleoGradient, .cosineDistance, .gatherRows: [2]
    }
  }

  /// The result's shape, or nil where the operands do not fit what `operands` says.
  func shape(_ s: [Shape]) -> Shape? {
    switch self {
    case .concatenateBatch:
      guard s.allSatisfy({ $0.rank >= 1 && $0.dims.dropFirst() == s[0].dims.dropFirst() }) else { return nil }
      return Shape([s.reduce(0) { $0 + $1[0] }] + s[0].dims.dropFirst())
    case .splitBatch(let part):
      guard part >= 0, part < s.count - 1, s.allSatisfy({ $0.rank >= 1 && $0.dims.dropFirst() == s[0].dims.dropFirst() }),
            s.dropFirst().reduce(0, { $0 + $1[0] }) == s[0][0] else { return nil }
      return s[part + 1]
    case .crossViewTargets(let views):
      guard s[0].rank == 2, views >= 2, s[0][0] % 2 == 0 else { return nil }
      return [s[0][0] / 2 * views, s[0][1]]
    case .softCrossEntropy: return s[0].rank == 2 && s[1] == s[0] && s[2] == [1] ? [1] : nil
    case .softCrossEntropyGradient: return s[0] == [1] && s[1].rank == 2 && s[2] == s[1] && s[3] == [1] ? s[1] : nil
    case .weightGradient: return s[0].rank >= 1 && s[1].rank >= 1 && s[0].dims.dropLast() == s[1].dims.dropLast() ? [s[0][-1], s[1][-1]] : nil
    case .patchWeightGradient(let patch):
      guard patch > 0, s[0].rank == 3, s[1].rank == 4, s[0][0] == s[1][0], s[0][1] == (s[1][2] / patch) * (s[1][3] / patch) else { return nil }
      return [s[0][2], s[1][1], patch, patch]
    case .positionGradient(let patch, let special, let rows, let columns, _):
      guard patch > 0, s[0].rank == 3, s[1].rank == 4, s[0][0] == 1, s[0][1] == special + (s[1][2] / patch) * (s[1][3] / patch) else { return nil }
      return [1, special + rows * columns, s[0][2]]
    case .sumTo:
      let lead = s[0].rank - s[1].rank
      guard lead >= 0, zip(s[0].dims.dropFirst(lead), s[1].dims).allSatisfy({ $0 == $1 || $1 == 1 }) else { return nil }
      return s[1]
    case .placeTokens(let start):
      let count = s[0].rank == 3 ? s[0][1] : 1
      guard s[0].rank == 3 || s[0].rank == 2, s[1].rank == 3, s[0][0] == s[1][0], s[0][-1] == s[1][2], start >= 0, start + count <= s[1][1] else { return nil }
      return s[1]
    case .spreadTokens: return s[0].rank == 2 && s[1].rank == 3 && s[0][0] == s[1][0] && s[0][1] == s[1][2] ? s[1] : nil
    case .layerNormGradient: return s[0] == s[1] && s[0].rank >= 1 && s[2] == [s[0][-1]] ? s[0] : nil
    case .layerNormWeightGradient: return s[0] == s[1] && s[0].rank >= 1 ? [s[0][-1]] : nil
    case .activationGradient, .softmaxGradient: return s[0] == s[1] ? s[0] : nil
    case .gateGradient: return s[0].rank >= 1 && s[1].rank >= 1 && s[0].dims.dropLast() == s[1].dims.dropLast() && s[1][-1] == 2 * s[0][-1] ? s[1] : nil
    case .l2NormalizeGradient: return s[0] == s[1] && s[0].rank >= 1 ? s[0] : nil
    case .attentionGradient(let heads, _):
      guard heads > 0, s[0].rank == 3, s[1].rank == 3, s[0][0] == s[1][0], 1...max(s[1][1], 1) ~= s[0][1], s[1][2] == 3 * s[0][2], s[0][2] % heads == 0 else { return nil }
      return s[1]
    case .weightNormGradient: return s[0].rank == 2 && s[0] == s[1] && s[2] == [s[0][0], 1] ? s[0] : nil
    case .weightNormScaleGradient: return s[0].rank == 2 && s[0] == s[1] ? [s[0][0], 1] : nil
    // The statistics of one row alone are no statistics.
    case .batchNorm: return s[0].rank == 2 && s[0][0] > 1 && s[1] == [s[0][1]] && s[2] == s[1] ? s[0] : nil
    case .batchNormGradient: return s[0].rank == 2 && s[0][0] > 1 && s[0] == s[1] && s[2] == [s[0][1]] ? s[0] : nil
    case .batchNormWeightGradient: return s[0].rank == 2 && s[0][0] > 1 && s[0] == s[1] ? [s[0][1]] : nil
    case .columnStatistics: return s[0].rank == 2 && s[0][0] > 1 ? [2, s[0][1]] : nil
    case .sinkhorn(let iterations): return s[0].rank == 2 && iterations > 0 ? s[0] : nil
    case .koleo(let groups): return Self.hasNeighbours(s[0], groups) ? [1] : nil
    case .koleoGradient(let groups): return s[0] == [1] && Self.hasNeighbours(s[1], groups) ? s[1] : nil
    case .cosineDistance: return s[0] == s[1] && s[0].rank >= 2 ? [1] : nil
    case .cosineDistanceGradient: return s[0] == [1] && s[1] == s[2] && s[1].rank >= 2 ? s[1] : nil
    case .gatherRows: return Self.names(s[1], rowsOf: s[0]) ? [s[1][0], s[0][-1]] : nil
    case .scatterRows: return Self.names(s[1], rowsOf: s[2]) && s[0] == [s[1][0], s[2][-1]] ? s[2] : nil
    case .replaceRows: return Self.names(s[1], rowsOf: s[0]) && s[2].count == s[0][-1] ? s[0] : nil
    }
  }

  /// Whether `rows` can name rows of a value, each once at most.
  private static func names(_ rows: Shape, rowsOf x: Shape) -> Bool { rows.rank == 1 && rows[0] > 0 && x.rank >= 2 && x[-1] > 0 && rows[0] <= x.count / x[-1] }

  private static func hasNeighbours(_ s: Shape, _ groups: Int) -> Bool { s.rank == 2 && groups > 0 && s[0] % groups == 0 && s[0] / groups > 1 }

  /// The operands in words, for an error.
  var operands: String {
    switch self {
    case .concatenateBatch: "values that differ in the first axis only"
    case .splitBatch: "a value and the parts it is made of"
    case .crossViewTargets: "q [2·B, K] and two views at least"
    case .softCrossEntropy: "logits [R, K], target [R, K] and factor [1]"
    case .softCrossEntropyGradient: "dloss [1], logits [R, K], target [R, K] and factor [1]"
    case .weightGradient: "dy [..., K] and x [..., I] of the same rows"
    case .patchWeightGradient: "dy [B, N, D] and image [B, C, H, W]"
    case .positionGradient: "dy [1, S+N, D] and image [B, C, H, W]"
    case .sumTo: "x of a shape that the second operand broadcasts to"
    case .placeTokens: "dy [B, n, D] or [B, D] and like [B, T, D] with room for its tokens"
    case .spreadTokens: "dy [B, D] and like [B, T, D]"
    case .layerNormGradient: "dy and x of one shape [..., D] and weight [D]"
    case .layerNormWeightGradient, .activationGradient, .softmaxGradient, .l2NormalizeGradient: "two values of one shape"
    case .gateGradient: "dy [..., H] and x [..., 2·H] of the same rows"
    case .attentionGradient: "dy [B, Q, D] and qkv [B, T, 3·D] with Q of the T tokens"
    case .weightNormGradient: "dw [K, I], v [K, I] and g [K, 1]"
    case .weightNormScaleGradient: "dw [K, I] and v [K, I]"
    case .batchNorm: "x [R, D] of two rows at least, weight [D] and bias [D]"
    case .batchNormGradient: "dy and x of one shape [R, D], two rows at least, and weight [D]"
    case .batchNormWeightGradient: "dy and x of one shape [R, D], two rows at least"
    case .columnStatistics: "x [R, D] of two rows at least"
    case .sinkhorn: "x [R, K]"
    case .koleo: "x [R, D] of groups of two rows at least"
    case .koleoGradient: "dloss [1] and x [R, D] of groups of two rows at least"
    case .cosineDistance: "two values of one shape [..., D]"
    case .cosineDistanceGradient: "dloss [1] and two values of one shape [..., D]"
    case .gatherRows: "x [..., D] and rows [M], no more than x has"
    case .scatterRows: "dy [M, D], rows [M] and like [..., D] of M rows at least"
    case .replaceRows: "x [..., D], rows [M], no more than x has, and a token of D values"
    }
  }

  func flops(_ inputs: [Shape], _ result: Shape) -> Int {
    switch self {
    case .weightGradient: 2 * inputs[0].count * inputs[1][-1]
    case .patchWeightGradient: 2 * inputs[0].count * (result.count / result[0])
    case .attentionGradient: 10 * inputs[0].count * inputs[1][1]
    default: 0
    }
  }
}
