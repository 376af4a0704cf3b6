// A model as a folder for transformers: config.json, model.safetensors under its names, preprocessor_config.json. What the type of network there has otherwise than this one is
// refused, or said by `changesInFolder`; nothing is run.

internal import CheckpointNames
internal import DinoGraph
internal import DinoModels
internal import DinoTensor
internal import Safetensors
#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

/// A type of network of transformers, by its name in config.json.
private enum TransformersType: String {
  case vit, dinov2
  case dinov2WithRegisters = "dinov2_with_registers"
  case dinov3 = "dinov3_vit"

  /// The one that has what a network has.
  init(_ config: ViTConfig) { self = config.rotaryBase != nil ? .dinov3 : config.registerTokens > 0 ? .dinov2WithRegisters : config.layerScale ? .dinov2 : .vit }

  /// What the names of its classes begin with.
  var className: String {
    switch self {
    case .vit: "ViT"
    case .dinov2: "Dinov2"
    case .dinov2WithRegisters: "Dinov2WithRegisters"
    case .dinov3: "DINOv3ViT"
    }
  }

  var isDinov2: Bool { self == .dinov2 || self == .dinov2WithRegisters }

  func names(isGated: Bool, withKeyBias: Bool) -> NameTable {
    switch (self, isGated) {
    case (.vit, _): .transformersViT
    case (.dinov2, _), (.dinov2WithRegisters, _): .transformersDinov2
    case (.dinov3, true): withKeyBias ? .transformersDinov3GatedKeyBias : .transformersDinov3Gated
    case (.dinov3, false): withKeyBias ? .transformersDinov3KeyBias : .transformersDinov3
    }
  }

  /// What DINOv2's types say the width of the feed-forward part by, which is that of a plain part: a gated one has two thirds of it, rounded up to a multiple of 8. Nil where
  /// no whole number gives this one.
  static func mlpRatio(_ config: ViTConfig) -> Int? {
    let d = config.embedDim, hidden = config.mlpHiddenDim
    guard config.feedForward == .swiglu else { return hidden % d == 0 ? hidden / d : nil }
    return (1...64).first { (d * $0 * 2 / 3 + 7) / 8 * 8 == hidden }
  }

  /// Axes of one before the columns of its mask token.
  var axesOfMaskToken: [Int] { self == .dinov3 ? [1, 1] : [1] }
}

extension ModelWriter {
  /// - Throws: where transformers has no network of this form.
  func checkFolder() throws(DinoError) {
    let type = TransformersType(config)
    func other(_ theirs: String, _ own: String) -> DinoError {
      DinoError(.unavailable, "transformers' type '\(type.rawValue)' has \(theirs); this model has \(own)", hint: "the layouts dino and timm, and .pth, hold it")
    }
    let isGated = config.feedForward == .swiglu
    if type == .vit, isGated { throw other("plain MLPs", "gated ones") }
    if type != .vit, !config.layerScale { throw other("layer scale", "none") }
    guard type.isDinov2 else { return }
    if isGated, config.activation != .silu { throw other("gates of silu", "gates of \(config.activation.rawValue)") }
    if TransformersType.mlpRatio(config) == nil {
      throw other("MLPs a whole number of times as wide as its tokens\(isGated ? ", gates two thirds of that" : "")", "\(config.mlpHiddenDim) columns over \(config.embedDim)")
    }
    if config.nativeRows != config.nativeColumns { throw other("a square grid of positions", "\(config.nativeRows)x\(config.nativeColumns)") }
  }

  /// What is otherwise in the folder than in this model, a sentence each.
  var changesInFolder: [String] {
    var notes: [String] = []
    let type = TransformersType(config)
    if let base = config.rotaryBase {
      if !hasPeriods(ofBase: base) { notes.append("the folder has no place for the periods of rotary positions: transformers computes those of base \(base)") }
    } else if HuggingFaceConfig.resizes[type.rawValue] != config.positionResize {
      let size = "\(config.nativeRows * config.patchSize)x\(config.nativeColumns * config.patchSize)"
      notes.append("transformers resizes positions for images that are not \(size) by a rule of its own, and not as this model does: there its features differ a little")
    }
    if type != .vit, maskToken == nil { notes.append("the token of masked patches, which only training uses, is not known: embeddings.mask_token is zeros") }
    if type.isDinov2 {
      switch config.head {
      case .classifier?: notes.append("transformers' classifier reads the mean of the patches beside the class token, and this one does not: those columns are zeros")
      case .probe(let probe)? where probe.tokens == .mean && probe.layers == 1: notes.append("transformers' classifier reads the class token beside the mean of the patches, and this one does not: those columns are zeros")
      default: break
      }
    }
    return notes
  }

