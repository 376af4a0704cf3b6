// `dino.config` as JSON. Keys that are not known are ignored (the format's version says what must be understood); everything else is checked.

internal import DinoGraph

extension ViTConfig: Codable {
  private enum Key: String, CodingKey {
    case family, patch_size, in_channels, embed_dim, depth, num_heads, mlp_ratio, qkv_bias, ffn, register_tokens, layer_scale, norm_eps
    case activation, position_embedding, head
  }

  /// Decodes and validates. Fields with a customary value (`in_channels` 3, `mlp_ratio` 4, `qkv_bias` true, `ffn` mlp, no registers, no layer scale,
  /// `norm_eps` 1e-6, gelu, or silu where `ffn` is swiglu, no head) may be absent.
  public init(from decoder: any Decoder) throws {
    let c = try decoder.container(keyedBy: Key.self)
    let family = try c.decode(String.self, forKey: .family)
    guard family == Self.family else {
      throw ModelError.invalid(key: "family", reason: "'\(String(family.prefix(64)))' is not a family that is built here; '\(Self.family)' is")
    }
    let position = try c.decode(PositionRecord.self, forKey: .position_embedding), feedForward = try c.decodeIfPresent(FeedForward.self, forKey: .ffn) ?? .mlp
    var config = ViTConfig(
      patchSize: try c.integer(.patch_size),
      inChannels: c.contains(.in_channels) ? try c.integer(.in_channels) : 3,
      embedDim: try c.integer(.embed_dim),
      depth: try c.integer(.depth),
      numHeads: try c.integer(.num_heads),
      mlpRatio: try c.decodeIfPresent(Double.self, forKey: .mlp_ratio) ?? 4,
      qkvBias: try c.decodeIfPresent(Bool.self, forKey: .qkv_bias) ?? true,
      feedForward: feedForward,
      registerTokens: c.contains(.register_tokens) ? try c.integer(.register_tokens) : 0,
      layerScale: try c.decodeIfPresent(Bool.self, forKey: .layer_scale) ?? false,
      normEpsilon: try c.decodeIfPresent(Double.self, forKey: .norm_eps) ?? 1e-6,
      activation: try c.decodeIfPresent(Activation.self, forKey: .activation) ?? feedForward.usualActivation,
      nativeRows: position.rows, nativeColumns: position.columns, positionResize: position.resize,
      head: try c.decodeIfPresent(Head.self, forKey: .head))
    if let base = position.base { config = config.rotary(base: base) }
    try config.validate()
    self = config
  }

  public func encode(to encoder: any Encoder) throws {
    var c = encoder.container(keyedBy: Key.self)
    try c.encode(Self.family, forKey: .family)
    try c.encode(patchSize, forKey: .patch_size)
    try c.encode(inChannels, forKey: .in_channels)
    try c.encode(embedDim, forKey: .embed_dim)
    try c.encode(depth, forKey: .depth)
    try c.encode(numHeads, forKey: .num_heads)
    try c.encode(mlpRatio, forKey: .mlp_ratio)
    try c.encode(qkvBias, forKey: .qkv_bias)
    try c.encode(feedForward, forKey: .ffn)
    try c.encode(registerTokens, forKey: .register_tokens)
    try c.encode(layerScale, forKey: .layer_scale)
    try c.encode(normEpsilon, forKey: .norm_eps)
    try c.encode(activation, forKey: .activation)
    try c.encode(PositionRecord(rows: nativeRows, columns: nativeColumns, resize: positionResize, base: rotaryBase), forKey: .position_embedding)
    // What a probe is stands beside the network: `dino.classes`.
    if case .probe? = head { try c.encodeNil(forKey: .head) } else { try c.encode(head, forKey: .head) }
  }

  /// The text for the key `dino.config`.
  public func json() throws(ModelError) -> String { try RecordCoding.encode(self, key: ModelRecord.Key.config) }

  /// Reads the text of the key `dino.config`.
  public init(json: String) throws(ModelError) { self = try RecordCoding.decode(Self.self, from: json, key: ModelRecord.Key.config) }
}

/// {"kind":"learned","native_grid":[rows,columns],"resize":{…}} or {"kind":"rotary","base":100}
private struct PositionRecord: Codable {
  var rows: Int
  var columns: Int
  var resize: PositionResize
  /// Of rotary positions, which have no grid.
  var base: Double?

