// How each Core operator is spelled in ONNX, one case for each. Linear layers and attention have files of their own.

internal import DinoGraph
internal import DinoTensor
internal import ONNXFormat

extension GraphExport {
  mutating func write(_ node: Node) throws(OnnxExportError) -> String {
    let name = node.name
    switch node.op {
    case .core(let core):
      switch core {
      case .patchEmbedding(let patch): return try patchEmbedding(node, patch)
      case .positionEmbedding(let patch, let special, let rows, let columns, let resize):
        guard let constant = graph.constants[node.inputs[0]] else { throw .notCanonical(node: name, reason: "its positions are not constant") }
        if let (height, width) = fixedSize(of: node.inputs[1]) {
          let values = Self.positions(constant.tensor, height: height, width: width, patch: patch, special: special, rows: rows, columns: columns, resize: resize)
          return try w.weight(constant.name, Tensor(values, shape: [1, values.count / constant.tensor.shape[2], constant.tensor.shape[2]]))
        }
        let image = try value(node.inputs[1], name)
        return try PositionExport(special: special, rows: rows, columns: columns, patch: patch, resize: resize)
          .write(constant.tensor, image: image, name: name, constantName: constant.name, to: &w)
      case .prependTokens:
        let special = try value(node.inputs[0], name), x = try value(node.inputs[1], name)
        let shape = w.call("Concat", [w.extent(x, axis: 0, name), w.ints([1, 1])], name + ".shape", [.axis(0)])
        return w.call("Concat", [w.call("Expand", [special, shape], name + ".special"), x], name, [.axis(1)])
      case .add: return w.call("Add", try operands(node), name)
      case .multiply: return w.call("Mul", try operands(node), name)
      case .layerNorm(let epsilon): return try layerNorm(node, Float(epsilon))
      case .linear(let e): return try linear(node, e)
      case .activation(let a): return activation(a, try value(node.inputs[0], name), name)
      case .gate(let a): return try gate(a, node)
      case .round: throw .notCanonical(node: name, reason: "rounding belongs to an imported quantized file, which is written again as that file has it")
      case .attention(let heads, let scale, queries: nil): return try mixed(node, heads, scale)
      case .attention: throw .notCanonical(node: name, reason: "attention of the first tokens alone is made by a pass")
      case .attentionWeights(let heads, let scale, let firstRowOnly):
        let weights = try probabilities(node, heads, scale).weights
        return firstRowOnly ? w.call("Gather", [weights, w.ints([0], scalar: true)], name, [.axis(2)]) : weights
      case .rotary(let columns, transposed: false): return try rotary(node, columns)
      case .rotary: throw .notCanonical(node: name, reason: "the transpose of rotary positions belongs to training")
      case .rotaryAngles(let patch, let special, let sine):
        guard let periods = graph.constants[node.inputs[0]]?.tensor.floats() else { throw .notCanonical(node: name, reason: "its periods are not constant") }
        if let (height, width) = fixedSize(of: node.inputs[1]) {
          properties[RotaryReader.periodsKey] = RotaryReader.text(periods)
          let values = RotaryAngles.table(periods: periods, rows: height / patch, columns: width / patch, special: special, sine: sine)
          return w.floats(name, values, [1, values.count / (4 * periods.count), 1, 4 * periods.count])
        }
        return RotaryExport(periods: periods, patch: patch, special: special, sine: sine).write(image: try value(node.inputs[1], name), name: name, to: &w)
      case .selectToken(let index): return w.call("Gather", [try value(node.inputs[0], name), w.ints([index], scalar: true)], name, [.axis(1)])
      case .sliceTokens(let start, let count):
        return w.call("Slice", [try value(node.inputs[0], name), w.ints([start]), w.ints([count.map { start + $0 } ?? Int(Int64.max)]), w.ints([1])], name)
      case .meanTokens: return w.reduce("ReduceMean", try value(node.inputs[0], name), axes: [1], keep: false, name)
      case .l2Normalize(let epsilon):
        let x = try value(node.inputs[0], name)
        let norm = w.call("Max", [w.reduce("ReduceL2", x, axes: [-1], keep: true, name + ".norm"), w.scalar(Float(epsilon))], name + ".bounded")
        return w.call("Div", [x, norm], name)
      case .weightNorm:
        let v = try value(node.inputs[0], name), g = try value(node.inputs[1], name)
        return w.call("Mul", [w.call("Div", [v, w.reduce("ReduceL2", v, axes: [1], keep: true, name + ".norm")], name + ".unit"), g], name)
      case .training: throw .notCanonical(node: name, reason: "it belongs to training")
      case .softmax: return w.call("Softmax", [try value(node.inputs[0], name)], name, [.axis(-1)])
      }
    case .generic(let op): throw .notCanonical(node: name, reason: "\(op.kind.name) is a foreign operator, which this exporter does not write yet")
    }
  }

