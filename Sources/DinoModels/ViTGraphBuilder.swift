// Builds the canonical graph of a DINO vision transformer (VisionTransformer in facebookresearch/dino's vision_transformer.py): no fusions, one
// node for each module, named after it. It checks weights by name and shape and refers to them; it copies none, but for a folded batch norm.

public import DinoGraph
public import DinoTensor

public enum ViTGraphBuilder {
  /// The name of the graph's input, [B, C, H, W] in 32-bit floats, normalised as the preprocessing record says.
  public static let inputName = "pixel_values"

  /// Names of the constants that a graph has of these weights: the keys' part of a qkv is one of its own.
  public static func constantNames(of weights: Set<String>) -> Set<String> {
    weights.union(weights.filter { $0.hasSuffix(".attn.qkv.weight") }.map { $0.replacing(".attn.qkv.", with: ".attn.k.") })
  }

  /// Builds the graph.
  ///
  /// Outputs, with T = S + N tokens, the class token first, then registers, K counting blocks from 0:
  /// `cls` [B,D], `tokens` [B,T,D] and `tokens.K` [B,T,D] (all after the last norm), `attention` [B,h,T,T] and `attention_cls` [B,h,T] (last block),
  /// `attention.K`, `attention_cls.K`, `keys` [B,T,D] and `keys.K` (what attention compares with, all heads side by side; rotary positions are not on them, as the
  /// qkv layer of the original gives them), and where the head is in the configuration `head` [B, out] or `logits` [B, classes].
  ///
  /// - Parameters:
  ///   - weights: by official name, of any type that converts to floats. Tensors that the configuration does not name are ignored.
  ///   - scales: of weights that are 8-bit integers, by the weights' names.
  ///   - outputs: the outputs to keep; nil keeps all. What only others need is not in the graph, so it is not computed.
  /// - Throws: `ModelError.invalid` for the configuration, `.missingTensor`, `.tensorShape`, `.tensorType` for the first tensor that does not
  ///   fit, `.graph(.unknownOutput)`.
  public static func build(config: ViTConfig, weights: [String: Tensor], scales: [String: Tensor] = [:], outputs: [String]? = nil) throws(ModelError) -> Graph {
    try config.validate()
    for spec in config.tensors { try check(weights[spec.name], spec) }
    var builder = Builder(config: config, weights: weights, scales: scales)
    try builder.backbone()
    try builder.head()
    try builder.keys()
    guard let outputs else { return builder.graph }
    do { return try builder.graph.pruned(outputs: outputs) } catch { throw .graph(error) }
  }

  /// Appends a backbone to a graph, over weights that are values of it already: for graphs that hold several networks, or one on several sizes of image.
  /// - Parameters:
  ///   - weights: by official name: all of the backbone's `config.tensors`.
  ///   - image: [B, C, H, W].
  ///   - branchFactors: for each block, two values that its attention and its feed-forward part are multiplied by, [B, 1, 1] (drop path); nil where they are not.
  ///   - masked: the numbers of patches, counted through all images, that a token [1, D] takes the place of before positions are added (iBOT); nil for none.
  /// - Returns: the class token after the last norm, [B, D], and all tokens before it, [B, T, D]: `appendNorm` on those that are wanted.
  public static func appendBackbone(to graph: inout Graph, config: ViTConfig, weights: [String: ValueID], image: ValueID,
                                    branchFactors: [(attention: ValueID, feedForward: ValueID)?] = [],
                                    masked: (patches: ValueID, token: ValueID)? = nil) throws(ModelError) -> (cls: ValueID, tokens: ValueID) {
    var builder = Builder(config: config, graph: graph, constants: weights)
    var x = try builder.embedding(image, masked: masked)
    for i in 0..<config.depth { x = try builder.block("blocks.\(i)", x, factors: i < branchFactors.count ? branchFactors[i] : nil).out }
    let cls = try builder.norm("norm", builder.graph.core(.selectToken(index: 0), [x], name: "cls"))
    graph = builder.graph
    return (cls, x)
  }

  /// Appends the last norm of a backbone, to tokens that come from `appendBackbone`.
  public static func appendNorm(to graph: inout Graph, config: ViTConfig, weights: [String: ValueID], _ x: ValueID) throws(ModelError) -> ValueID {
    var builder = Builder(config: config, graph: graph, constants: weights)
    let normed = try builder.norm("norm", x)
    graph = builder.graph
    return normed
  }

