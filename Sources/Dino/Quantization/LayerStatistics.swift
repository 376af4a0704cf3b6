// What the inputs of a network's linear layers are like on photographs: second moments, means, and a sample of rows. Gathered in f32, in one fixed order.

internal import DinoGraph
internal import DinoKernels
internal import DinoModels
internal import DinoRuntime
internal import DinoTensor

/// Of one layer's input.
struct LayerStatistics {
  let width: Int
  private(set) var count = 0
  /// Sums of x xᵀ, [width, width].
  private(set) var products: [Double]
  private(set) var sums: [Double]
  /// Rows at regular distances.
  private(set) var sample: [[Float]] = []

  /// Rows that are kept of each image.
  static let sampledRows = 12

  init(width: Int) {
    self.width = width
    products = [Double](repeating: 0, count: width * width)
    sums = [Double](repeating: 0, count: width)
  }

  /// Adds the rows of some images.
  mutating func add(_ values: [Float], images: Int, team: ThreadTeam) throws {
    let rows = values.count / width, perImage = max(1, rows / max(images, 1))
    let part = try DenseProducts(values, width: width, team: team).gradient(residuals: values, classes: width)
    for i in part.indices { products[i] += part[i] }
    for row in 0..<rows {
      for c in 0..<width { sums[c] += Double(values[row * width + c]) }
      if row % perImage % max(1, perImage / Self.sampledRows) == 0 { sample.append(Array(values[row * width..<(row + 1) * width])) }
    }
    count += rows
  }

  var means: [Double] { sums.map { $0 / Double(max(count, 1)) } }
  /// E[x xᵀ] of inputs whose channels are divided by `factors`.
  func moments(dividedBy factors: [Float]? = nil) -> [Double] {
    var result = products
    for i in 0..<width {
      let scale = 1 / (Double(max(count, 1)) * Double(factors?[i] ?? 1))
      for j in 0..<width { result[i * width + j] *= scale / Double(factors?[j] ?? 1) }
    }
    return result
  }

  /// Everything that later decisions follow from, as text for a digest.
  var summary: String { "\(count) \(sums) \((0..<width).map { products[$0 * width + $0] })" }
}

extension LayerStatistics {
  /// Of all quantizable layers that read rows, by the name of their weight. The patch embedding, which reads pixels, is not among them.
  static func gather(config: ViTConfig, weights: [String: Tensor], images: [PreparedImage], threads: Int, progress: (Int) -> Void) throws -> [String: LayerStatistics] {
    var outputs = ["tokens"]
    if case .classifier? = config.head { outputs.append("logits") }
    if case .projection? = config.head { outputs.append("head") }
    var graph = try ViTGraphBuilder.build(config: config, weights: weights, outputs: outputs)
    let wanted = Set(config.quantizableWeights)
    var layers: [(name: String, output: String)] = []
    graph.outputs = []
    for node in graph.nodes {
      guard case .core(.linear) = node.op, let weight = graph.constants[node.inputs[1]]?.name, wanted.contains(weight) else { continue }
      layers.append((weight, "input.\(layers.count)"))
      graph.output(layers[layers.count - 1].output, node.inputs[0])
    }
    let session = try Session(graph, options: SessionOptions(threads: threads)), team = ThreadTeam.shared(threads)
    var result: [String: LayerStatistics] = [:]
    for image in images {
      let found = try session.run([DinoModel.inputName: image.tensor], outputs: layers.map(\.output))
      for layer in layers {
        guard let tensor = found[layer.output] else { continue }
        try result[layer.name, default: LayerStatistics(width: tensor.shape[-1])].add(tensor.floats(), images: 1, team: team)
      }
      progress(1)
    }
    return result
  }
}