  /// Height and width of an image input that has both fixed.
  private func fixedSize(of id: ValueID) -> (Int, Int)? {
    guard let dims = graph.inputs.first(where: { $0.value == id })?.dims, dims.count == 4, case .fixed(let h) = dims[2], case .fixed(let w) = dims[3] else { return nil }
    return (h, w)
  }

  private static func positions(_ tensor: Tensor, height: Int, width: Int, patch: Int, special: Int, rows: Int, columns: Int, resize: PositionResize) -> [Float] {
    let values = tensor.floats(), d = tensor.shape[2]
    guard let resampling = PositionResampling(nativeRows: rows, nativeColumns: columns, height: height, width: width, patch: patch, resize: resize) else { return values }
    return values[..<(special * d)] + resampling.apply(Array(values[(special * d)...]), nativeColumns: columns, width: d)
  }

  /// Conv of stride P, then [B, D, rows, columns] → [B, N, D].
  private mutating func patchEmbedding(_ node: Node, _ patch: Int) throws(OnnxExportError) -> String {
    let p = OnnxAttributeValue.ints([Int64(patch), Int64(patch)])
    let convolved = w.call("Conv", try operands(node), node.name + ".conv", [OnnxAttribute(name: "kernel_shape", value: p), OnnxAttribute(name: "strides", value: p)])
    let width = graph.constants[node.inputs[1]]?.tensor.shape[0] ?? 0
    return w.transpose(w.reshape(convolved, [0, width, -1], node.name + ".flat"), [0, 2, 1], node.name)
  }

  private mutating func layerNorm(_ node: Node, _ epsilon: Float) throws(OnnxExportError) -> String {
    let name = node.name, list = try operands(node)
    if options.opset >= 17 {
      return w.call("LayerNormalization", list, name, [.axis(-1), OnnxAttribute(name: "epsilon", value: .float(epsilon))])
    }
    let centred = w.call("Sub", [list[0], w.reduce("ReduceMean", list[0], axes: [-1], keep: true, name + ".mean")], name + ".centred")
    let variance = w.reduce("ReduceMean", w.call("Mul", [centred, centred], name + ".square"), axes: [-1], keep: true, name + ".variance")
    let deviation = w.call("Sqrt", [w.call("Add", [variance, w.scalar(epsilon)], name + ".bounded")], name + ".deviation")
    let scaled = w.call("Mul", [w.call("Div", [centred, deviation], name + ".normal"), list[1]], name + ".scaled")
    return w.call("Add", [scaled, list[2]], name)
  }

