// config.json of a Hugging Face folder, as far as a vision transformer (one of `resizes`, or of timm) needs it. Other model types are refused here by
// name. What folders say about preprocessing is `StatedPreprocessing`'s.

internal import DinoGraph
internal import DinoModels
internal import Safetensors

/// What config.json of transformers' ViT, or of timm's, says that tensors do not.
struct HuggingFaceConfig {
  let heads: Int?
  /// What config.json calls them.
  let headsKey: String
  let normEpsilon: Double
  private let activation: Activation
  private let gate: Activation
  /// Rows and columns of the native grid; of timm's, where they are stated for images of some size.
  let grid: Grid?
  /// How the library whose folder this is resizes positions.
  let resize: PositionResize
  /// Of rotary positions, where it is said.
  let rotaryBase: Double?
  /// What timm calls the tokens that a classifier reads ("token", "avg"); nil of transformers', whose classes decide it.
  let pooling: String?

  struct Grid {
    var rows: Int
    var columns: Int
    /// Number of patches; nil where no machine has so many.
    var count: Int? {
      let (product, overflow) = rows.multipliedReportingOverflow(by: columns)
      return overflow ? nil : product
    }
  }

  init(_ json: JSONValue, path: String) throws(DinoError) {
    let file = "\(path)/config.json"
    guard case .object = json else { throw DinoError(.data, "\(file): must be a JSON object") }
    for key in ["model_type", "hidden_act"] {
      if let value = json[key], value != .null, value.stringValue == nil { throw DinoError(.data, "\(file): \(key) must be a string") }
    }
    if json["model_type"] == nil, let name = json["architecture"]?.stringValue {
      guard Self.isPlainTimm(name) else {
        throw DinoError(.unavailable, "\(file): timm's architecture '\(name)' is not read by this version; plain ones like vit_small_patch16_224, and those of DeiT III, DINOv2 and DINOv3, are")
      }
      // timm names only what differs from the architecture: often nothing.
      headsKey = "num_heads"
      heads = try Self.heads(json["model_args"]?["num_heads"], key: headsKey, file: file) ?? Self.timmHeads(name)
      let isRotary = name.contains("_dinov3"), stated = try Self.timmActivation(json["model_args"], file: file)
      // DINOv3's gates do not ask for it.
      (activation, gate) = (stated ?? .gelu, isRotary ? .silu : stated ?? .silu)
      (normEpsilon, grid, resize) = (ViTConfig.officialEpsilon(isRotary: isRotary), Self.timmGrid(json, name), .antialiased)
      rotaryBase = isRotary ? ViTConfig.officialRotaryBase : nil
      // timm's Eva, which its DINOv3 is, has the mean of the patches where nothing is said.
      pooling = (json["model_args"]?["global_pool"] ?? json["global_pool"])?.stringValue ?? (isRotary ? "avg" : "token")
      return
    }
    pooling = nil
    let type = json["model_type"]?.stringValue ?? "vit"
    guard let resize = Self.resizes[type] else {
      throw DinoError(.unavailable, "\(file): models of type '\(type)' are not read by this version; \(Self.resizes.keys.sorted().map { "'\($0)'" }.joined(separator: ", ")) are",
                      hint: "DINO checkpoints of the hub are of type vit")
    }
    for key in ["mlp_bias", "proj_bias"] where json[key]?.boolValue == false {
      throw DinoError(.unavailable, "\(file): \(key) is false, and layers without a bias other than those of queries, keys and values are not read by this version")
    }
    self.resize = resize
    headsKey = "num_attention_heads"
    let stated = try Self.heads(json[headsKey], key: headsKey, file: file)
    // What transformers' configurations have where a file says nothing.
    let isRotary = type == "dinov3_vit", assumed: Int? = json["model_type"] == nil ? nil : isRotary ? 6 : 12
    heads = stated ?? assumed
    normEpsilon = json["layer_norm_eps"]?.doubleValue ?? (type == "vit" ? 1e-12 : ViTConfig.officialEpsilon(isRotary: isRotary))
    guard normEpsilon > 0, normEpsilon < 1 else { throw DinoError(.data, "\(file): layer_norm_eps must be between 0 and 1") }
    switch json["hidden_act"]?.stringValue ?? "gelu" {
    case "gelu": activation = .gelu
    case "gelu_new", "gelu_pytorch_tanh": activation = .geluTanh
    case "relu": activation = .relu
    case "silu", "swish": activation = .silu
    case let other: throw DinoError(.unavailable, "\(file): the activation '\(other)' is not known")
    }
    // DINOv2's gates are silu whatever hidden_act is.
    gate = isRotary ? activation : .silu
    let theta = [json["rope_theta"], json["rope_parameters"]?["rope_theta"]].lazy.compactMap { $0 }.first { $0 != .null }
    if isRotary, let theta, theta.doubleValue == nil { throw DinoError(.data, "\(file): rope_theta must be a number, not \(String(theta.text.prefix(40)))") }
    rotaryBase = isRotary ? theta?.doubleValue ?? ViTConfig.officialRotaryBase : nil
    guard !isRotary, let patch = json["patch_size"]?.integerValue, patch > 0, let size = Self.pair(json["image_size"]) else {
      grid = nil
      return
    }
    grid = Grid(rows: size.0 / patch, columns: size.1 / patch)
  }

