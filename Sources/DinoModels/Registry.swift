// The architectures that have names, and the names of the published checkpoints. Data only; nothing is fetched here.

/// A named size of vision transformer.
public struct Architecture: Sendable, Hashable {
  public var name: String
  public var embedDim: Int
  public var depth: Int
  public var numHeads: Int
}

/// A published checkpoint of facebookresearch/dino.
public struct PublishedModel: Sendable, Hashable {
  /// The name in torch.hub.
  public var name: String
  public var architecture: String
  public var patchSize: Int
  public var description: String
}

public enum Registry {
  public static let architectures = [
    Architecture(name: "vit_tiny", embedDim: 192, depth: 12, numHeads: 3),
    Architecture(name: "vit_small", embedDim: 384, depth: 12, numHeads: 6),
    Architecture(name: "vit_base", embedDim: 768, depth: 12, numHeads: 12),
  ]

  public static let published = [
    PublishedModel(name: "dino_vits16", architecture: "vit_small", patchSize: 16, description: "ViT-S/16, DINO on ImageNet-1k, 21.7 M weights"),
    PublishedModel(name: "dino_vits8", architecture: "vit_small", patchSize: 8, description: "ViT-S/8, DINO on ImageNet-1k, 21.7 M weights"),
    PublishedModel(name: "dino_vitb16", architecture: "vit_base", patchSize: 16, description: "ViT-B/16, DINO on ImageNet-1k, 85.8 M weights"),
    PublishedModel(name: "dino_vitb8", architecture: "vit_base", patchSize: 8, description: "ViT-B/8, DINO on ImageNet-1k, 85.8 M weights"),
  ]

  /// The image size that patches are counted for: the original's `img_size`.
  public static let nativeImageSize = 224

  /// An architecture by name; `deit_tiny` and `deit_small` are other names of `vit_tiny` and `vit_small`, as in the original.
  public static func architecture(named name: String) -> Architecture? {
    let canonical = name.hasPrefix("deit_") ? "vit_" + name.dropFirst(5) : name
    return architectures.first { $0.name == canonical }
  }

  public static func publishedModel(named name: String) -> PublishedModel? { published.first { $0.name == name } }

  /// The configuration of a named architecture.
  /// - Parameters:
  ///   - name: one of `architectures`, or of `published` (which then gives the patch size where `patchSize` is nil).
  ///   - patchSize: 16 where nothing says it.
  ///   - imageSize: side of the square images whose grid the positions are for.
  /// - Throws: `ModelError.unknownArchitecture`, or `.invalid` where no patch fits into the image.
  public static func configuration(_ name: String, patchSize: Int? = nil, imageSize: Int = nativeImageSize,
                                   head: ViTConfig.Head? = nil) throws(ModelError) -> ViTConfig {
    guard let architecture = architecture(named: publishedModel(named: name)?.architecture ?? name) else {
      throw .unknownArchitecture(name: String(name.prefix(64)), known: architectures.map(\.name) + published.map(\.name))
    }
    let patch = patchSize ?? publishedModel(named: name)?.patchSize ?? 16
    guard patch > 0, imageSize / patch > 0 else {
      throw .invalid(key: "patch_size", reason: "no patch of \(patch) pixels fits into an image of \(imageSize)")
    }
    let grid = imageSize / patch
    let config = ViTConfig(patchSize: patch, embedDim: architecture.embedDim, depth: architecture.depth, numHeads: architecture.numHeads,
                           nativeRows: grid, nativeColumns: grid, head: head)
    try config.validate()
    return config
  }

  /// The number of heads of the architecture with this width and depth.
  public static func heads(width: Int, depth: Int) -> Int? {
    architectures.first { $0.embedDim == width && $0.depth == depth }?.numHeads
  }
}