  /// Appends the projection head of a configuration as it is while training: batch normalisation, where there is one, by the statistics of x itself.
  /// - Returns: its output, and for each batch normalisation, by its name, the statistics [2, D] that running ones follow.
  public static func appendHead(to graph: inout Graph, config: ViTConfig, weights: [String: ValueID], _ x: ValueID) throws(ModelError) -> (out: ValueID, statistics: [(name: String, id: ValueID)]) {
    guard case .projection(let head)? = config.head else { throw .invalid(key: "head", reason: "it must be a projection head") }
    var builder = Builder(config: config, graph: graph, constants: weights)
    builder.normalizesByBatch = true
    let out = try builder.projected(x, head)
    graph = builder.graph
    return (out, builder.statistics)
  }

  /// The names of the outputs of a configuration, most used first.
  public static func outputNames(of config: ViTConfig) -> [String] {
    var names = ["cls", "tokens", "attention", "attention_cls", "keys"]
    switch config.head {
    case nil: break
    case .projection?: names.append("head")
    case .classifier?, .probe?: names.append("logits")
    }
    for i in 0..<config.depth { names += ["tokens.\(i)", "attention.\(i)", "attention_cls.\(i)", "keys.\(i)"] }
    return names
  }

  private static func check(_ tensor: Tensor?, _ spec: TensorSpec) throws(ModelError) {
    guard let tensor else { throw .missingTensor(name: spec.name, expected: spec.shape) }
    guard tensor.shape == spec.shape else { throw .tensorShape(name: spec.name, expected: spec.shape, found: tensor.shape) }
    guard tensor.dtype.convertsToFloat else { throw .tensorType(name: spec.name, found: tensor.dtype) }
  }
}

/// The state of one build. Weights were checked before.
private struct Builder {
  let config: ViTConfig
  let weights: [String: Tensor]
  let scales: [String: Tensor]
  var graph = Graph()
  /// Constants made so far: the last norm is read by many nodes.
  private var constants: [String: ValueID] = [:]
  /// The class token after the last norm, [B,D].
  private var cls: ValueID?
  /// Of rotary positions, [T,d] each; nil without.
  private var angles: (cos: ValueID, sin: ValueID)?
  /// All tokens of each block after the last norm, [B,T,D].
  private var normed: [ValueID] = []
  /// What each block's attention reads, [B,T,D].
  private var attended: [ValueID] = []
  /// Whether batch normalisation is by the batch, not by the running statistics; and those of each batch normalisation so far.
  var normalizesByBatch = false
  private(set) var statistics: [(name: String, id: ValueID)] = []

  init(config: ViTConfig, weights: [String: Tensor], scales: [String: Tensor]) {
    self.config = config
    self.weights = weights
    self.scales = scales
  }

  /// Over a graph that has the weights.
  init(config: ViTConfig, graph: Graph, constants: [String: ValueID]) {
    self.config = config
    weights = [:]
    scales = [:]
    self.graph = graph
    self.constants = constants
  }

  // MARK: Backbone

  mutating func backbone() throws(ModelError) {
    var x = try embedding(graph.input(ViTGraphBuilder.inputName, dtype: .f32, dims: [.free("B"), .fixed(config.inChannels), .free("H"), .free("W")]))
    var attentions: [(full: ValueID, first: ValueID)] = []
    var tokens: [ValueID] = []
    for i in 0..<config.depth {
      let (out, full, first) = try block("blocks.\(i)", x)
      x = out
      attentions.append((full, first))
      tokens.append(try norm("norm", x))
    }
    // Only the class token's row of the last norm: the same numbers as row 0 of `tokens`.
    let selected = graph.core(.selectToken(index: 0), [x], name: "cls")
    let last = config.depth - 1, first = try norm("norm", selected)
    (cls, normed) = (first, tokens)
    graph.output("cls", first)
    graph.output("tokens", tokens[last])
    graph.output("attention", attentions[last].full)
    graph.output("attention_cls", attentions[last].first)
    for i in 0..<config.depth {
      graph.output("tokens.\(i)", tokens[i])
      graph.output("attention.\(i)", attentions[i].full)
      graph.output("attention_cls.\(i)", attentions[i].first)
    }
  }

