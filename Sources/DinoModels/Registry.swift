// The architectures that have names, and the names of the published checkpoints. Data only; nothing is fetched here.

/// A named size of vision transformer.
public struct Architecture: Sendable, Hashable {
  public var name: String
  public var embedDim: Int
  public var depth: Int
  public var numHeads: Int
}

/// A published checkpoint of facebookresearch/dino, dinov2 or dinov3.
public struct PublishedModel: Sendable, Hashable {
  /// The name in torch.hub.
  public var name: String
  public var architecture: String
  public var patchSize: Int
  public var description: String
  /// Side of the images that its positions are for.
  public var imageSize = Registry.nativeImageSize
  public var registerTokens = 0
  public var layerScale = false
  /// Of rotary positions.
  public var rotaryBase: Double?
  public var feedForward = ViTConfig.FeedForward.mlp
  public var mlpRatio = 4.0
  public var qkvBias = true
}

public enum Registry {
  public static let architectures = [
    Architecture(name: "vit_tiny", embedDim: 192, depth: 12, numHeads: 3),
    Architecture(name: "vit_small", embedDim: 384, depth: 12, numHeads: 6),
    Architecture(name: "vit_base", embedDim: 768, depth: 12, numHeads: 12),
    Architecture(name: "vit_large", embedDim: 1024, depth: 24, numHeads: 16),
    // The originals' names of sizes that only gated networks have.
    Architecture(name: "vit_huge2", embedDim: 1280, depth: 32, numHeads: 20),
    Architecture(name: "vit_giant2", embedDim: 1536, depth: 40, numHeads: 24),
    Architecture(name: "vit_7b", embedDim: 4096, depth: 40, numHeads: 32),
  ]

  public static let published = [
    PublishedModel(name: "dino_vits16", architecture: "vit_small", patchSize: 16, description: "ViT-S/16, DINO on ImageNet-1k, 21.7 M weights"),
    PublishedModel(name: "dino_vits8", architecture: "vit_small", patchSize: 8, description: "ViT-S/8, DINO on ImageNet-1k, 21.7 M weights"),
    PublishedModel(name: "dino_vitb16", architecture: "vit_base", patchSize: 16, description: "ViT-B/16, DINO on ImageNet-1k, 85.8 M weights"),
    PublishedModel(name: "dino_vitb8", architecture: "vit_base", patchSize: 8, description: "ViT-B/8, DINO on ImageNet-1k, 85.8 M weights"),
    dinov2("dinov2_vits14", "vit_small", "ViT-S/14, DINOv2 on LVD-142M, 22.1 M weights"),
    dinov2("dinov2_vitb14", "vit_base", "ViT-B/14, DINOv2 on LVD-142M, 86.6 M weights"),
    dinov2("dinov2_vitl14", "vit_large", "ViT-L/14, DINOv2 on LVD-142M, 304.4 M weights"),
    dinov2("dinov2_vitg14", "vit_giant2", "ViT-g/14 with gated MLPs, DINOv2 on LVD-142M, 1136.5 M weights", gatedRatio: 4096.0 / 1536),
    dinov2("dinov2_vits14_reg", "vit_small", "ViT-S/14 with 4 registers, DINOv2 on LVD-142M, 22.1 M weights", registers: 4),
    dinov2("dinov2_vitb14_reg", "vit_base", "ViT-B/14 with 4 registers, DINOv2 on LVD-142M, 86.6 M weights", registers: 4),
    dinov2("dinov2_vitl14_reg", "vit_large", "ViT-L/14 with 4 registers, DINOv2 on LVD-142M, 304.4 M weights", registers: 4),
    dinov2("dinov2_vitg14_reg", "vit_giant2", "ViT-g/14 with gated MLPs and 4 registers, DINOv2 on LVD-142M, 1136.5 M weights", registers: 4, gatedRatio: 4096.0 / 1536),
    dinov3("dinov3_vits16", "vit_small", "ViT-S/16 with 4 registers and rotary positions, DINOv3 on LVD-1689M, 21.6 M weights"),
    dinov3("dinov3_vitb16", "vit_base", "ViT-B/16 with 4 registers and rotary positions, DINOv3 on LVD-1689M, 85.7 M weights"),
    dinov3("dinov3_vitl16", "vit_large", "ViT-L/16 with 4 registers and rotary positions, DINOv3 on LVD-1689M, 303.1 M weights"),
    dinov3("dinov3_vits16plus", "vit_small", "ViT-S+/16 with gated MLPs, 4 registers and rotary positions, DINOv3 on LVD-1689M, 28.7 M weights", gatedRatio: 4),
    dinov3("dinov3_vith16plus", "vit_huge2", "ViT-H+/16 with gated MLPs, 4 registers and rotary positions, DINOv3 on LVD-1689M, 840.6 M weights", gatedRatio: 4),
    dinov3("dinov3_vit7b16", "vit_7b", "ViT-7B/16 with gated MLPs, 4 registers and rotary positions, DINOv3 on LVD-1689M, 6716.0 M weights", gatedRatio: 2, qkvBias: false),
  ]

