// Makes a quantized model of a float one: outliers folded, weights rounded, and the whole written with its record. What calibration finds out is in Calibration*.swift;
// without it the result computes, bit for bit, what --precision int8 does with the float file.

public import DinoModels
public import DinoTensor
internal import DinoGraph
internal import DinoKernels
internal import DinoRuntime
internal import Safetensors

public struct ModelQuantizer {
  public let config: ViTConfig
  /// In floats, by official name. Those of the network that is made: other than the original's where factors were moved from one layer into the next.
  public internal(set) var floats: [String: Tensor]
  /// The quantized ones, and their scales under the same names.
  public internal(set) var values: [String: Tensor] = [:]
  public internal(set) var scales: [String: Tensor] = [:]
  /// Weights that stay in floats, by name.
  public internal(set) var kept: Set<String> = []
  public let kind: QuantizationRecord.Kind
  public internal(set) var calibrationDigest: String?
  public internal(set) var sensitivity: [String: Double]?
  let threads: Int

  /// - Parameters:
  ///   - kept: weights that are not quantized, by name or by the name of their layer.
  public init(config: ViTConfig, weights: [String: Tensor], kind: QuantizationRecord.Kind = .int8, keeping kept: [String] = [], threads: Int = 0) throws(DinoError) {
    self.config = config
    self.kind = kind
    self.threads = threads > 0 ? threads : availableCores()
    floats = weights
    let names = config.quantizableWeights
    for name in names {
      guard let weight = weights[name] else { throw DinoError(.data, "the tensor '\(name)' is missing, so the network cannot be quantized") }
      guard weight.floats().allSatisfy(\.isFinite) else {
        throw DinoError(.data, "the tensor '\(name)' has values that are not finite, so it cannot be quantized", hint: "dinoctl inspect names all such tensors")
      }
      weight.releasePages()
    }
    for name in kept { try keep(name) }
  }

  /// Leaves a weight in floats, by its name or that of its layer: one that is quantized comes back as it was before.
  public mutating func keep(_ name: String) throws(DinoError) {
    let names = config.quantizableWeights
    guard let known = names.first(where: { $0 == name || $0 == "\(name).weight" }) else {
      throw DinoError(.usage, "there is no layer '\(name)' to keep in floats", hint: "layers are \(names.prefix(4).map { String($0.dropLast(7)) }.joined(separator: ", ")), …")
    }
    kept.insert(known)
    values[known] = nil
    scales[known] = nil
  }

  /// Moves channel outliers of norms into the layers that read them: the same network in exact arithmetic.
  public mutating func foldOutliers() {
    guard kind == .int8 else { return }
    for block in 0..<config.depth {
      for (norm, linear) in [("norm1", "attn.qkv"), ("norm2", config.feedForwardLayers.first)] {
        let name = "blocks.\(block).\(linear).weight"
        guard !kept.contains(name), let weight = floats["blocks.\(block).\(norm).weight"], let bias = floats["blocks.\(block).\(norm).bias"], let consumer = floats[name] else { continue }
        divide(norm: "blocks.\(block).\(norm)", by: ChannelOutliers.factors(weight: weight.floats(), bias: bias.floats(), consumers: [consumer]), into: name)
      }
    }
  }

  /// A norm's channels divided by factors, a layer's columns multiplied by them.
  mutating func divide(norm: String, by factors: [Float], into weight: String) {
    guard factors.contains(where: { $0 != 1 }) else { return }
    for name in ["\(norm).weight", "\(norm).bias"] {
      floats[name] = Tensor(zip(floats[name]!.floats(), factors).map { $0 / $1 }, shape: floats[name]!.shape)
    }
    floats[weight] = multipliedColumns(floats[weight]!, by: factors)
  }

  /// Rounds every weight that is not kept, each for the least squared error of itself.
  public mutating func roundWeights() throws(DinoError) {
    for name in config.quantizableWeights where !kept.contains(name) { try round(name) }
  }

  mutating func round(_ name: String, importance: [Float]? = nil) throws(DinoError) {
    guard let weight = floats[name] else { throw DinoError(.bug, "there is no tensor '\(name)'") }
    let team = ThreadTeam.shared(threads)
    do {
      switch kind {
      case .int8:
        let (v, s) = try Int8Weights.rounded(weight, team: team)
        values[name] = v
        // A row of zeros has no scale of its own; any does.
        scales[name] = Tensor(s.floats().map { $0 > 0 ? $0 : 1 }, shape: s.shape)
      case .int4: (values[name], scales[name]) = try Int4Groups.rounded(weight, importance: importance, team: team)
      }
    } catch { throw DinoError(error, path: nil) }
  }