  /// Patches, the class token before them, positions on both; registers between the two have none. Rotary positions are each block's. → [B,T,D]
  mutating func embedding(_ image: ValueID, masked: (patches: ValueID, token: ValueID)? = nil) throws(ModelError) -> ValueID {
    var patches = graph.core(.patchEmbedding(patch: config.patchSize),
                             [image, try constant("patch_embed.proj.weight"), try constant("patch_embed.proj.bias")], name: "patch_embed")
    if let masked { patches = graph.core(.training(.replaceRows), [patches, masked.patches, masked.token], name: "patch_embed.masked") }
    if config.rotaryBase != nil {
      func angles(sine: Bool) throws(ModelError) -> ValueID {
        graph.core(.rotaryAngles(patch: config.patchSize, special: config.specialTokens, sine: sine), [try constant("rope_embed.periods"), image], name: sine ? "rope_embed.sin" : "rope_embed.cos")
      }
      self.angles = (try angles(sine: false), try angles(sine: true))
      var special = try constant("cls_token")
      if config.registerTokens > 0 { special = graph.core(.prependTokens, [special, try constant("register_tokens")], name: "register_tokens") }
      return graph.core(.prependTokens, [special, patches], name: "embedding")
    }
    guard config.registerTokens > 0 else {
      let tokens = graph.core(.prependTokens, [try constant("cls_token"), patches], name: "cls_token")
      return graph.core(.add, [tokens, try positions(image)], name: "embedding")
    }
    // What stands before the patches does not depend on the image's pixels: it is made first, and every patch is moved once.
    let positions = try positions(image)
    let placed = graph.core(.add, [try constant("cls_token"), graph.core(.sliceTokens(start: 0, count: 1), [positions], name: "pos_embed.cls")], name: "cls_token")
    let special = graph.core(.prependTokens, [placed, try constant("register_tokens")], name: "register_tokens")
    let rest = graph.core(.sliceTokens(start: 1, count: nil), [positions], name: "pos_embed.patches")
    return graph.core(.prependTokens, [special, graph.core(.add, [patches, rest], name: "patch_embed.placed")], name: "embedding")
  }

  /// Of the class token and the patches, [1,1+N,D].
  private mutating func positions(_ image: ValueID) throws(ModelError) -> ValueID {
    graph.core(
      .positionEmbedding(patch: config.patchSize, special: 1, nativeRows: config.nativeRows, nativeColumns: config.nativeColumns, resize: config.positionResize),
      [try constant("pos_embed"), image], name: "pos_embed")
  }

  /// x [B,T,D] → the block's output and its attention.
  mutating func block(_ name: String, _ x: ValueID, factors: (attention: ValueID, feedForward: ValueID)? = nil) throws(ModelError) -> (out: ValueID, full: ValueID, first: ValueID) {
    let heads = config.numHeads
    let scale = 1 / Double(config.embedDim / heads).squareRoot()
    let normed = try norm("\(name).norm1", x)
    attended.append(normed)
    var qkv = try linear("\(name).attn.qkv", normed, bias: config.qkvBias)
    if let angles { qkv = graph.core(.rotary(columns: 2 * config.embedDim), [qkv, angles.cos, angles.sin], name: "\(name).attn.rotary") }
    let mixed = graph.core(.attention(heads: heads, scale: scale), [qkv], name: "\(name).attn")
    let full = graph.core(.attentionWeights(heads: heads, scale: scale, firstRowOnly: false), [qkv], name: "\(name).attn.weights")
    let first = graph.core(.attentionWeights(heads: heads, scale: scale, firstRowOnly: true), [qkv], name: "\(name).attn.weights_cls")
    var projected = try layerScaled("\(name).ls1", try linear("\(name).attn.proj", mixed))
    if let factors { projected = graph.core(.multiply, [projected, factors.attention], name: "\(name).attn.drop_path") }
    let middle = graph.core(.add, [projected, x], name: "\(name).attn.residual")
    let layers = config.feedForwardLayers, hidden = try linear("\(name).\(layers.first)", try norm("\(name).norm2", middle))
    let activated = config.feedForward == .swiglu ? graph.core(.gate(config.activation), [hidden], name: "\(name).mlp.gate")
      : graph.core(.activation(config.activation), [hidden], name: "\(name).mlp.act")
    var fed = try layerScaled("\(name).ls2", try linear("\(name).\(layers.second)", activated))
    if let factors { fed = graph.core(.multiply, [fed, factors.feedForward], name: "\(name).mlp.drop_path") }
    return (graph.core(.add, [fed, middle], name: "\(name).mlp.residual"), full, first)
  }