  /// The grid of so many positions. What timm's files say may be of images that were shown, and not of those that positions were learned on.
  func nativeGrid(of positions: Int?) -> (rows: Int, columns: Int)? {
    guard let grid, pooling == nil || grid.count == positions else { return nil }
    return (grid.rows, grid.columns)
  }

  /// The activation of a feed-forward part, or of its gate.
  func activation(_ feedForward: ViTConfig.FeedForward) -> Activation { feedForward == .mlp ? activation : gate }

  /// Sizes that config.json states must be those of the tensors: a folder whose parts contradict each other is of two models.
  static func check(_ json: JSONValue, against shapes: ViTInference, path: String) throws(DinoError) {
    let sizes = [("hidden_size", shapes.embedDim), ("num_hidden_layers", shapes.depth), ("patch_size", shapes.patchSize), ("num_channels", shapes.inChannels), ("num_register_tokens", shapes.registerTokens)]
    for (key, found) in sizes {
      guard let stated = json[key], stated != .null else { continue }
      guard let pair = pair(stated), pair == (found, found) else {
        throw DinoError(.data, "\(path)/config.json: \(key) is \(String(stated.text.prefix(40))), but the tensors say \(found)")
      }
    }
    let isGated = shapes.feedForward == .swiglu
    for key in ["use_swiglu_ffn", "use_gated_mlp"] {
      guard let stated = json[key], stated != .null, stated.boolValue != isGated else { continue }
      throw DinoError(.data, "\(path)/config.json: \(key) is \(String(stated.text.prefix(40))), but the tensors are those of \(isGated ? "gated" : "plain") MLPs")
    }
  }

  private static func heads(_ value: JSONValue?, key: String, file: String) throws(DinoError) -> Int? {
    guard let value, value != .null else { return nil }
    guard let heads = value.integerValue else { throw DinoError(.data, "\(file): \(key) must be a whole number, not \(String(value.text.prefix(40)))") }
    return heads
  }

  /// The heads of timm's vit_SIZE_…: the largest have wider ones than 64 columns, which width does not tell.
  private static func timmHeads(_ name: String) -> Int? {
    let known: [Substring: Int] = ["tiny": 3, "small": 6, "base": 12, "large": 16, "huge": 16, "giant": 16, "gigantic": 16, "7b": 32]
    let parts = name.prefix { $0 != "." }.split(separator: "_")
    guard parts.count > 2 else { return nil }
    // DINOv3's huge one and DINOv2's giant are others than those of ViT.
    if parts[1] == "huge", parts[2] == "plus" { return 20 }
    return parts[1] == "giant" && parts.last == "dinov2" ? 24 : known[parts[1]]
  }