  /// A weight as the quantized network has it, in floats.
  func dequantized(_ name: String) throws -> Tensor {
    guard let v = values[name], let s = scales[name] else { return floats[name]! }
    switch kind {
    case .int8: return v.multipliedRows(by: s)
    case .int4: return try Int4Groups.expanded(v, scales: s, shape: floats[name]!.shape, team: .shared(threads))
    }
  }

  /// The whole network in floats.
  func dequantized() throws -> [String: Tensor] {
    var all = floats
    for name in values.keys { all[name] = try dequantized(name) }
    return all
  }

  /// A session that computes as the file will.
  /// - Parameter quantizing: weights that are quantized in it; all that are, where nil.
  func session(quantizing names: Set<String>? = nil) throws -> Session {
    let options = SessionOptions(threads: threads)
    guard kind == .int8 else { return try Session(ViTGraphBuilder.build(config: config, weights: dequantized()), options: options) }
    var running = options, weights = floats, factors: [String: Tensor] = [:]
    running.precision = .int8
    for name in values.keys where names?.contains(name) ?? true { (weights[name], factors[name]) = (values[name]!, scales[name]) }
    running.keptInF32 = ViTGraphBuilder.constantNames(of: Set(config.quantizableWeights).subtracting(factors.keys))
    for name in kept { weights[name] = try weights[name]!.converted(to: Self.keptType(weights[name]!)) }
    return try Session(ViTGraphBuilder.build(config: config, weights: weights, scales: factors), options: running)
  }

  /// What a kept weight is stored in.
  static func keptType(_ tensor: Tensor) -> DType { tensor.dtype == .f16 ? .f16 : .bf16 }

  /// Writes the model. The same model and figures give the same bytes.
  /// - Parameter modelDigest: `backboneDigest` of the float model, by which banks of its features take this file's.
  public func write(to path: String, preprocessing: Preprocessing, provenance: Provenance, quality: QualityReport?, modelDigest: String? = nil, other: [String: String] = [:], extra: [(name: String, tensor: Tensor)] = []) throws(DinoError) {
    do {
      var tensors = extra, entries: [String: QuantizationRecord.Entry] = [:]
      for spec in config.tensors {
        if let v = values[spec.name], let s = scales[spec.name] {
          tensors += [(spec.name, v), (QuantizationRecord.scaleName(of: spec.name), s)]
          entries[spec.name] = .init(kind: kind, shape: spec.shape.dims)
        } else if let tensor = floats[spec.name] {
          tensors.append((spec.name, kept.contains(spec.name) ? try tensor.converted(to: Self.keptType(tensor)) : tensor))
        }
      }
      var record = ModelRecord(config: config, preprocessing: preprocessing, provenance: provenance, selfTests: try SelfTest.entries(config: config, weights: selfTestWeights()), other: other)
      record.quantization = QuantizationRecord(scheme: scheme, tensors: entries, calibrationDigest: calibrationDigest,
                                               quality: quality.map { Dictionary(uniqueKeysWithValues: $0.numbers.filter(\.value.isFinite).map { ($0.name, $0.value) }) }, sensitivity: sensitivity,
                                               modelDigest: modelDigest)
      try SafetensorsWriter.write(tensors, metadata: record.metadata(), to: path)
    } catch { throw DinoError(error, path: path) }
  }

  /// The network of the file in floats: kept weights as they are stored.
  private func selfTestWeights() throws -> [String: Tensor] {
    var all = try dequantized()
    for name in kept { all[name] = try all[name]!.converted(to: Self.keptType(all[name]!)) }
    return all
  }

  private var scheme: String {
    var text = kind.rawValue
    if calibrationDigest != nil { text += ", calibrated" }
    if !kept.isEmpty { text += ", \(kept.count) layer\(kept.count == 1 ? "" : "s") in floats" }
    return text
  }
}

/// [out, …] with element i of each row multiplied by factors[i].
func multipliedColumns(_ weight: Tensor, by factors: [Float]) -> Tensor {
  var values = weight.floats()
  let columns = factors.count
  for row in stride(from: 0, to: values.count, by: columns) {
    for i in 0..<columns { values[row + i] *= factors[i] }
  }
  return Tensor(values, shape: weight.shape)
}