  // MARK: Keys

  /// The middle third of each qkv as a layer of its own, over the same weights: who wants the keys of the last block need not compute its queries, values and attention.
  mutating func keys() throws(ModelError) {
    for (i, normed) in attended.enumerated() {
      let name = "blocks.\(i).attn"
      let scales = try scales["\(name).qkv.weight"].map { (s) throws(ModelError) in try middleThird(s, "\(name).qkv.weight") }
      var operands = [normed, graph.constant("\(name).k.weight", try middleThird(tensor("\(name).qkv.weight"), "\(name).qkv.weight"), scales: scales)]
      if config.qkvBias { operands.append(graph.constant("\(name).k.bias", try middleThird(tensor("\(name).qkv.bias"), "\(name).qkv.bias"))) }
      let keys = graph.core(.linear(LinearEpilogue(bias: config.qkvBias)), operands, name: "\(name).k")
      graph.output("keys.\(i)", keys)
      if i == attended.count - 1 { graph.output("keys", keys) }
    }
  }

  /// A view of a tensor's middle third along its first axis.
  private func middleThird(_ whole: Tensor, _ name: String) throws(ModelError) -> Tensor {
    let shape = Shape([config.embedDim] + whole.shape.dims.dropFirst())
    guard let part = Tensor(dtype: whole.dtype, shape: shape, storage: whole.storage, byteOffset: whole.byteOffset + whole.byteCount / 3) else {
      throw .tensorShape(name: name, expected: Shape([3 * config.embedDim] + whole.shape.dims.dropFirst()), found: whole.shape)
    }
    return part
  }

  // MARK: Head

  mutating func head() throws(ModelError) {
    guard let head = config.head, let cls else { return }
    switch head {
    case .classifier: graph.output("logits", try linear("head", cls))
    case .probe(let probe): graph.output("logits", try probed(probe, cls))
    case .projection(let projection): graph.output("head", try projected(cls, projection))
    }
  }

  /// The sum of a linear layer for each part of the features, over that part's columns of the weight: the product of the whole with the parts side by side.
  private mutating func probed(_ probe: ViTConfig.Probe, _ cls: ValueID) throws(ModelError) -> ValueID {
    let parts = probe.parts(depth: config.depth)
    var sum: ValueID?
    for (i, part) in parts.enumerated() {
      let tokens = normed[part.block], name = "probe.\(i)"
      var x = cls
      if part.isMean {
        x = graph.core(.meanTokens, [graph.core(.sliceTokens(start: config.specialTokens, count: nil), [tokens], name: "\(name).patches")], name: "\(name).mean")
      } else if part.block < config.depth - 1 {
        x = graph.core(.selectToken(index: 0), [tokens], name: "\(name).cls")
      }
      var operands = [x, graph.constant("\(name).weight", try columns(i, of: parts.count, "probe.weight"))]
      if i == 0 { operands.append(try constant("probe.bias")) }
      let scores = graph.core(.linear(LinearEpilogue(bias: i == 0)), operands, name: name)
      sum = sum.map { graph.core(.add, [$0, scores], name: "\(name).sum") } ?? scores
    }
    guard let sum else { throw .invalid(key: "dino.classes layers", reason: "the classifier reads nothing") }
    return sum
  }

  /// Columns of a weight, one of `count` equal runs of them; copied when somebody reads them.
  private func columns(_ index: Int, of count: Int, _ name: String) throws(ModelError) -> Tensor {
    let whole = try tensor(name), width = whole.shape[1] / count, row = whole.byteCount / whole.shape[0], shape: Shape = [whole.shape[0], width]
    let rows = (0..<whole.shape[0]).compactMap { Tensor(dtype: whole.dtype, shape: [width], storage: whole.storage, byteOffset: whole.byteOffset + $0 * row + index * row / count) }
    guard rows.count == whole.shape[0] else { throw .tensorShape(name: name, expected: [whole.shape[0], count * width], found: whole.shape) }
    do { return try Tensor.derived(joining: rows, shape: shape) } catch { throw .outOfMemory(name: name, shape: shape) }
  }

