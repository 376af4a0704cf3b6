// config.json and preprocessor_config.json of a Hugging Face folder, as far as a vision transformer (model_type "vit", or one of timm) needs them. Other
// model types are refused here by name. Of timm's `pretrained_cfg` nothing is read.

internal import DinoGraph
internal import DinoModels
internal import Safetensors

/// What config.json of transformers' ViT, or of timm's, says that tensors do not.
struct HuggingFaceConfig {
  let heads: Int?
  let normEpsilon: Double
  let activation: Activation
  /// Rows and columns of the native grid.
  let grid: (rows: Int, columns: Int)?
  /// How the library whose folder this is resizes positions.
  let resize: PositionResize

  init(_ json: JSONValue, path: String) throws(DinoError) {
    let file = "\(path)/config.json"
    guard case .object = json else { throw DinoError(.data, "\(file): must be a JSON object") }
    for key in ["model_type", "hidden_act"] {
      if let value = json[key], value != .null, value.stringValue == nil { throw DinoError(.data, "\(file): \(key) must be a string") }
    }
    if json["model_type"] == nil, let name = json["architecture"]?.stringValue {
      guard Self.isPlainTimm(name) else {
        throw DinoError(.unavailable, "\(file): timm's architecture '\(name)' is not read by this version; plain ones like vit_small_patch16_224 are")
      }
      // timm names only what differs from the architecture: often nothing, and then width and depth tell the heads.
      heads = json["model_args"]?["num_heads"]?.integerValue
      activation = try Self.timmActivation(json["model_args"], file: file)
      (normEpsilon, grid, resize) = (1e-6, nil, .antialiased)
      return
    }
    resize = .sized
    let type = json["model_type"]?.stringValue ?? "vit"
    guard type == "vit" else {
      throw DinoError(.unavailable, "\(file): models of type '\(type)' are not read by this version; 'vit' is", hint: "DINO checkpoints of the hub are of type vit")
    }
    heads = json["num_attention_heads"]?.integerValue
    normEpsilon = json["layer_norm_eps"]?.doubleValue ?? 1e-12
    guard normEpsilon > 0, normEpsilon < 1 else { throw DinoError(.data, "\(file): layer_norm_eps must be between 0 and 1") }
    switch json["hidden_act"]?.stringValue ?? "gelu" {
    case "gelu": activation = .gelu
    case "gelu_new", "gelu_pytorch_tanh": activation = .geluTanh
    case "relu": activation = .relu
    case "silu", "swish": activation = .silu
    case let other: throw DinoError(.unavailable, "\(file): the activation '\(other)' is not known")
    }
    guard let patch = json["patch_size"]?.integerValue, patch > 0, let size = Self.pair(json["image_size"]) else {
      grid = nil
      return
    }
    grid = (size.0 / patch, size.1 / patch)
  }

  /// Sizes that config.json states must be those of the tensors: a folder whose parts contradict each other is of two models.
  static func check(_ json: JSONValue, against shapes: ViTInference, path: String) throws(DinoError) {
    let sizes = [("hidden_size", shapes.embedDim), ("num_hidden_layers", shapes.depth), ("patch_size", shapes.patchSize), ("num_channels", shapes.inChannels)]
    for (key, found) in sizes {
      guard let stated = json[key], stated != .null else { continue }
      guard let pair = pair(stated), pair == (found, found) else {
        throw DinoError(.data, "\(path)/config.json: \(key) is \(String(stated.text.prefix(40))), but the tensors say \(found)")
      }
    }
  }

  /// The activation among timm's model_args. Of the others only those are taken that tensors say too, or that change nothing where nothing is trained.
  private static func timmActivation(_ arguments: JSONValue?, file: String) throws(DinoError) -> Activation {
    let harmless: Set = ["img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias", "init_values", "global_pool", "dynamic_img_size", "dynamic_img_pad",
                         "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "drop_path_rate", "weight_init", "act_layer"]
    if let strange = arguments?.objectValue?.map(\.key).first(where: { !harmless.contains($0) }) {
      throw DinoError(.unavailable, "\(file): timm's model argument '\(strange)' is not read by this version")
    }
    switch arguments?["act_layer"]?.stringValue ?? "gelu" {
    case "gelu": return .gelu
    case "gelu_tanh": return .geluTanh
    case "relu": return .relu
    case "silu", "swish": return .silu
    case let other: throw DinoError(.unavailable, "\(file): the activation '\(other)' is not known")
    }
  }

  /// Names of the classes in their order; empty where there are none but the numbers that transformers makes up.
  static func labels(_ json: JSONValue, count: Int) -> [String] {
    let names = (0..<count).map { json["id2label"]?["\($0)"]?.stringValue }
    guard !names.contains(nil), names.indices.contains(where: { names[$0] != "LABEL_\($0)" }) else { return [] }
    return names.compactMap { $0 }
  }

  /// vit_SIZE_patchP_S, with any tag: the others (clip, reg4, rope, …) have more than the original's layers, or other ones.
  private static func isPlainTimm(_ name: String) -> Bool {
    let parts = name.prefix { $0 != "." }.split(separator: "_", omittingEmptySubsequences: false)
    return parts.count == 4 && parts[0] == "vit" && parts[2].hasPrefix("patch") && Int(parts[2].dropFirst(5)) != nil && Int(parts[3]) != nil
  }

  private static func pair(_ value: JSONValue?) -> (Int, Int)? {
    if let side = value?.integerValue { return (side, side) }
    if let list = value?.arrayValue, list.count == 2, let h = list[0].integerValue, let w = list[1].integerValue { return (h, w) }
    return nil
  }

  /// The preprocessing of preprocessor_config.json; nil where there is none or it cannot be told from it.
  static func preprocessing(_ json: JSONValue) -> Preprocessing? {
    guard let mean = numbers(json["image_mean"]), let std = numbers(json["image_std"]) else { return nil }
    var result = Preprocessing(resize: nil, interpolation: .bilinear, crop: nil, mean: mean, std: std)
    if json["do_normalize"]?.boolValue == false { (result.mean, result.std) = ([0, 0, 0], [1, 1, 1]) }
    if json["do_resize"]?.boolValue != false {
      if let edge = json["size"]?["shortest_edge"]?.integerValue {
        result.resize = .shorterSide(edge)
      } else if let h = json["size"]?["height"]?.integerValue, let w = json["size"]?["width"]?.integerValue {
        result.resize = .exact(height: h, width: w)
      } else if let side = json["size"]?.integerValue {
        result.resize = .exact(height: side, width: side)
      }
    }
    // Numbers of PIL.Image.Resampling.
    let filters: [Int: Preprocessing.Interpolation] = [0: .nearest, 1: .lanczos, 2: .bilinear, 3: .bicubic]
    if let number = json["resample"]?.integerValue, let filter = filters[number] { result.interpolation = filter }
    if json["do_center_crop"]?.boolValue == true {
      result.crop = json["crop_size"]?.integerValue ?? json["crop_size"]?["height"]?.integerValue
    }
    do { try result.validate() } catch { return nil }
    return result
  }

  private static func numbers(_ value: JSONValue?) -> [Double]? {
    guard let list = value?.arrayValue, list.count == 3 else { return nil }
    let numbers = list.compactMap(\.doubleValue)
    return numbers.count == 3 ? numbers : nil
  }
}
