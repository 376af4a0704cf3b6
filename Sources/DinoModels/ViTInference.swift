// The configuration of a model from the official names and shapes of its tensors. All but what shapes cannot say: heads, epsilon, activation and
// the resize of positions, for which the original's values stand unless the caller knows better.

public import DinoGraph

/// What the shapes of a checkpoint say.
public struct ViTInference: Sendable, Hashable {
  public var patchSize: Int
  public var inChannels: Int
  public var embedDim: Int
  public var depth: Int
  public var feedForward: ViTConfig.FeedForward
  public var mlpHiddenDim: Int
  public var qkvBias: Bool
  public var layerScale: Bool
  public var registerTokens: Int
  /// Number of patch positions, M; nil where positions are rotary.
  public var positions: Int?
  public var head: ViTConfig.Head?

  /// Reads names and shapes.
  /// - Parameters:
  ///   - shapes: by official name; others are ignored.
  ///   - isRotary: whether the names are those of a library whose networks have rotary positions, which its files do not hold. Only with registers: timm has networks with
  ///     other rotary positions under the same names, and none of those has any.
  /// - Throws: `ModelError.notAVisionTransformer` with what is missing or out of shape.
  public init(shapes: [String: [Int]], isRotary: Bool = false) throws(ModelError) {
    func shape(_ name: String, rank: Int) throws(ModelError) -> [Int] {
      guard let shape = shapes[name] else { throw .notAVisionTransformer(reason: "it has no tensor '\(name)'") }
      guard shape.count == rank, shape.allSatisfy({ $0 > 0 }) else {
        throw .notAVisionTransformer(reason: "its tensor '\(name)' has the shape \(shape), not \(rank) positive extents")
      }
      return shape
    }
    let patch = try shape("patch_embed.proj.weight", rank: 4)
    guard patch[2] == patch[3] else { throw .notAVisionTransformer(reason: "its patches are \(patch[2])x\(patch[3]), not square") }
    embedDim = patch[0]
    inChannels = patch[1]
    patchSize = patch[2]
    if shapes["pos_embed"] == nil, isRotary && shapes["register_tokens"] != nil || shapes["rope_embed.periods"] != nil {
      positions = nil
    } else {
      let position = try shape("pos_embed", rank: 3)
      guard position[0] == 1, (2...(1 << 24) + 1).contains(position[1]), position[2] == embedDim else {
        throw .notAVisionTransformer(reason: "its tensor 'pos_embed' has the shape \(position), not [1, 1 + patches, \(embedDim)]")
      }
      positions = position[1] - 1
    }
    // Counted upwards and not searched for the largest number: a name like blocks.999999999 costs nothing.
    var blocks = 0
    while shapes["blocks.\(blocks).norm1.weight"] != nil { blocks += 1 }
    guard blocks > 0 else { throw .notAVisionTransformer(reason: "it has no tensor 'blocks.0.norm1.weight'") }
    depth = blocks
    let packed = "blocks.0.mlp.w12.weight"
    if shapes[packed] != nil {
      let rows = try shape(packed, rank: 2)[0]
      guard rows % 2 == 0 else { throw .notAVisionTransformer(reason: "its tensor '\(packed)' has \(rows) rows, and a gate and what it opens have as many each") }
      (feedForward, mlpHiddenDim) = (.swiglu, rows / 2)
    } else {
      (feedForward, mlpHiddenDim) = (.mlp, try shape("blocks.0.mlp.fc1.weight", rank: 2)[0])
    }
    qkvBias = shapes["blocks.0.attn.qkv.bias"] != nil
    layerScale = shapes["blocks.0.ls1.gamma"] != nil
    // transformers writes a tensor without rows where there are none.
    let none = [1, 0, embedDim]
    registerTokens = (shapes["register_tokens"] ?? none) == none ? 0 : try shape("register_tokens", rank: 3)[1]
    head = try Self.head(shapes, width: embedDim, depth: depth, shape)
  }