  /// DINOHead.forward: linear layers with GELU between them, L2 normalisation (torch's default epsilon), the weight-normed last layer.
  mutating func projected(_ x: ValueID, _ head: ViTConfig.ProjectionHead) throws(ModelError) -> ValueID {
    var x = x
    for layer in head.linears(width: config.embedDim) {
      if let batchNorm = layer.batchNorm, !normalizesByBatch { try foldBatchNorm(batchNorm, into: layer.name) }
      x = try linear(layer.name, x)
      if let batchNorm = layer.batchNorm, normalizesByBatch {
        statistics.append((batchNorm, graph.core(.training(.columnStatistics), [x], name: "\(batchNorm).statistics")))
        // torch's default epsilon.
        x = graph.core(.training(.batchNorm(epsilon: 1e-5)), [x, try constant("\(batchNorm).weight"), try constant("\(batchNorm).bias")], name: batchNorm)
      }
      if layer.activated { x = graph.core(.activation(.gelu), [x], name: "\(layer.name).act") }
    }
    let unit = graph.core(.l2Normalize(epsilon: 1e-12), [x], name: "head.normalize")
    let weight = graph.core(.weightNorm, [try constant("head.last_layer.weight_v"), try constant("head.last_layer.weight_g")],
                            name: "head.last_layer.weight")
    return graph.core(.linear(LinearEpilogue(bias: false)), [unit, weight], name: "head.last_layer")
  }

  /// Batch normalisation as it is outside of training is a scale and a shift of each column: they go into the linear layer before it.
  private mutating func foldBatchNorm(_ name: String, into linear: String) throws(ModelError) {
    let gamma = try tensor("\(name).weight").floats(), beta = try tensor("\(name).bias").floats()
    let mean = try tensor("\(name).running_mean").floats(), variance = try tensor("\(name).running_var").floats()
    let stored = try tensor("\(linear).weight"), weight = scales["\(linear).weight"].map { stored.multipliedRows(by: $0) } ?? stored
    var rows = weight.floats(), bias = try tensor("\(linear).bias").floats()
    let inputs = weight.shape[1]
    for k in bias.indices {
      let factor = Double(gamma[k]) / (Double(variance[k]) + 1e-5).squareRoot()
      for i in (k * inputs)..<((k + 1) * inputs) { rows[i] = Float(Double(rows[i]) * factor) }
      bias[k] = Float((Double(bias[k]) - Double(mean[k])) * factor + Double(beta[k]))
    }
    constants["\(linear).weight"] = graph.constant("\(linear).weight", Tensor(rows, shape: weight.shape))
    constants["\(linear).bias"] = graph.constant("\(linear).bias", Tensor(bias, shape: [bias.count]))
  }

  // MARK: Pieces

  mutating func norm(_ name: String, _ x: ValueID) throws(ModelError) -> ValueID {
    graph.core(.layerNorm(epsilon: config.normEpsilon), [x, try constant("\(name).weight"), try constant("\(name).bias")], name: name)
  }

  private mutating func linear(_ name: String, _ x: ValueID, bias: Bool = true) throws(ModelError) -> ValueID {
    var operands = [x, try constant("\(name).weight")]
    if bias { operands.append(try constant("\(name).bias")) }
    return graph.core(.linear(LinearEpilogue(bias: bias)), operands, name: name)
  }

  private mutating func layerScaled(_ name: String, _ x: ValueID) throws(ModelError) -> ValueID {
    config.layerScale ? graph.core(.multiply, [x, try constant("\(name).gamma")], name: name) : x
  }

  private mutating func constant(_ name: String) throws(ModelError) -> ValueID {
    if let known = constants[name] { return known }
    let id = graph.constant(name, try tensor(name), scales: scales[name])
    constants[name] = id
    return id
  }

  private func tensor(_ name: String) throws(ModelError) -> Tensor {
    guard let tensor = weights[name] else { throw .missingTensor(name: name, expected: []) }
    return tensor
  }
}