  /// The activation among timm's model_args. Of the others only those are taken that tensors say too, or that change nothing where nothing is trained.
  private static func timmActivation(_ arguments: JSONValue?, file: String) throws(DinoError) -> Activation? {
    let harmless: Set = ["img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias", "init_values", "global_pool", "no_embed_class", "reg_tokens", "dynamic_img_size", "dynamic_img_pad",
                         "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "weight_init", "act_layer"]
    if let strange = arguments?.objectValue?.map(\.key).first(where: { !harmless.contains($0) }) {
      throw DinoError(.unavailable, "\(file): timm's model argument '\(strange)' is not read by this version")
    }
    switch arguments?["act_layer"]?.stringValue {
    case nil: return nil
    case "gelu": return .gelu
    case "gelu_tanh": return .geluTanh
    case "relu": return .relu
    case "silu", "swish": return .silu
    case let other?: throw DinoError(.unavailable, "\(file): the activation '\(other)' is not known")
    }
  }

  /// Names of the classes in their order; empty where there are none but the numbers that transformers makes up.
  static func labels(_ json: JSONValue, count: Int) -> [String] {
    let names = (0..<count).map { json["id2label"]?["\($0)"]?.stringValue }
    guard !names.contains(nil), names.indices.contains(where: { names[$0] != "LABEL_\($0)" }) else { return [] }
    return names.compactMap { $0 }
  }

  /// How transformers resizes positions, for each model type that is read; DINOv3 has none that are resized.
  static let resizes: [String: PositionResize] = ["vit": .sized, "dinov2": .sized, "dinov2_with_registers": .antialiased, "dinov3_vit": .sized]

  /// Whether it is of a type, or of an architecture of timm's, that is read here.
  static func isRead(_ json: JSONValue) -> Bool {
    if let type = json["model_type"]?.stringValue { return resizes[type] != nil }
    return json["architecture"]?.stringValue.map(isPlainTimm) ?? false
  }

  /// vit_SIZE_patchP_S, DeiT III's deit3_SIZE_patchP_S, DINOv2's vit_SIZE_patchP_dinov2 and vit_SIZE_patchP_regR_dinov2, or DINOv3's vit_SIZE_patchP_dinov3 and vit_SIZE_patchP_dinov3_qkvb, where SIZE may be
  /// small_plus, with any tag: the others (clip, rope, …) have more than the original's layers, or other ones.
  private static func isPlainTimm(_ name: String) -> Bool {
    var parts = name.prefix { $0 != "." }.split(separator: "_", omittingEmptySubsequences: false)
    if parts.count > 4, parts[2] == "plus", parts[4] == "dinov3" { parts.remove(at: 2) }
    if parts.first == "deit3" { return parts.count == 4 && parts[2].hasPrefix("patch") && Int(parts[2].dropFirst(5)) != nil && Int(parts[3]) != nil }
    guard parts.count == 4 || parts.count == 5, parts[0] == "vit", parts[2].hasPrefix("patch"), Int(parts[2].dropFirst(5)) != nil else { return false }
    if parts[3] == "dinov3" { return parts.count == 4 || parts[4] == "qkvb" }
    if parts.count == 5 { return parts[3].hasPrefix("reg") && Int(parts[3].dropFirst(3)) != nil && parts[4] == "dinov2" }
    return parts[3] == "dinov2" || Int(parts[3]) != nil
  }

  /// Patches of the images that timm's config.json states.
  private static func timmGrid(_ json: JSONValue, _ name: String) -> Grid? {
    let named = name.split(whereSeparator: { $0 == "_" || $0 == "." }).first { $0.hasPrefix("patch") }.flatMap { Int($0.dropFirst(5)) }
    let input = json["pretrained_cfg"]?["input_size"]?.arrayValue?.dropFirst().map { $0 }
    guard let patch = json["model_args"]?["patch_size"]?.integerValue ?? named, patch > 0, let size = pair(json["model_args"]?["img_size"]) ?? input.flatMap({ pair(.array($0)) }) else { return nil }
    return Grid(rows: size.0 / patch, columns: size.1 / patch)
  }

  private static func pair(_ value: JSONValue?) -> (Int, Int)? {
    if let side = value?.integerValue { return (side, side) }
    if let list = value?.arrayValue, list.count == 2, let h = list[0].integerValue, let w = list[1].integerValue { return (h, w) }
    return nil
  }
}
