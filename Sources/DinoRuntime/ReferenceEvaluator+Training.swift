// The operators of training on dense operands, by their plain twins.

import DinoGraph
import DinoTensor
import DinoKernels

extension ReferenceEvaluator {
  static func evaluate(_ op: TrainingOperator, _ operands: [ReferenceValue], shape: Shape) -> [Float] {
    let a = operands[0].values, s = operands[0].shape
    let b = operands.count > 1 ? operands[1].values : []
    switch op {
    case .concatenateBatch: return operands.flatMap(\.values)
    case .splitBatch(let part):
      let start = operands[1..<part + 1].reduce(0) { $0 + $1.shape.count }
      return Array(a[start..<start + shape.count])
    case .crossViewTargets(let views): return Reference.crossViewTargets(a, batch: s[0] / 2, views: views, columns: s[1])
    case .softCrossEntropy: return [Reference.softCrossEntropy(a, target: b, factor: operands[2].values[0], columns: s[1])]
    case .softCrossEntropyGradient:
      return Reference.softCrossEntropyGradient(b, target: operands[2].values, factor: operands[3].values[0], by: a[0], columns: shape[1])
    case .weightGradient: return Reference.weightGradient(a, b, outputs: shape[0], inputs: shape[1])
    case .patchWeightGradient(let patch):
      let image = operands[1].shape
      let rows = Reference.patches(b, batch: image[0], channels: image[1], height: image[2], width: image[3], patch: patch)
      return Reference.weightGradient(a, rows, outputs: shape[0], inputs: shape.count / shape[0])
    case .positionGradient(let patch, let special, let rows, let columns, let resize):
      let image = operands[1].shape, width = s[2]
      guard let resampling = PositionResampling(nativeRows: rows, nativeColumns: columns, height: image[2], width: image[3], patch: patch, resize: resize)
      else { return a }
      return a[..<(special * width)] + resampling.applyTransposed(Array(a[(special * width)...]), nativeRows: rows, nativeColumns: columns, width: width)
    case .sumTo: return Reference.sum(a, s.dims, to: shape.dims)
    case .placeTokens(let start):
      let count = s.rank == 3 ? s[1] : 1, width = shape[2]
      var y = [Float](repeating: 0, count: shape.count)
      for i in a.indices {
        let image = i / (count * width)
        y[(image * shape[1] + start) * width + i % (count * width)] = a[i]
      }
      return y
    case .spreadTokens:
      return (0..<shape.count).map { a[$0 / (shape[1] * shape[2]) * shape[2] + $0 % shape[2]] / Float(shape[1]) }
    case .layerNormGradient(let epsilon): return Reference.layerNormGradient(a, b, weight: operands[2].values, epsilon: epsilon, columns: s[-1])
    case .layerNormWeightGradient(let epsilon): return Reference.layerNormWeightGradient(a, b, epsilon: epsilon, columns: s[-1])
    case .activationGradient(let f): return zip(a, b).map { $0 * slope(f)($1) }
    case .gateGradient(let f): return Reference.gateGradient(a, b, columns: s[-1], function(f), slope: slope(f))
    case .attentionGradient(let heads, let scale):
      return Reference.attentionGradient(a, qkv: b, batch: s[0], tokens: operands[1].shape[1], width: s[2], heads: heads, scale: scale)
    case .l2NormalizeGradient(let epsilon): return Reference.l2NormalizeGradient(a, b, epsilon: epsilon, columns: s[-1])
    case .weightNormGradient: return Reference.weightNormGradients(a, v: b, g: operands[2].values, columns: s[1]).v
    case .weightNormScaleGradient: return Reference.weightNormGradients(a, v: b, g: Array(repeating: 1, count: s[0]), columns: s[1]).g
    case .softmaxGradient: return Reference.softmaxGradient(a, b, columns: s[-1])
    case .batchNorm(let epsilon): return Reference.batchNorm(a, weight: b, bias: operands[2].values, epsilon: epsilon)
    case .batchNormGradient(let epsilon): return Reference.batchNormGradients(a, b, weight: operands[2].values, epsilon: epsilon).x
    case .batchNormWeightGradient(let epsilon): return Reference.batchNormGradients(a, b, weight: Array(repeating: 1, count: s[1]), epsilon: epsilon).weight
    case .sinkhorn(let iterations): return Reference.sinkhorn(a, columns: s[1], iterations: iterations)
    case .koleo(let groups): return [Reference.koleo(a, columns: s[1], groups: groups).loss]
    case .koleoGradient(let groups): return Reference.koleo(b, columns: shape[1], groups: groups).gradient.map { $0 * a[0] }
    case .cosineDistance: return [Reference.cosineDistance(a, b, columns: s[-1]).loss]
    case .cosineDistanceGradient: return Reference.cosineDistance(b, operands[2].values, columns: shape[-1]).gradient.map { $0 * a[0] }
    case .gatherRows:
      let width = s[-1]
      return b.flatMap { row in row < 0 ? ArraySlice(repeating: 0, count: width) : a[Int(row) * width..<(Int(row) + 1) * width] }
    case .scatterRows, .replaceRows:
      let width = shape[-1], isScatter = op == .scatterRows
      var y = isScatter ? [Float](repeating: 0, count: shape.count) : a
      for (m, row) in b.enumerated() where row >= 0 {
        for i in 0..<width { y[Int(row) * width + i] = isScatter ? a[m * width + i] : operands[2].values[i] }
      }
      return y
    case .columnStatistics:
      let (mean, variance) = Reference.columnStatistics(a, columns: s[1], less: 1)
      return (mean + variance).map { Float($0) }
    }
  }

  private static func slope(_ f: Activation) -> (Float) -> Float {
    switch f {
    case .gelu: Reference.geluSlope
    case .geluTanh: Reference.geluTanhSlope
    case .relu: Reference.reluSlope
    case .silu: Reference.siluSlope
    }
  }
}
