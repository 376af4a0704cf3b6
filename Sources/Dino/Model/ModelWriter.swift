// Writes models: our format with its record and self-test, plain safetensors, a PyTorch file, or a Hugging Face folder (ModelWriter+HuggingFace.swift). Everything is
// checked and run before the first byte is written; each file appears whole or not at all.

public import DinoModels
public import DinoTensor
internal import CheckpointNames
internal import DinoGraph
internal import Safetensors
internal import TorchArchive

/// A model to be written.
public struct ModelWriter: Sendable {
  /// What is written.
  public enum Layout: String, Sendable, CaseIterable {
    /// Our format: safetensors with the record.
    case dino
    /// Plain safetensors with names that timm reads: the official ones, but where there are registers.
    case plain
    /// A folder for transformers: config.json and model.safetensors.
    case huggingFace
    /// A bare state dict for torch.load, with all that the original's network has.
    case torch
  }

  public var config: ViTConfig
  /// By official name, as they will be stored.
  public var weights: [String: Tensor]
  public var preprocessing: Preprocessing
  public var provenance: Provenance
  /// Tensors that the network does not ask for (a segmentation head), and metadata of their own; written in our format only.
  public var extra: [(name: String, tensor: Tensor)] = []
  public var other: [String: String] = [:]
  /// The token of masked patches, [D], which only training uses; nil where it is not known.
  public var maskToken: Tensor?
  /// Names of the classifier's classes, for a layout that has a place of its own for them.
  var classNames: [String] = []

  public init(config: ViTConfig, weights: [String: Tensor], preprocessing: Preprocessing, provenance: Provenance) {
    self.config = config
    self.weights = weights
    self.preprocessing = preprocessing
    self.provenance = provenance
    if case .probe(let probe)? = config.head { other[ClassifierHead.metadataKey] = ClassifierRecord(probe).text }
  }

  /// Changes the element type of all weights.
  public mutating func convert(to dtype: DType) throws(DinoError) {
    // A hundredth of a period is many patches: what is computed keeps its type.
    let computed = Set(config.tensors.filter(\.isComputed).map(\.name))
    do { maskToken = try maskToken?.converted(to: dtype) } catch { throw DinoError(error, path: nil) }
    for (name, tensor) in weights where tensor.dtype != dtype && !computed.contains(name) {
      do {
        let converted = try tensor.converted(to: dtype)
        if dtype == .f16, let lost = zip(tensor.floats(), converted.floats()).first(where: { $0.isFinite && !$1.isFinite })?.0 {
          throw DinoError(.data, "the tensor '\(name)' has the value \(lost), which F16 cannot hold", hint: "--dtype bf16 holds it")
        }
        weights[name] = converted
      } catch { throw DinoError(error, path: nil) }
    }
  }

  /// What a layout has no place for, a sentence each.
  public func losses(_ layout: Layout) -> [String] {
    guard layout != .dino else { return [] }
    var lost = extra.isEmpty ? [] : ["\(extra.map(\.name).sorted().joined(separator: ", ")), kept beside the network,"]
    if case .probe(let probe)? = config.head, layout == .huggingFace ? folderClassifier == nil : !isTimmsClassifier(layout) {
      let blocks = probe.layers > 1 ? " and the last \(probe.layers) blocks" : ""
      lost.append("the classifier of \(probe.classes) classes, of tokens \(probe.tokens.rawValue)\(blocks),")
    }
    if layout == .huggingFace, case .projection? = config.head { lost.append("the projection head") }
    if layout == .huggingFace, case .classifier? = config.head, folderClassifier == nil { lost.append("the classifier") }
    if layout == .huggingFace, preprocessing.channelOrder == .bgr { lost.append("the order of channels, bgr,") }
    if layout != .huggingFace, !classNames.isEmpty { lost.append("the names of the classes") }
    let sentences = lost.map { "the \(layout == .huggingFace ? "folder" : "file") has no place for \($0) and leaves it out" }
    guard layout == .huggingFace else { return sentences + unsaid(layout).map { "the file has no place for \($0)" } }
    let told = sentences + changesInFolder
    guard preprocessing.crop != nil, preprocessing.cropRounding != .floor else { return told }
    return told + ["where a centre crop begins at half a pixel, transformers takes the smaller number, and this model the even one: such crops are a pixel apart"]
  }

