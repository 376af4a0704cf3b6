// The limits of a configuration, checked before anything is allocated for it: configurations come from files.

internal import DinoGraph

extension ViTConfig {
  /// Checks every field.
  /// - Throws: `ModelError.invalid` naming the JSON key.
  public func validate() throws(ModelError) {
    try check("patch_size", patchSize, 1...4096)
    try check("in_channels", inChannels, 1...1024)
    try check("embed_dim", embedDim, 1...65536)
    try check("depth", depth, 1...1024)
    try check("num_heads", numHeads, 1...65536)
    guard embedDim % numHeads == 0 else {
      throw .invalid(key: "num_heads", reason: "embed_dim \(embedDim) is not a multiple of \(numHeads) heads")
    }
    guard mlpRatio.isFinite, mlpRatio > 0, mlpRatio <= 256, mlpHiddenDim >= 1 else {
      throw .invalid(key: "mlp_ratio", reason: "it must be above 0 and at most 256, not \(mlpRatio)")
    }
    try check("register_tokens", registerTokens, 0...64)
    guard normEpsilon.isFinite, normEpsilon > 0, normEpsilon <= 1 else {
      throw .invalid(key: "norm_eps", reason: "it must be above 0 and at most 1, not \(normEpsilon)")
    }
    if let rotaryBase {
      guard rotaryBase.isFinite, rotaryBase > 0, rotaryBase <= 1e9 else {
        throw .invalid(key: "position_embedding.base", reason: "it must be above 0 and at most 1000000000, not \(rotaryBase)")
      }
      guard embedDim / numHeads % 4 == 0 else {
        throw .invalid(key: "num_heads", reason: "with rotary positions a head must have a multiple of 4 columns, not \(embedDim / numHeads)")
      }
    }
    try check("position_embedding.native_grid", nativeRows, 1...4096)
    try check("position_embedding.native_grid", nativeColumns, 1...4096)
    try validateResize()
    try validateHead()
  }

  private func validateResize() throws(ModelError) {
    let key = "position_embedding.resize"
    guard positionResize.cubicA.isFinite, abs(positionResize.cubicA) <= 16 else {
      throw .invalid(key: key + ".cubic_a", reason: "it must be between -16 and 16, not \(positionResize.cubicA)")
    }
    if let offset = positionResize.offset {
      guard offset.isFinite, offset >= 0, offset < 1 else {
        throw .invalid(key: key + ".offset", reason: "it must be at least 0 and below 1, not \(offset)")
      }
    }
  }

  private func validateHead() throws(ModelError) {
    switch head {
    case nil: break
    case .classifier(let classes)?: try check("head.classes", classes, 1...(1 << 24))
    case .probe(let probe)?:
      try check("dino.classes", probe.classes, 1...(1 << 24))
      try check("dino.classes layers", probe.layers, 1...depth)
    case .projection(let p)?:
      try check("head.layers", p.layers, 1...64)
      try check("head.hidden_dim", p.hiddenDim, 1...(1 << 20))
      try check("head.bottleneck_dim", p.bottleneckDim, 1...65536)
      try check("head.out_dim", p.outDim, 1...(1 << 24))
    }
  }

  private func check(_ key: String, _ value: Int, _ range: ClosedRange<Int>) throws(ModelError) {
    guard range.contains(value) else {
      throw .invalid(key: key, reason: "it must be between \(range.lowerBound) and \(range.upperBound), not \(value)")
    }
  }
}
