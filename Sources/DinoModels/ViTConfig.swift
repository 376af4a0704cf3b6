// What a vision transformer of the DINO family is, as data. Values only: the limits are in ViTConfig+Validation, the JSON in ViTConfig+Coding,
// the tensors that follow from it in ViTTensors.

public import DinoGraph

/// The configuration of a DINO vision transformer (`dino.config` of the weight format).
public struct ViTConfig: Sendable, Hashable {
  /// The feed-forward part of a block.
  public enum FeedForward: String, Sendable, Hashable, Codable {
    /// fc2(f(fc1(x))).
    case mlp
    /// w3(f(first half of w12(x)) · second half): DINOv2's giant, DINOv3's S+, H+ and 7B.
    case swiglu

    /// What the originals have where nothing says it.
    public var usualActivation: Activation { self == .mlp ? .gelu : .silu }
  }

  /// What follows the backbone, if it is in the file.
  public enum Head: Sendable, Hashable {
    case projection(ProjectionHead)
    /// `head.weight` [classes, D] and `head.bias` on the class token: output `logits`.
    case classifier(classes: Int)
    /// `probe.weight` and `probe.bias` on other features: output `logits`. In our files it is beside the network: `dino.classes` says what it reads, and the head of
    /// `dino.config` is null.
    case probe(Probe)
  }

  /// A linear classifier of other features than the last class token alone.
  public struct Probe: Sendable, Hashable {
    /// What it reads of each of its blocks, after the last norm.
    public enum Tokens: String, Sendable, Hashable, CaseIterable {
      case cls, mean
      case clsAndMean = "cls+mean"
      /// The class token of each block, then the mean of the patch tokens of the last one (DINOv2's linear heads).
      case clsAndLastMean = "cls+last-mean"
    }

    /// One part of its features, D columns: the class token of a block, or the mean of its patch tokens.
    public struct Part: Sendable, Hashable {
      public var block: Int
      public var isMean: Bool
      public init(block: Int, isMean: Bool) {
        self.block = block
        self.isMean = isMean
      }
    }

    public var classes: Int
    public var tokens: Tokens
    /// The last so many blocks.
    public var layers: Int
    public init(classes: Int, tokens: Tokens, layers: Int = 1) {
      self.classes = classes
      self.tokens = tokens
      self.layers = layers
    }

    /// Its features of a network of so many blocks, in the order of the weight's columns.
    public func parts(depth: Int) -> [Part] {
      (depth - layers..<depth).flatMap { block -> [Part] in
        let cls = Part(block: block, isMean: false), mean = Part(block: block, isMean: true)
        return switch tokens {
        case .cls: [cls]
        case .mean: [mean]
        case .clsAndMean: [cls, mean]
        case .clsAndLastMean: block == depth - 1 ? [cls, mean] : [cls]
        }
      }
    }
  }

  /// The head that DINO trains with (`DINOHead` of facebookresearch/dino).
  public struct ProjectionHead: Sendable, Hashable {
    /// Linear layers before the normalisation. One alone has no activation.
    public var layers: Int
    public var hiddenDim: Int
    public var bottleneckDim: Int
    public var outDim: Int
    /// Batch normalisation after each linear layer but the last.
    public var batchNorm: Bool
    public init(layers: Int = 3, hiddenDim: Int = 2048, bottleneckDim: Int = 256, outDim: Int = 65536, batchNorm: Bool = false) {
      self.layers = layers
      self.hiddenDim = hiddenDim
      self.bottleneckDim = bottleneckDim
      self.outDim = outDim
      self.batchNorm = batchNorm
    }
  }

  /// The only family so far; its name in files.
  public static let family = "dino_vit"

