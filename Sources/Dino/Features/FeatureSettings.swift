// Which numbers of a network's outputs make a row of features. The forward pass is in FeatureExtractor.swift.

/// Which tokens a feature is made of.
public enum TokenChoice: String, Sendable, CaseIterable {
  /// The class token after the last norm.
  case cls
  /// The mean of the patch tokens.
  case mean
  /// Both, class token first.
  case clsAndMean = "cls+mean"
  /// The class token of each layer, then the mean of the last one's patch tokens.
  case clsAndLastMean = "cls+last-mean"
  /// Every patch token: [patches, D].
  case patch
}

/// What a feature row holds.
public struct FeatureSettings: Sendable, Equatable {
  public var tokens: TokenChoice
  /// The last so many blocks, earliest first; each gives its tokens after the last norm, as `get_intermediate_layers` does.
  public var layers: Int
  /// Divide each row (each patch's row for `patch`) by its Euclidean length.
  public var normalized: Bool

  public init(tokens: TokenChoice = .cls, layers: Int = 1, normalized: Bool = false) {
    self.tokens = tokens
    self.layers = layers
    self.normalized = normalized
  }
}
