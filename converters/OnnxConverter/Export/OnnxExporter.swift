// Writes a canonical graph as an ONNX model. One case for each Core operator; nothing is fused, weights keep their names. Same graph and
// options give the same bytes.

public import DinoGraph
internal import DinoTensor
public import ONNXFormat

public enum OnnxExporter {
  /// The model of `graph`, whose outputs are those that the graph has: prune it first.
  /// - Parameter shapes: of the outputs, for declaring them; free names as in the graph's inputs, nil where only the rank is known.
  public static func model(of graph: Graph, outputDims: [String: [Dimension?]], options: OnnxExportOptions = .init()) throws(OnnxExportError) -> OnnxModel {
    guard OnnxExportOptions.opsets.contains(options.opset) else { throw .opset(options.opset) }
    var export = GraphExport(graph: graph, options: options)
    return try export.run(outputDims: outputDims)
  }
}

private struct GraphExport {
  let graph: Graph
  let options: OnnxExportOptions
  var w: NodeWriter
  var names: [ValueID: String] = [:]
  /// Softmax values by what they are computed from, so that attention and its weights share one.
  var probabilities: [String: (weights: String, v: String)] = [:]
  /// Ranks, where an operator's form depends on them.
  var transposed: [ValueID: String] = [:]

  init(graph: Graph, options: OnnxExportOptions) {
    self.graph = graph
    self.options = options
    w = NodeWriter(opset: options.opset)
  }

  mutating func run(outputDims: [String: [Dimension?]]) throws(OnnxExportError) -> OnnxModel {
    for input in graph.inputs {
      w.reserve(input.name)
      names[input.value] = input.name
    }
    for output in graph.outputs { w.reserve(output.name) }
    for node in graph.nodes { names[node.output] = try write(node) }
    var finals: [OnnxNode] = []
    var declared: [OnnxValueInfo] = []
    for output in graph.outputs {
      let value = try value(output.value, output.name)
      finals.append(OnnxNode(name: "output.\(output.name)", operatorType: "Identity", inputs: [value], outputs: [output.name], attributes: []))
      declared.append(info(output.name, outputDims[output.name]))
    }
    let ir: Int64 = options.opset <= 18 ? 8 : options.opset <= 20 ? 9 : 10
    return OnnxModel(
      irVersion: ir, operatorSets: [OnnxOperatorSet(version: Int64(options.opset))], producerName: "dinoctl", producerVersion: options.producerVersion,
      graph: OnnxGraph(name: "dino", nodes: w.nodes + finals, inputs: graph.inputs.map { info($0.name, $0.dims.map { $0 }) }, outputs: declared, initializers: w.initializers),
      metadata: options.metadata.sorted { $0.key < $1.key }.map { OnnxProperty(key: $0.key, value: $0.value) })
  }

  private func info(_ name: String, _ dims: [Dimension?]?) -> OnnxValueInfo {
    let shape = dims.map { $0.map { dimension in
      switch dimension {
      case .fixed(let n)?: OnnxDimension(.fixed(Int64(n)))
      case .free(let name)?: OnnxDimension(.symbolic(options.dimensionNames[name] ?? name))
      case nil: OnnxDimension(.unknown)
      }
    } }
    return OnnxValueInfo(name: name, type: OnnxType(.tensor(.float, shape: shape)))
  }

  /// The name of a value, its initializer written when first read.
  private mutating func value(_ id: ValueID, _ reader: String) throws(OnnxExportError) -> String {
    if let name = names[id] { return name }
    guard let constant = graph.constants[id] else { throw .missingValue(node: reader) }
    let name = w.initializer(constant.name, try float(constant))
    names[id] = name
    return name
  }

  private func float(_ constant: Constant) throws(OnnxExportError) -> OnnxTensor {
    guard constant.tensor.dtype.convertsToFloat, let t = try? constant.tensor.converted(to: .f32), let tensor = OnnxTensor(name: constant.name, t) else {
      throw .constantType(name: constant.name, type: constant.tensor.dtype.rawValue)
    }
    return tensor
  }