  public var patchSize: Int
  public var inChannels: Int
  /// D.
  public var embedDim: Int
  public var depth: Int
  public var numHeads: Int
  /// Width of the feed-forward part, a gated one's behind its gate, over `embedDim`.
  public var mlpRatio: Double
  public var qkvBias: Bool
  public var feedForward: FeedForward
  /// Learned tokens between the class token and the patches, without positions (DINOv2 with registers).
  public var registerTokens: Int
  public var layerScale: Bool
  public var normEpsilon: Double
  public var activation: Activation
  /// The grid that `pos_embed` was learned on.
  public var nativeRows: Int
  public var nativeColumns: Int
  public var positionResize: PositionResize
  /// Rotary positions on queries and keys in place of `pos_embed` (DINOv3), with periods from 1 up to this; nil for learned ones. They are of no grid: the native one is
  /// then that of the images that nothing says the size of.
  public var rotaryBase: Double?
  public var head: Head?

  public init(patchSize: Int, inChannels: Int = 3, embedDim: Int, depth: Int, numHeads: Int, mlpRatio: Double = 4, qkvBias: Bool = true,
              feedForward: FeedForward = .mlp, registerTokens: Int = 0, layerScale: Bool = false, normEpsilon: Double = 1e-6,
              activation: Activation = .gelu, nativeRows: Int, nativeColumns: Int, positionResize: PositionResize = .officialOffset,
              rotaryBase: Double? = nil, head: Head? = nil) {
    self.patchSize = patchSize
    self.inChannels = inChannels
    self.embedDim = embedDim
    self.depth = depth
    self.numHeads = numHeads
    self.mlpRatio = mlpRatio
    self.qkvBias = qkvBias
    self.feedForward = feedForward
    self.registerTokens = registerTokens
    self.layerScale = layerScale
    self.normEpsilon = normEpsilon
    self.activation = activation
    self.nativeRows = nativeRows
    self.nativeColumns = nativeColumns
    self.positionResize = positionResize
    self.rotaryBase = rotaryBase
    self.head = head
  }

  /// Width of the feed-forward part. The small addition keeps ratios that are quotients (2048/768) on their integer, where plain truncation,
  /// which the original code does, would lose one.
  public var mlpHiddenDim: Int { Int(Double(embedDim) * mlpRatio + 1e-6) }

  /// The two layers of a block's feed-forward part, and the rows of the first.
  public var feedForwardLayers: (first: String, rows: Int, second: String) {
    switch feedForward {
    case .mlp: ("mlp.fc1", mlpHiddenDim, "mlp.fc2")
    case .swiglu: ("mlp.w12", 2 * mlpHiddenDim, "mlp.w3")
    }
  }

  /// The configuration with rotary positions, and the grid and resize that follow from it.
  public func rotary(base: Double) -> ViTConfig {
    var config = self
    config.rotaryBase = base
    config.nativeRows = max(1, Registry.nativeImageSize / max(1, patchSize))
    config.nativeColumns = config.nativeRows
    config.positionResize = .officialOffset
    return config
  }

  /// What the original code has as epsilon of norms: DINOv3 has another than those before it.
  public static func officialEpsilon(isRotary: Bool) -> Double { isRotary ? 1e-5 : 1e-6 }
  /// The base of DINOv3's periods.
  public static let officialRotaryBase = 100.0

  /// Tokens before the patches: the class token, then registers.
  public var specialTokens: Int { 1 + registerTokens }
}

extension PositionResize {
  /// The rule of the original code for a network with so many registers.
  public static func official(registerTokens: Int) -> PositionResize { registerTokens > 0 ? .antialiased : .officialOffset }

  /// The rule for a file that states none. DINOv2's network has the same names in timm's files, which resize otherwise, and leave out what only training has.
  /// - Parameter isOfTraining: whether the file has the mask token, or is a checkpoint of a training.
  public static func assumed(registerTokens: Int, layerScale: Bool, isOfTraining: Bool) -> PositionResize {
    layerScale && !isOfTraining ? .antialiased : .official(registerTokens: registerTokens)
  }
}