  /// x · cos + rotate(x) · sin on the first columns, seen as heads.
  private mutating func rotary(_ node: Node, _ columns: Int) throws(OnnxExportError) -> String {
    let name = node.name, x = try value(node.inputs[0], name)
    let (c, d) = try angles(node.inputs[1], name + ".cos"), (s, _) = try angles(node.inputs[2], name + ".sin"), end = Int(Int64.max)
    func part(_ x: String, _ from: Int, _ to: Int, _ label: String) -> String { w.call("Slice", [x, w.ints([from]), w.ints([to]), w.ints([-1])], name + label) }
    let heads = w.reshape(part(x, 0, columns, ".rotated"), [0, 0, -1, d], name + ".heads")
    let turned = w.call("Concat", [w.call("Neg", [part(heads, d / 2, end, ".second")], name + ".negated"), part(heads, 0, d / 2, ".first")], name + ".turned", [.axis(-1)])
    let sum = w.call("Add", [w.call("Mul", [heads, c], name + ".along"), w.call("Mul", [turned, s], name + ".across")], name + ".sum")
    let flat = w.reshape(sum, [0, 0, columns], name + ".flat")
    return w.call("Concat", [flat, part(x, columns, end, ".rest")], name, [.axis(-1)])
  }

  /// Cosines or sines as [1, T, 1, d], for all heads; that is how `rotaryAngles` is written, which nothing else reads.
  private mutating func angles(_ id: ValueID, _ name: String) throws(OnnxExportError) -> (name: String, width: Int) {
    if let known = graph.constants[id]?.tensor { return (w.floats(name, known.floats(), [1, known.shape[0], 1, known.shape[1]]), known.shape[1]) }
    guard let node = graph.nodes.first(where: { $0.output == id }), case .core(.rotaryAngles) = node.op, let periods = graph.constants[node.inputs[0]]?.tensor else {
      throw .notCanonical(node: name, reason: "its angles are not constant")
    }
    return (try value(id, name), 4 * periods.count)
  }

  /// The halves of what a linear layer makes, one activated and multiplied by the other.
  private mutating func gate(_ a: Activation, _ node: Node) throws(OnnxExportError) -> String {
    guard let width = widths[node.inputs[0]], width % 2 == 0 else { throw .notCanonical(node: node.name, reason: "what it gates is not the result of a linear layer") }
    let name = node.name, halves = w.node("Split", [try value(node.inputs[0], name), w.ints([width / 2, width / 2])], name: name + ".split", outputs: 2, [.axis(-1)])
    return w.call("Mul", [activation(a, halves[0], name + ".act"), halves[1]], name)
  }

  private mutating func activation(_ a: Activation, _ x: String, _ name: String) -> String {
    switch a {
    case .relu: return w.call("Relu", [x], name)
    case .silu: return w.call("Mul", [x, w.call("Sigmoid", [x], name + ".sigmoid")], name)
    case .gelu where options.opset >= 20: return w.call("Gelu", [x], name, [OnnxAttribute(name: "approximate", value: .string(Array("none".utf8)))])
    case .geluTanh where options.opset >= 20: return w.call("Gelu", [x], name, [OnnxAttribute(name: "approximate", value: .string(Array("tanh".utf8)))])
    case .gelu:
      let e = w.call("Erf", [w.call("Div", [x, w.scalar(Float(2).squareRoot())], name + ".scaled")], name + ".erf")
      return w.call("Mul", [w.call("Mul", [x, w.call("Add", [e, w.scalar(1)], name + ".plus")], name + ".twice"), w.scalar(0.5)], name)
    case .geluTanh:
      let cube = w.call("Mul", [w.call("Mul", [w.call("Mul", [x, x], name + ".square"), x], name + ".cube"), w.scalar(0.044715)], name + ".small")
      let inner = w.call("Mul", [w.call("Add", [x, cube], name + ".inner"), w.scalar((2 / Float.pi).squareRoot())], name + ".angle")
      let t = w.call("Add", [w.call("Tanh", [inner], name + ".tanh"), w.scalar(1)], name + ".plus")
      return w.call("Mul", [w.call("Mul", [x, t], name + ".twice"), w.scalar(0.5)], name)
    }
  }
}