  /// What names and shapes do not say of this network, and a reader would take otherwise.
  private func unsaid(_ layout: Layout) -> [String] {
    var result: [String] = []
    let isRotary = config.rotaryBase != nil, isTimm = hasTimmNames(layout)
    let periods = isTimm ? nil : weights[Self.periods]?.count
    let heads = try? HeadCount.resolve(width: config.embedDim, depth: config.depth, periods: periods).heads
    if heads != config.numHeads {
      let other = heads.map { "a reader takes \($0) unless told" } ?? "a reader must be told"
      result.append("the number of attention heads, \(config.numHeads): \(other) (--heads \(config.numHeads))")
    }
    // What `Checkpoint` has where nothing says it.
    let resize = PositionResize.assumed(registerTokens: config.registerTokens, layerScale: config.layerScale, isOfTraining: layout == .torch)
    let known = ViTConfig(patchSize: config.patchSize, embedDim: config.embedDim, depth: config.depth, numHeads: config.numHeads, normEpsilon: ViTConfig.officialEpsilon(isRotary: isRotary),
                          activation: config.feedForward.usualActivation, nativeRows: config.nativeRows, nativeColumns: config.nativeColumns, positionResize: resize)
    if config.normEpsilon != known.normEpsilon { result.append("the epsilon of its norms, \(config.normEpsilon): a reader takes \(known.normEpsilon)") }
    if config.activation != known.activation { result.append("its activation, \(config.activation.rawValue): a reader takes \(known.activation.rawValue)") }
    if !isRotary, config.nativeRows != config.nativeColumns { result.append("the grid of its positions, \(config.nativeRows)x\(config.nativeColumns): a reader takes a square, or none") }
    if !isRotary, config.positionResize != known.positionResize {
      let other = known.positionResize == .official(registerTokens: config.registerTokens) ? "the original" : "timm"
      result.append("how its positions are resized to other grids: a reader does it as \(other) does")
    }
    if isRotary, isTimm, case .classifier? = config.head { result.append("what its classifier reads, the class token: a reader takes the mean of the patches (timm: unless global_pool is 'token')") }
    if isRotary, isTimm, !hasComputedPeriods { result.append("the periods of its rotary positions: a reader computes those of base \(ViTConfig.officialRotaryBase)") }
    if preprocessing != .imageNet, let json = try? preprocessing.json() {
      result.append("its preprocessing: a reader takes the official evaluation's unless told (--preprocessing FILE.json with \(json))")
    }
    return result
  }

  /// - Throws: where the layout is of another network.
  public func checkPlace(layout: Layout) throws(DinoError) {
    if hasTimmNames(layout), config.rotaryBase != nil, let name = weights.keys.sorted().first(where: hasKeyBias) {
      throw DinoError(.unavailable, "timm's DINOv3 has no bias of keys, and '\(name)' has one", hint: "the layout dino, and .pth, hold it")
    }
    if layout == .huggingFace { try checkFolder() }
  }

  /// Whether a tensor is beside the network: of our format alone.
  static func isBeside(_ name: String) -> Bool { name.hasPrefix("probe.") }

  /// Writes the model to `path`.
  public func write(_ layout: Layout, to path: String) throws(DinoError) {
    let all = config.tensors.compactMap { spec in weights[spec.name].map { (name: spec.name, tensor: $0) } }, tensors = all.filter { !Self.isBeside($0.name) }
    do {
      switch layout {
      case .dino: try SafetensorsWriter.write(all + extra + (maskToken == nil ? [] : trainingTokens), metadata: record().metadata(), to: path)
      case .plain where !hasTimmNames(.plain): try SafetensorsWriter.write(official(tensors), metadata: ["format": "pt"], to: path)
      case .plain:
        try checkPlace(layout: layout)
        try SafetensorsWriter.write(config.rotaryBase == nil ? Self.timmRegisters(tensors) : timmRotary(isTimmsClassifier(layout) ? all : tensors), metadata: ["format": "pt"], to: path)
      case .torch: try TorchArchiveWriter.write(official(tensors) + trainingTokens, to: path)
      case .huggingFace: try writeFolder(tensors, to: path)
      }
    } catch { throw DinoError(error, path: path) }
  }

  /// Runs the model as `write` in our format does, and writes nothing.
  /// - Throws: where its values are not finite.
  public func check() throws(DinoError) { _ = try record() }

  private func record() throws(DinoError) -> ModelRecord {
    ModelRecord(config: config, preprocessing: preprocessing, provenance: provenance, selfTests: try SelfTest.entries(config: config, weights: weights), other: other)
  }

  /// As the original's network is loaded: DINOv3 has a name of its own for registers, a mask beside each bias of queries, keys and values, and a gate apart from what it opens.
  private func official(_ tensors: [(name: String, tensor: Tensor)]) -> [(name: String, tensor: Tensor)] {
    guard config.rotaryBase != nil else { return tensors }
    return tensors.flatMap { name, tensor in
      if name == "register_tokens" { return [("storage_tokens", tensor)] }
      if name.contains(".mlp.w12.") { return [1, 2].map { (name.replacing(".w12.", with: ".w\($0)."), Self.part($0 - 1, of: 2, tensor)) } }
      guard name.hasSuffix(".attn.qkv.bias") else { return [(name, tensor)] }
      // All ones where the keys have a bias after all.
      let width = config.embedDim, isMasked = tensor.floats()[width..<2 * width].allSatisfy { $0 == 0 }
      let mask = [Float](repeating: 1, count: width) + [Float](repeating: isMasked ? 0 : 1, count: width) + [Float](repeating: 1, count: width)
      return [(name, tensor), (name + "_mask", Tensor(mask, shape: tensor.shape))]
    }
  }