  /// The whole configuration.
  /// - Parameters:
  ///   - grid: the native grid, where a record gives it; otherwise it must be square.
  ///   - heads: see `HeadCount`.
  ///   - normEpsilon: nil for the original's.
  ///   - activation: nil for the original's.
  ///   - rotaryBase: of rotary positions; nil for the original's.
  ///   - resize: nil for the original's: DINOv2 resizes otherwise where it has registers.
  public func config(heads: Int, grid: (rows: Int, columns: Int)? = nil, normEpsilon: Double? = nil, activation: Activation? = nil,
                     resize: PositionResize? = nil, rotaryBase: Double? = nil) throws(ModelError) -> ViTConfig {
    guard let positions else {
      let config = config(heads, grid: (1, 1), normEpsilon, activation, .officialOffset).rotary(base: rotaryBase ?? ViTConfig.officialRotaryBase)
      try config.validate()
      return config
    }
    let side = Int(Double(positions).squareRoot().rounded())
    guard let grid = grid ?? (side * side == positions ? (side, side) : nil) else {
      throw .invalid(key: "position_embedding.native_grid",
                     reason: "\(positions) patch positions are not a square grid, and nothing says how many rows and columns it has")
    }
    let (product, overflow) = grid.rows.multipliedReportingOverflow(by: grid.columns)
    guard grid.rows > 0, grid.columns > 0, !overflow, product == positions else {
      throw .invalid(key: "position_embedding.native_grid", reason: "\(grid.rows)x\(grid.columns) is not a grid of \(positions) patch positions")
    }
    let config = config(heads, grid: grid, normEpsilon, activation, resize ?? .official(registerTokens: registerTokens))
    try config.validate()
    return config
  }

  private func config(_ heads: Int, grid: (rows: Int, columns: Int), _ normEpsilon: Double?, _ activation: Activation?, _ resize: PositionResize) -> ViTConfig {
    ViTConfig(patchSize: patchSize, inChannels: inChannels, embedDim: embedDim, depth: depth, numHeads: heads,
              mlpRatio: Double(mlpHiddenDim) / Double(embedDim), qkvBias: qkvBias, feedForward: feedForward, registerTokens: registerTokens,
              layerScale: layerScale, normEpsilon: normEpsilon ?? ViTConfig.officialEpsilon(isRotary: positions == nil), activation: activation ?? feedForward.usualActivation, nativeRows: grid.rows, nativeColumns: grid.columns,
              positionResize: resize, head: head)
  }

  /// A classifier, a projection head, or nothing.
  private static func head(_ shapes: [String: [Int]], width: Int, depth: Int, _ shape: (String, Int) throws(ModelError) -> [Int]) throws(ModelError) -> ViTConfig.Head? {
    if shapes["head.last_layer.weight_v"] != nil {
      let last = try shape("head.last_layer.weight_v", 2)
      return .projection(try projection(shapes, shape, outDim: last[0], bottleneck: last[1]))
    }
    if shapes["head.weight"] != nil { return .classifier(classes: try shape("head.weight", 2)[0]) }
    // DINOv2's linear heads, of one block and of four.
    if shapes["probe.weight"] != nil {
      let probe = try shape("probe.weight", 2), parts = probe[1].isMultiple(of: width) ? probe[1] / width : 0
      if parts == 2 { return .probe(.init(classes: probe[0], tokens: .clsAndMean)) }
      if parts == 5, depth >= 4 { return .probe(.init(classes: probe[0], tokens: .clsAndLastMean, layers: 4)) }
    }
    return nil
  }

  private static func projection(_ shapes: [String: [Int]], _ shape: (String, Int) throws(ModelError) -> [Int], outDim: Int,
                                 bottleneck: Int) throws(ModelError) -> ViTConfig.ProjectionHead {
    if shapes["head.mlp.weight"] != nil {
      return ViTConfig.ProjectionHead(layers: 1, hiddenDim: bottleneck, bottleneckDim: bottleneck, outDim: outDim)
    }
    let hidden = try shape("head.mlp.0.weight", 2)[0]
    let batchNorm = shapes["head.mlp.1.running_mean"] != nil
    var layers = 1
    while shapes["head.mlp.\(layers * (batchNorm ? 3 : 2)).weight"] != nil { layers += 1 }
    guard layers >= 2 else { throw .notAVisionTransformer(reason: "its projection head has no second linear layer") }
    return ViTConfig.ProjectionHead(layers: layers, hiddenDim: hidden, bottleneckDim: bottleneck, outDim: outDim, batchNorm: batchNorm)
  }
}