  private mutating func write(_ node: Node) throws(OnnxExportError) -> String {
    let name = node.name
    switch node.op {
    case .core(let core):
      switch core {
      case .patchEmbedding(let patch): return try patchEmbedding(node, patch)
      case .positionEmbedding(let patch, let special, let rows, let columns, let resize):
        guard let constant = graph.constants[node.inputs[0]] else { throw .notCanonical(node: name, reason: "its positions are not constant") }
        if let (height, width) = fixedSize(of: node.inputs[1]) {
          let values = Self.positions(constant.tensor, height: height, width: width, patch: patch, special: special, rows: rows, columns: columns, resize: resize)
          return w.floats(constant.name, values, [1, values.count / constant.tensor.shape[2], constant.tensor.shape[2]])
        }
        let image = try value(node.inputs[1], name)
        return PositionExport(special: special, rows: rows, columns: columns, patch: patch, resize: resize)
          .write(constant.tensor, image: image, name: name, constantName: constant.name, to: &w)
      case .prependTokens:
        let special = try value(node.inputs[0], name), x = try value(node.inputs[1], name)
        let shape = w.call("Concat", [w.extent(x, axis: 0, name), w.ints([1, 1])], name + ".shape", [.axis(0)])
        return w.call("Concat", [w.call("Expand", [special, shape], name + ".special"), x], name, [.axis(1)])
      case .add: return w.call("Add", try operands(node), name)
      case .multiply: return w.call("Mul", try operands(node), name)
      case .layerNorm(let epsilon): return try layerNorm(node, Float(epsilon))
      case .linear(let e):
        guard e.activation == nil, !e.scale, !e.residual else { throw .notCanonical(node: name, reason: "it is fused; export the graph before the runtime's passes") }
        let product = w.call("MatMul", [try value(node.inputs[0], name), e.transposedWeight ? try value(node.inputs[1], name) : try transposedWeight(node.inputs[1], name)], e.bias ? name + ".product" : name)
        return e.bias ? w.call("Add", [product, try value(node.inputs[2], name)], name) : product
      case .activation(let a): return activation(a, try value(node.inputs[0], name), name)
      case .attention(let heads, let scale):
        let (weights, v) = try attention(node, heads, scale, withValues: true)
        let mixed = w.transpose(w.call("MatMul", [weights, v], name + ".mixed"), [0, 2, 1, 3], name + ".joined")
        return w.reshape(mixed, [0, 0, -1], name)
      case .attentionWeights(let heads, let scale, let firstRowOnly):
        let (weights, _) = try attention(node, heads, scale, withValues: node.inputs.count != 2)
        return firstRowOnly ? w.call("Gather", [weights, w.ints([0], scalar: true)], name, [.axis(2)]) : weights
      case .rotary(let columns): return try rotary(node, columns)
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

  private mutating func operands(_ node: Node) throws(OnnxExportError) -> [String] {
    var list: [String] = []
    for id in node.inputs { list.append(try value(id, node.name)) }
    return list
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

  /// [K, I] as [I, K]: what MatMul wants. A computed weight is transposed in the file.
  private mutating func transposedWeight(_ id: ValueID, _ reader: String) throws(OnnxExportError) -> String {
    if let name = transposed[id] { return name }
    let result: String
    if let constant = graph.constants[id] {
      guard constant.tensor.dtype.convertsToFloat else { throw .constantType(name: constant.name, type: constant.tensor.dtype.rawValue) }
      let k = constant.tensor.shape[0], i = constant.tensor.shape[1], values = constant.tensor.floats()
      var flipped = [Float](repeating: 0, count: values.count)
      for row in 0..<k { for column in 0..<i { flipped[column &* k &+ row] = values[row &* i &+ column] } }
      result = w.floats(constant.name + ".transposed", flipped, [i, k])
    } else {
      result = w.transpose(try value(id, reader), [1, 0], reader + ".transposed")
    }
    transposed[id] = result
    return result
  }

  /// x · cos + rotate(x) · sin on the first columns, seen as heads.
  private mutating func rotary(_ node: Node, _ columns: Int) throws(OnnxExportError) -> String {
    let name = node.name, x = try value(node.inputs[0], name)
    guard let cos = graph.constants[node.inputs[1]]?.tensor, let sin = graph.constants[node.inputs[2]]?.tensor else { throw .notCanonical(node: name, reason: "its angles are not constant") }
    let d = cos.shape[1], end = Int(Int64.max)
    func part(_ x: String, _ from: Int, _ to: Int, _ label: String) -> String { w.call("Slice", [x, w.ints([from]), w.ints([to]), w.ints([-1])], name + label) }
    let heads = w.reshape(part(x, 0, columns, ".rotated"), [0, 0, -1, d], name + ".heads")
    let turned = w.call("Concat", [w.call("Neg", [part(heads, d / 2, end, ".second")], name + ".negated"), part(heads, 0, d / 2, ".first")], name + ".turned", [.axis(-1)])
    let c = w.floats(name + ".cos", cos.floats(), [1, cos.shape[0], 1, d]), s = w.floats(name + ".sin", sin.floats(), [1, cos.shape[0], 1, d])
    let sum = w.call("Add", [w.call("Mul", [heads, c], name + ".along"), w.call("Mul", [turned, s], name + ".across")], name + ".sum")
    let flat = w.reshape(sum, [0, 0, columns], name + ".flat")
    return w.call("Concat", [flat, part(x, columns, end, ".rest")], name, [.axis(-1)])
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

  /// The softmax [B, h, T, T] and v as [B, h, T, d].
  private mutating func attention(_ node: Node, _ heads: Int, _ scale: Double, withValues: Bool) throws(OnnxExportError) -> (weights: String, v: String) {
    let inputs = try operands(node), key = "\(inputs.prefix(2)) \(heads) \(scale)"
    if let known = probabilities[key] { return known }
    let name = node.name
    func split(_ x: String, _ label: String) -> String { w.transpose(w.reshape(x, [0, 0, heads, -1], label + ".heads"), [0, 2, 1, 3], label) }
    var parts: [String]
    if inputs.count == 1 {
      let five = w.transpose(w.reshape(inputs[0], [0, 0, 3, heads, -1], name + ".heads"), [2, 0, 3, 1, 4], name + ".qkv")
      parts = (0..<3).map { w.call("Gather", [five, w.ints([$0], scalar: true)], name + [".q", ".k", ".v"][$0], [.axis(0)]) }
    } else {
      parts = zip(inputs, [".q", ".k", ".v"]).map { split($0, name + $1) }
      if parts.count == 2 { parts.append(parts[1]) }
    }
    let q = w.call("Mul", [parts[0], w.scalar(Float(scale))], name + ".q.scaled")
    let scores = w.call("MatMul", [q, w.transpose(parts[1], [0, 1, 3, 2], name + ".k.transposed")], name + ".scores")
    let result = (weights: w.call("Softmax", [scores], name + ".softmax", [.axis(-1)]), v: parts[2])
    probabilities[key] = result
    return result
  }
}