  private enum Key: String, CodingKey { case kind, native_grid, resize, base }
  private enum ResizeKey: String, CodingKey { case kernel, cubic_a, antialias, offset }

  init(rows: Int, columns: Int, resize: PositionResize, base: Double?) {
    self.rows = rows
    self.columns = columns
    self.resize = resize
    self.base = base
  }

  init(from decoder: any Decoder) throws {
    let c = try decoder.container(keyedBy: Key.self)
    let kind = try c.decodeIfPresent(String.self, forKey: .kind) ?? "learned"
    base = kind == "rotary" ? try c.decode(Double.self, forKey: .base) : nil
    guard base == nil else {
      (rows, columns, resize) = (1, 1, .officialOffset)
      return
    }
    guard kind == "learned" else {
      throw ModelError.invalid(key: "position_embedding.kind", reason: "'\(String(kind.prefix(64)))' is not known; 'learned' and 'rotary' are")
    }
    let grid = try c.decode([Int].self, forKey: .native_grid)
    guard grid.count == 2 else {
      throw ModelError.invalid(key: "position_embedding.native_grid", reason: "it must be [rows, columns], not \(grid.count) numbers")
    }
    rows = grid[0]
    columns = grid[1]
    let r = try c.nestedContainer(keyedBy: ResizeKey.self, forKey: .resize)
    resize = PositionResize(
      kernel: try r.decode(PositionResize.Kernel.self, forKey: .kernel),
      cubicA: try r.decodeIfPresent(Double.self, forKey: .cubic_a) ?? -0.75,
      antialias: try r.decodeIfPresent(Bool.self, forKey: .antialias) ?? false,
      offset: try r.decodeIfPresent(Double.self, forKey: .offset))
  }

  func encode(to encoder: any Encoder) throws {
    var c = encoder.container(keyedBy: Key.self)
    if let base {
      try c.encode("rotary", forKey: .kind)
      try c.encode(base, forKey: .base)
      return
    }
    try c.encode("learned", forKey: .kind)
    try c.encode([rows, columns], forKey: .native_grid)
    var r = c.nestedContainer(keyedBy: ResizeKey.self, forKey: .resize)
    try r.encode(resize.kernel, forKey: .kernel)
    try r.encode(resize.cubicA, forKey: .cubic_a)
    try r.encode(resize.antialias, forKey: .antialias)
    try r.encode(resize.offset, forKey: .offset)
  }
}

extension ViTConfig.Head: Codable {
  private enum Key: String, CodingKey { case kind, layers, hidden_dim, bottleneck_dim, out_dim, batch_norm, classes }

  public init(from decoder: any Decoder) throws {
    let c = try decoder.container(keyedBy: Key.self)
    switch try c.decode(String.self, forKey: .kind) {
    case "classifier":
      self = .classifier(classes: try c.integer(.classes))
    case "dino":
      self = .projection(ViTConfig.ProjectionHead(
        layers: try c.integer(.layers),
        hiddenDim: try c.integer(.hidden_dim),
        bottleneckDim: try c.integer(.bottleneck_dim),
        outDim: try c.integer(.out_dim),
        batchNorm: try c.decodeIfPresent(Bool.self, forKey: .batch_norm) ?? false))
    case let other:
      throw ModelError.invalid(key: "head.kind", reason: "'\(String(other.prefix(64)))' is not known; 'dino' and 'classifier' are")
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var c = encoder.container(keyedBy: Key.self)
    switch self {
    case .classifier(let classes):
      try c.encode("classifier", forKey: .kind)
      try c.encode(classes, forKey: .classes)
    case .probe:
      throw ModelError.invalid(key: "head", reason: "a probe is beside the network and not its head")
    case .projection(let head):
      try c.encode("dino", forKey: .kind)
      try c.encode(head.layers, forKey: .layers)
      try c.encode(head.hiddenDim, forKey: .hidden_dim)
      try c.encode(head.bottleneckDim, forKey: .bottleneck_dim)
      try c.encode(head.outDim, forKey: .out_dim)
      try c.encode(head.batchNorm, forKey: .batch_norm)
    }
  }
}
