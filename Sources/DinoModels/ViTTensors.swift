// The tensors that a configuration asks for: official names, shapes, and how training would start each. One table for the builder, the
// initialiser and the resolution of names.

public import DinoTensor

/// One tensor of a model.
public struct TensorSpec: Sendable, Hashable {
  /// How training starts it (vision_transformer.py; ANCHORS 2.1).
  public enum Start: Sendable, Hashable {
    /// Normal, deviation 0.02, cut off at ±2 (absolute).
    case truncatedNormal
    /// The same number everywhere.
    case constant(Float)
    /// Uniform in ±1/√fanIn: torch's default for convolutions and linear layers.
    case uniform(fanIn: Int)
    /// base^(i/count), the periods of rotary positions: not random, and the same where a file does not hold them.
    case periods(base: Double, count: Int)
  }
  public var name: String
  public var shape: Shape
  public var start: Start
  /// Whether it follows from the configuration, so that a file need not hold it.
  public var isComputed: Bool { if case .periods = start { true } else { false } }
  public init(name: String, shape: Shape, start: Start) {
    self.name = name
    self.shape = shape
    self.start = start
  }
}

extension ViTConfig {
  /// All tensors, in the order of the official model's state dictionary.
  public var tensors: [TensorSpec] {
    var list = TensorList()
    let d = embedDim, p = patchSize
    list.add("cls_token", [1, 1, d], .truncatedNormal)
    if rotaryBase == nil { list.add("pos_embed", [1, 1 + nativeRows * nativeColumns, d], .truncatedNormal) }
    // DINOv2 starts them at nothing (1e-6), DINOv3 as it does the class token.
    if registerTokens > 0 { list.add("register_tokens", [1, registerTokens, d], .truncatedNormal) }
    if let base = rotaryBase { list.add("rope_embed.periods", [d / numHeads / 4], .periods(base: base, count: d / numHeads / 4)) }
    let fanIn = inChannels * p * p
    list.add("patch_embed.proj.weight", [d, inChannels, p, p], .uniform(fanIn: fanIn))
    list.add("patch_embed.proj.bias", [d], .uniform(fanIn: fanIn))
    for i in 0..<depth {
      let block = "blocks.\(i)"
      list.norm("\(block).norm1", d)
      list.linear("\(block).attn.qkv", 3 * d, d, bias: qkvBias)
      list.linear("\(block).attn.proj", d, d)
      if layerScale { list.add("\(block).ls1.gamma", [d], .constant(1e-5)) }
      list.norm("\(block).norm2", d)
      let feedForward = feedForwardLayers
      list.linear("\(block).\(feedForward.first)", feedForward.rows, d)
      list.linear("\(block).\(feedForward.second)", d, mlpHiddenDim)
      if layerScale { list.add("\(block).ls2.gamma", [d], .constant(1e-5)) }
    }
    list.norm("norm", d)
    switch head {
    case nil: break
    case .classifier(let classes)?: list.linear("head", classes, d)
    case .probe(let probe)?: list.linear("probe", probe.classes, probe.parts(depth: depth).count * d)
    case .projection(let projection)?: list.projection(projection, width: d)
    }
    return list.specs
  }

  /// Number of weights.
  public var parameterCount: Int { tensors.reduce(0) { $0 + $1.shape.count } }
}

extension ViTConfig.ProjectionHead {
  /// One linear layer of the head, with the names of its tensors.
  public struct Layer: Sendable, Hashable {
    public var name: String
    public var inputs: Int
    public var outputs: Int
    /// The batch normalisation after it.
    public var batchNorm: String?
    /// Whether an activation follows.
    public var activated: Bool
  }

  /// The linear layers for a backbone of this width. A single layer is `head.mlp` itself; several are members of a Sequential, in which activations
  /// and batch normalisations take numbers too.
  public func linears(width: Int) -> [Layer] {
    if layers == 1 { return [Layer(name: "head.mlp", inputs: width, outputs: bottleneckDim, batchNorm: nil, activated: false)] }
    let stride = batchNorm ? 3 : 2
    return (0..<layers).map { i in
      let last = i == layers - 1
      return Layer(name: "head.mlp.\(i * stride)", inputs: i == 0 ? width : hiddenDim, outputs: last ? bottleneckDim : hiddenDim,
                   batchNorm: batchNorm && !last ? "head.mlp.\(i * stride + 1)" : nil, activated: !last)
    }
  }
}

private struct TensorList {
  var specs: [TensorSpec] = []

  mutating func add(_ name: String, _ shape: Shape, _ start: TensorSpec.Start) {
    specs.append(TensorSpec(name: name, shape: shape, start: start))
  }

  mutating func norm(_ name: String, _ width: Int) {
    add("\(name).weight", [width], .constant(1))
    add("\(name).bias", [width], .constant(0))
  }

  mutating func linear(_ name: String, _ outputs: Int, _ inputs: Int, bias: Bool = true) {
    add("\(name).weight", [outputs, inputs], .truncatedNormal)
    if bias { add("\(name).bias", [outputs], .constant(0)) }
  }

  mutating func projection(_ head: ViTConfig.ProjectionHead, width: Int) {
    for layer in head.linears(width: width) {
      linear(layer.name, layer.outputs, layer.inputs)
      if let batchNorm = layer.batchNorm {
        norm(batchNorm, layer.outputs)
        add("\(batchNorm).running_mean", [layer.outputs], .constant(0))
        add("\(batchNorm).running_var", [layer.outputs], .constant(1))
      }
    }
    // Made after the others were initialised in the original, so it keeps the default of torch's linear layer.
    add("head.last_layer.weight_g", [head.outDim, 1], .constant(1))
    add("head.last_layer.weight_v", [head.outDim, head.bottleneckDim], .uniform(fanIn: head.bottleneckDim))
  }
}
