// What a quantized file has lost, or does, that a checkpoint of its floats cannot hold. Counted on the file as it is; how the numbers come back is Dequantization.swift's matter.

internal import DinoTensor
internal import ONNXFormat

struct QuantizationLosses {
  private var weights: Set<String> = []
  private var types: Set<String> = []
  private var roundings = 0

  init(_ model: OnnxModel) {
    let integers: [OnnxDataType] = [.int8, .uint8, .int4, .uint4]
    let matrices = Dictionary(model.tensors.filter { $0.dims.count >= 2 && integers.contains($0.dataType) }.map { ($0.name, $0.dataType) }, uniquingKeysWith: { first, _ in first })
    for node in model.graph.nodes {
      let type = node.operatorType
      let isProduct = type == "MatMulInteger" || type == "ConvInteger" || type == "DynamicQuantizeMatMul" || type == "MatMulIntegerToFloat" || type == "QGemm" || type.hasPrefix("QLinear")
      guard isProduct || type == "DequantizeLinear" || type == "QuantizeLinear" || type == "DynamicQuantizeLinear" || type == "MatMulNBits" else { continue }
      for name in node.inputs {
        guard let type = matrices[name] else { continue }
        weights.insert(name)
        types.insert("\(type)")
      }
      if type == "QuantizeLinear" || type == "DynamicQuantizeLinear" || type == "DynamicQuantizeMatMul" || type == "QGemm" || type.hasPrefix("QLinear") { roundings += 1 }
    }
  }

  /// One for each kind of loss.
  var sentences: [String] {
    var list: [String] = []
    if !weights.isEmpty {
      list.append("its weights are quantized (\(weights.count) tensors of type \(types.sorted().joined(separator: ", "))), and a checkpoint gets the numbers that they stand for, not those that were quantized")
    }
    if roundings > 0 {
      list.append("it rounds activations at \(roundings) places, which a checkpoint does not hold: its network computes without that rounding")
    }
    return list
  }
}