  /// What networks with layer scale have for training: zeros, as before it, where it is not known. Of DINOv2 without registers it tells the original's files from timm's.
  private var trainingTokens: [(name: String, tensor: Tensor)] {
    guard config.layerScale else { return [] }
    return [("mask_token", (maskToken ?? noMaskToken).reshaped([1, config.embedDim]))]
  }

  /// Zeros.
  var noMaskToken: Tensor { Tensor([Float](repeating: 0, count: config.embedDim), shape: [config.embedDim]) }

  static let periods = "rope_embed.periods"

  /// Whether a layout has timm's own names; it has none for DINOv3 without registers.
  private func hasTimmNames(_ layout: Layout) -> Bool { layout == .plain && (config.registerTokens > 0 || config.feedForward == .swiglu && config.rotaryBase == nil) }

  /// Whether a classifier beside the network is what timm has as the head of such a network: its DINOv3's reads the mean of the patches.
  private func isTimmsClassifier(_ layout: Layout) -> Bool {
    guard hasTimmNames(layout), config.rotaryBase != nil, case .probe(let probe)? = config.head else { return false }
    return probe.tokens == .mean && probe.layers == 1
  }

  /// Whether periods that a reader computes are those of this network, but for rounding.
  private var hasComputedPeriods: Bool { hasPeriods(ofBase: ViTConfig.officialRotaryBase) }

  func hasPeriods(ofBase base: Double) -> Bool {
    let spec = config.rotary(base: base).tensors.first { $0.name == Self.periods }
    guard let spec, let own = weights[Self.periods], let computed = try? WeightInitializer.tensor(spec, seed: 0) else { return true }
    return zip(own.floats(), computed.floats()).allSatisfy { abs($0 - $1) <= 1e-5 * $1 }
  }

  /// Whether a tensor is a bias of queries, keys and values in which the keys' part is not zero.
  func hasKeyBias(_ name: String) -> Bool {
    guard name.hasSuffix(".attn.qkv.bias"), let bias = weights[name] else { return false }
    return bias.floats()[config.embedDim..<2 * config.embedDim].contains { $0 != 0 }
  }

  /// As timm has DINOv3: queries and values have a bias each, gates are apart from what they open, and periods are computed.
  private func timmRotary(_ tensors: [(name: String, tensor: Tensor)]) -> [(name: String, tensor: Tensor)] {
    var result: [(name: String, tensor: Tensor)] = []
    for (name, tensor) in tensors {
      let name = Self.isBeside(name) ? "head" + name.drop { $0 != "." } : name
      guard let targets = (config.feedForward == .swiglu ? NameTable.timmDinov3Gated : .timmDinov3).sources(of: name) else { continue }
      result += Self.parts(of: tensor, name, named: targets)
    }
    return result
  }

  /// A tensor, by its official name, under the names of its parts; of a bias that leaves the keys out, the first and the last third.
  static func parts(of tensor: Tensor, _ official: String, named targets: [String]) -> [(name: String, tensor: Tensor)] {
    let leavesOutKeys = official.hasSuffix(".attn.qkv.bias") && targets.count == 2
    return zip(targets, leavesOutKeys ? [0, 2] : Array(targets.indices)).map { ($0, part($1, of: leavesOutKeys ? 3 : targets.count, tensor)) }
  }

  /// Rows `i` of `count` equal parts.
  private static func part(_ i: Int, of count: Int, _ tensor: Tensor) -> Tensor {
    if count == 1 { return tensor }
    let rows = tensor.shape[0] / count
    let shape = Shape([rows] + tensor.shape.dims.dropFirst())
    let bytes = tensor.byteRange.count / count
    // The parts lie one after the other, so each is a view.
    return Tensor(dtype: tensor.dtype, shape: shape, storage: tensor.storage, byteOffset: tensor.byteRange.lowerBound + i * bytes) ?? tensor
  }

  /// As timm has a network with registers, where the class token's position is part of that token, or with gates, which have names of their own. The sum of two narrow numbers is none, and stays F32.
  private static func timmRegisters(_ tensors: [(name: String, tensor: Tensor)]) throws -> [(name: String, tensor: Tensor)] {
    let tensors = tensors.map { (name: PackedGates.timm($0.name), tensor: $0.tensor) }
    guard tensors.contains(where: { $0.name == "register_tokens" }), let cls = tensors.first(where: { $0.name == "cls_token" })?.tensor, let positions = tensors.first(where: { $0.name == "pos_embed" })?.tensor else { return tensors }
    let width = cls.count, values = positions.floats()
    return try tensors.map { name, tensor in
      let target = NameTable.timmRegisters.sources(of: name)?.first ?? name
      switch name {
      case "cls_token": return (target, Tensor(zip(cls.floats(), values).map(+), shape: cls.shape))
      case "pos_embed": return (target, try Tensor(Array(values[width...]), shape: [1, positions.shape[1] - 1, width]).converted(to: positions.dtype))
      default: return (target, tensor)
      }
    }
  }
}