  /// - Parameter gatedRatio: the ratio of gated feed-forward parts; nil for plain ones.
  private static func dinov3(_ name: String, _ architecture: String, _ description: String, gatedRatio: Double? = nil, qkvBias: Bool = true) -> PublishedModel {
    PublishedModel(name: name, architecture: architecture, patchSize: 16, description: description, registerTokens: 4, layerScale: true, rotaryBase: ViTConfig.officialRotaryBase,
                   feedForward: gatedRatio == nil ? .mlp : .swiglu, mlpRatio: gatedRatio ?? 4, qkvBias: qkvBias)
  }

  private static func dinov2(_ name: String, _ architecture: String, _ description: String, registers: Int = 0, gatedRatio: Double? = nil) -> PublishedModel {
    PublishedModel(name: name, architecture: architecture, patchSize: 14, description: description, imageSize: 518, registerTokens: registers, layerScale: true,
                   feedForward: gatedRatio == nil ? .mlp : .swiglu, mlpRatio: gatedRatio ?? 4)
  }

  /// The image size that patches are counted for where no published model says another: the original's `img_size`.
  public static let nativeImageSize = 224

  /// An architecture by name; `deit_tiny` and `deit_small` are other names of `vit_tiny` and `vit_small`, as in the original.
  public static func architecture(named name: String) -> Architecture? {
    let canonical = name.hasPrefix("deit_") ? "vit_" + name.dropFirst(5) : name
    return architectures.first { $0.name == canonical }
  }

  public static func publishedModel(named name: String) -> PublishedModel? { published.first { $0.name == name } }

  /// The configuration of a named architecture.
  /// - Parameters:
  ///   - name: one of `architectures`, or of `published` (which then gives what is nil, registers, layer scale and the feed-forward part).
  ///   - patchSize: 16 where nothing says it.
  ///   - imageSize: side of the square images whose grid the positions are for; `nativeImageSize` where nothing says it.
  /// - Throws: `ModelError.unknownArchitecture`, or `.invalid` where no patch fits into the image.
  public static func configuration(_ name: String, patchSize: Int? = nil, imageSize: Int? = nil,
                                   head: ViTConfig.Head? = nil) throws(ModelError) -> ViTConfig {
    let published = publishedModel(named: name)
    guard let architecture = architecture(named: published?.architecture ?? name) else {
      throw .unknownArchitecture(name: String(name.prefix(64)), known: architectures.map(\.name) + Self.published.map(\.name))
    }
    let patch = patchSize ?? published?.patchSize ?? 16, imageSize = imageSize ?? published?.imageSize ?? nativeImageSize
    guard patch > 0, imageSize / patch > 0 else {
      throw .invalid(key: "patch_size", reason: "no patch of \(patch) pixels fits into an image of \(imageSize)")
    }
    let grid = imageSize / patch
    let feedForward = published?.feedForward ?? .mlp
    var config = ViTConfig(patchSize: patch, embedDim: architecture.embedDim, depth: architecture.depth, numHeads: architecture.numHeads, mlpRatio: published?.mlpRatio ?? 4,
                           qkvBias: published?.qkvBias ?? true, feedForward: feedForward, registerTokens: published?.registerTokens ?? 0, layerScale: published?.layerScale ?? false,
                           normEpsilon: ViTConfig.officialEpsilon(isRotary: published?.rotaryBase != nil), activation: feedForward.usualActivation, nativeRows: grid, nativeColumns: grid,
                           positionResize: .official(registerTokens: published?.registerTokens ?? 0), head: head)
    if let base = published?.rotaryBase { config = config.rotary(base: base) }
    try config.validate()
    return config
  }

  /// The number of heads of the architecture with this width and depth.
  public static func heads(width: Int, depth: Int) -> Int? {
    architectures.first { $0.embedDim == width && $0.depth == depth }?.numHeads
  }
}