  /// The classifier as transformers' class for this type has it; nil where it has none that reads the same. DINOv2's reads the class token, then the mean of the patches.
  var folderClassifier: (weight: Tensor, bias: Tensor)? {
    let type = TransformersType(config)
    func stored(_ prefix: String) -> (weight: Tensor, bias: Tensor)? {
      guard let weight = weights["\(prefix).weight"], let bias = weights["\(prefix).bias"] else { return nil }
      return (weight, bias)
    }
    switch config.head {
    case .classifier? where type == .vit: return stored("head")
    case .classifier? where type.isDinov2: return stored("head").map { (Self.widened($0.weight, isFirst: true), $0.bias) }
    case .probe(let probe)? where type.isDinov2 && probe.layers == 1:
      switch probe.tokens {
      case .clsAndMean, .clsAndLastMean: return stored("probe")
      case .cls, .mean: return stored("probe").map { (Self.widened($0.weight, isFirst: probe.tokens == .cls), $0.bias) }
      }
    default: return nil
    }
  }

  /// A weight beside as many columns of zeros.
  private static func widened(_ weight: Tensor, isFirst: Bool) -> Tensor {
    let values = weight.floats(), width = weight.shape[1], zeros = [Float](repeating: 0, count: width)
    var all: [Float] = []
    for start in stride(from: 0, to: values.count, by: width) {
      if !isFirst { all += zeros }
      all += values[start..<start + width]
      if isFirst { all += zeros }
    }
    let wide = Tensor(all, shape: [weight.shape[0], 2 * width])
    return (try? wide.converted(to: weight.dtype)) ?? wide
  }

  func writeFolder(_ tensors: [(name: String, tensor: Tensor)], to path: String) throws {
    try checkPlace(layout: .huggingFace)
    let type = TransformersType(config), classifier = folderClassifier, hasKeyBias = type == .dinov3 && weights.keys.contains(where: hasKeyBias)
    var network: [(name: String, tensor: Tensor)] = []
    for (name, tensor) in tensors where !name.hasPrefix("head.") && name != Self.periods {
      guard let targets = type.names(isGated: config.feedForward == .swiglu, withKeyBias: hasKeyBias).sources(of: name) else { throw DinoError(.bug, "no transformers name for '\(name)'") }
      network += Self.parts(of: targets.count > 1 ? narrowed(tensor) : tensor, name, named: targets)
    }
    if type != .vit { network.append(("embeddings.mask_token", (try maskToken ?? noMaskToken.converted(to: elementType)).reshaped(Shape(type.axesOfMaskToken + [config.embedDim])))) }
    // A tensor without rows is there all the same.
    if type == .dinov3, config.registerTokens == 0 { network.append(("embeddings.register_tokens", try Tensor([Float](), shape: [1, 0, config.embedDim]).converted(to: elementType))) }
    if let classifier {
      // The network stands beside its classifier, under the name of its type.
      network = network.map { ("\(type.rawValue).\($0.name)", $0.tensor) } + [("classifier.weight", classifier.weight), ("classifier.bias", classifier.bias)]
    }
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    try SafetensorsWriter.write(network, metadata: ["format": "pt"], to: "\(path)/model.safetensors")
    try writeWhole(preprocessorJSON().text + "\n", to: "\(path)/preprocessor_config.json")
    try writeWhole(configJSON(type, classes: classifier?.weight.shape[0], hasKeyBias: hasKeyBias).text + "\n", to: "\(path)/config.json")
  }

  /// The type of most elements.
  private var elementType: DType { weights["cls_token"]?.dtype ?? .f32 }

