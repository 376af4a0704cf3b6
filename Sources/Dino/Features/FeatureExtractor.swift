// From prepared images to rows of features: one forward pass for a batch, then the choice of tokens. It decodes nothing and writes nothing.

internal import DinoModels
internal import DinoTensor

/// Makes feature rows with a model.
public struct FeatureExtractor: Sendable {
  public let model: DinoModel
  public let settings: FeatureSettings
  /// Outputs of the network that the rows are made of, earliest layer first.
  public let outputs: [String]

  public init(model: DinoModel, settings: FeatureSettings) throws(DinoError) {
    let depth = model.config.depth
    guard settings.layers >= 1, settings.layers <= depth else {
      throw DinoError(.usage, "--layers must be from 1 to the model's \(depth) blocks, not \(settings.layers)")
    }
    self.model = model
    self.settings = settings
    if settings.layers == 1 {
      outputs = [settings.tokens == .cls ? "cls" : "tokens"]
    } else {
      outputs = (depth - settings.layers..<depth).map { "tokens.\($0)" }
    }
  }

  /// Shape of one row for an image of `patches` patches: [D'] or, for patch tokens, [patches, D'].
  public func rowShape(patches: Int) -> [Int] {
    let width = model.config.embedDim * settings.layers
    return switch settings.tokens {
    case .cls, .mean: [width]
    case .clsAndMean: [2 * width]
    case .clsAndLastMean: [width + model.config.embedDim]
    case .patch: [patches, width]
    }
  }

  /// Rows of a batch of images of one size, in order.
  public func rows(_ images: [PreparedImage]) throws(DinoError) -> [[Float]] {
    if images.isEmpty { return [] }
    let results = try model.run([DinoModel.inputName: try PreparedImage.batch(images)], outputs: outputs)
    var layers: [[Float]] = []
    for name in outputs {
      guard let t = results[name] else { throw DinoError(.bug, "the network gave no '\(name)'") }
      let values = t.floats()
      guard values.allSatisfy(\.isFinite) else { throw model.notFinite(name) }
      layers.append(values)
    }
    let d = model.config.embedDim
    return images.indices.map { b in
      var row = settings.tokens == .patch ? patchRow(layers, batch: b, count: images.count, width: d)
        : layers.indices.flatMap { tokenRow(layers[$0], batch: b, count: images.count, width: d, isLast: $0 == layers.count - 1) }
      if settings.normalized { normalize(&row, width: settings.tokens == .patch ? d * layers.count : row.count) }
      return row
    }
  }

  /// One layer's part of a row that is not by patch.
  private func tokenRow(_ values: [Float], batch: Int, count: Int, width d: Int, isLast: Bool) -> [Float] {
    let tokens = values.count / (count * d)
    let base = batch * tokens * d
    let cls = Array(values[base..<base + d])
    if settings.tokens == .cls || settings.tokens == .clsAndLastMean && !isLast { return cls }
    let special = model.config.specialTokens
    var sums = [Double](repeating: 0, count: d)
    for t in special..<tokens {
      for c in 0..<d { sums[c] += Double(values[base + t * d + c]) }
    }
    let mean = sums.map { Float($0 / Double(tokens - special)) }
    return settings.tokens == .mean ? mean : cls + mean
  }

  /// [patches, layers · D] of one image.
  private func patchRow(_ layers: [[Float]], batch: Int, count: Int, width d: Int) -> [Float] {
    let tokens = layers[0].count / (count * d), special = model.config.specialTokens
    var row: [Float] = []
    row.reserveCapacity((tokens - special) * d * layers.count)
    for t in special..<tokens {
      for layer in layers { row += layer[(batch * tokens + t) * d..<(batch * tokens + t + 1) * d] }
    }
    return row
  }
}

/// Divides each run of `width` values by its length; a run of zeros stays.
private func normalize(_ row: inout [Float], width: Int) {
  for start in stride(from: 0, to: row.count, by: width) {
    var sum = 0.0
    for i in start..<start + width { sum += Double(row[i]) * Double(row[i]) }
    let length = sum.squareRoot()
    guard length > 1e-12 else { continue }
    for i in start..<start + width { row[i] = Float(Double(row[i]) / length) }
  }
}
