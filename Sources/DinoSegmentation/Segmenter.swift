// One photograph, one method, its masks: the choice among the methods and their settings. The arithmetic is in Methods.

public import Dino

public struct Segmenter: Sendable {
  /// Methods that look at one photograph at a time. (`CoSegmentation` looks at many.)
  public enum Method: String, Sendable, CaseIterable {
    case attention, lost, tokencut, maskcut, spectral, pca
    /// The checkpoint's own segmentation head.
    case head
  }

  public struct Settings: Sendable {
    /// attention: share of a head's mass that the mask holds, and the head.
    public var mass = 0.6
    public var head = HeadChoice.best
    /// attention, spectral: only the strongest, or largest, connected part.
    public var onlyOnePart = true
    /// tokencut, maskcut: cosine above which patches are alike; nil for the paper's.
    public var tau: Double?
    /// maskcut: most masks.
    public var rounds = 3
    /// 0 for the cores that this process may use.
    public var threads = 0
    public init() {}
  }

  /// What was found.
  public struct Found: Sendable {
    /// Masks on the patch grid: one, but for maskcut, where empty ones are left out, and for a segmentation head, which gives one a class.
    public var masks: [PatchMask]
    /// What the mask was cut from: attention, correlation, an eigenvector, a component. Nil for maskcut.
    public var map: PatchMap?
    /// attention: the head; nil for the mean of all.
    public var head: Int?
    /// head: what the classes of the masks are called.
    public var labels: [UInt8]?
    /// pca: red, green and blue of each patch.
    public var colours: [UInt8]?
    /// Whether the eigenvector met its tolerance.
    public var converged = true

    public init(masks: [PatchMask], map: PatchMap? = nil, head: Int? = nil) {
      self.masks = masks
      self.map = map
      self.head = head
    }
  }

  public let model: DinoModel
  public let method: Method
  public var settings: Settings

  public init(_ model: DinoModel, method: Method, settings: Settings = Settings()) {
    self.model = model
    self.method = method
    self.settings = settings
  }

  /// What a method needs of the network.
  public enum Reading: Sendable {
    case attention(AttentionMaps)
    case features(PatchFeatures)
  }

  public func callAsFunction(_ image: PreparedImage) throws(DinoError) -> Found { try find(read(image)) }

  /// Runs the network.
  public func read(_ image: PreparedImage) throws(DinoError) -> Reading {
    switch method {
    case .attention: .attention(try model.attention(image))
    case .pca, .head: .features(try model.patchFeatures(image, .tokens))
    case .lost, .tokencut, .maskcut, .spectral: .features(try model.patchFeatures(image, .keys))
    }
  }

  /// Finds the object in what `read` gave.
  public func find(_ reading: Reading) throws(DinoError) -> Found {
    let threads = settings.threads
    let features: PatchFeatures
    switch reading {
    case .attention(let maps):
      let (map, head) = try settings.head.map(of: maps, mass: settings.mass)
      let mask = map.mask(holding: settings.mass)
      return Found(masks: [settings.onlyOnePart ? mask.strongestComponent(of: map) : mask], map: map, head: head)
    case .features(let read): features = read
    }
    switch method {
    case .attention: throw DinoError(.bug, "features are not attention")
    case .lost:
      let result = LOST.object(features, threads: threads)
      return Found(masks: [result.mask], map: result.correlation)
    case .tokencut:
      let result = TokenCut.object(features, tau: Float(settings.tau ?? 0.2), threads: threads)
      var found = Found(masks: [result.mask], map: result.eigenvector)
      found.converged = result.converged
      return found
    case .maskcut:
      return Found(masks: MaskCut.objects(features, rounds: settings.rounds, tau: Float(settings.tau ?? 0.15), threads: threads))
    case .spectral:
      let result = try DeepSpectral.object(features, threads: threads)
      var found = Found(masks: [settings.onlyOnePart ? result.mask.largestComponent() : result.mask], map: result.eigenvector)
      found.converged = result.converged
      return found
    case .head:
      guard let head = try model.checkpoint.segmentationHead() else {
        throw DinoError(.data, "\(model.checkpoint.path) has no segmentation head", hint: "dinoctl finetune --task segmentation makes one")
      }
      var found = Found(masks: HeadSegmentation.masks(features, head))
      found.labels = head.labels.filter { $0 != 0 }
      return found
    case .pca:
      let result = PrincipalComponents.object(features)
      var found = Found(masks: [result.mask], map: result.first)
      found.colours = result.colours
      return found
    }
  }
}