  /// Queries, keys and values were joined in F32: where the numbers are all of the type that the others have, in that.
  private func narrowed(_ tensor: Tensor) -> Tensor {
    guard tensor.dtype == .f32, let type = weights["patch_embed.proj.weight"]?.dtype, type == .f16 || type == .bf16, let narrow = try? tensor.converted(to: type), narrow.floats() == tensor.floats() else { return tensor }
    return narrow
  }

  private func configJSON(_ type: TransformersType, classes: Int?, hasKeyBias: Bool) -> JSONValue {
    let activations: [Activation: String] = [.gelu: "gelu", .geluTanh: "gelu_pytorch_tanh", .relu: "relu", .silu: "silu"]
    let types: [DType: String] = [.f16: "float16", .bf16: "bfloat16", .f64: "float64"]
    var members: [JSONValue.Member] = [
      .init("architectures", .array([.string(type.className + (classes == nil ? "Model" : "ForImageClassification"))])), .init("model_type", .string(type.rawValue)),
      .init("hidden_size", .integer(config.embedDim)), .init("num_hidden_layers", .integer(config.depth)), .init("num_attention_heads", .integer(config.numHeads)),
    ]
    if type.isDinov2 {
      members += [.init("mlp_ratio", .integer(TransformersType.mlpRatio(config) ?? 0)), .init("use_swiglu_ffn", .bool(config.feedForward == .swiglu))]
    } else {
      members.append(.init("intermediate_size", .integer(config.mlpHiddenDim)))
    }
    members += [
      .init("hidden_act", .string(activations[config.activation] ?? "gelu")), .init("layer_norm_eps", .number(config.normEpsilon)),
      .init("image_size", .array([.integer(config.nativeRows * config.patchSize), .integer(config.nativeColumns * config.patchSize)])),
      .init("patch_size", .integer(config.patchSize)), .init("num_channels", .integer(config.inChannels)),
    ]
    if type == .dinov2WithRegisters || type == .dinov3 { members.append(.init("num_register_tokens", .integer(config.registerTokens))) }
    if let base = config.rotaryBase {
      members += [
        .init("rope_theta", .number(base)), .init("query_bias", .bool(config.qkvBias)), .init("key_bias", .bool(hasKeyBias)), .init("value_bias", .bool(config.qkvBias)),
        .init("proj_bias", .bool(true)), .init("mlp_bias", .bool(true)), .init("use_gated_mlp", .bool(config.feedForward == .swiglu)),
      ]
    } else {
      members.append(.init("qkv_bias", .bool(config.qkvBias)))
    }
    members.append(.init("torch_dtype", .string(types[elementType] ?? "float32")))
    guard let classes else { return .object(members) }
    // transformers has no number of classes, only their labels.
    let isNamed = classNames.count == classes && Set(classNames).count == classNames.count
    let labels = isNamed ? classNames : (0..<classes).map { "LABEL_\($0)" }
    return .object(members + [
      .init("id2label", .object(labels.enumerated().map { .init(String($0.offset), .string($0.element)) })),
      .init("label2id", .object(labels.enumerated().map { .init($0.element, .integer($0.offset)) })),
    ])
  }

  private func preprocessorJSON() -> JSONValue {
    let filters: [Preprocessing.Interpolation: Int] = [.nearest: 0, .lanczos: 1, .bilinear: 2, .bicubic: 3]
    let size: JSONValue =
      switch preprocessing.resize {
      case .exact(let h, let w)?: .object([.init("height", .integer(h)), .init("width", .integer(w))])
      case .shorterSide(let s)?: .object([.init("shortest_edge", .integer(s))])
      case nil: .null
      }
    return .object([
      .init("do_resize", .bool(preprocessing.resize != nil)), .init("size", size), .init("resample", .integer(filters[preprocessing.interpolation] ?? 3)),
      .init("do_center_crop", .bool(preprocessing.crop != nil)), .init("crop_size", preprocessing.crop.map { .integer($0) } ?? .null), .init("do_normalize", .bool(true)),
      .init("image_mean", .array(preprocessing.mean.map { .number($0) })), .init("image_std", .array(preprocessing.std.map { .number($0) })),
      // Not ViTImageProcessor: before transformers 5 it knows neither a shorter side nor a crop.
      .init("image_processor_type", .string("BitImageProcessor")),
    ])
  }
}
