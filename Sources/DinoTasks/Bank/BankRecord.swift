// What the rows of a bank are features of: the model, the preprocessing, the choice of tokens. Two sets of features may be compared where these agree; the
// precision that they were computed in is kept for people and decides nothing.

internal import Safetensors

/// Where features come from.
public struct BankRecord: Sendable, Equatable {
  /// The model's file, for people.
  public var model: String
  /// SHA-256 over the model's configuration and weights, or "" for features of unknown origin.
  public var modelDigest: String
  /// The preprocessing, as one line.
  public var preprocessing: String
  /// "cls", "mean", "cls+mean", "cls+last-mean", "gem+cls".
  public var tokens: String
  public var layers: Int
  public var precision: String

  public init(model: String, modelDigest: String, preprocessing: String, tokens: String = "cls", layers: Int = 1, precision: String = "f32") {
    self.model = model
    self.modelDigest = modelDigest
    self.preprocessing = preprocessing
    self.tokens = tokens
    self.layers = layers
    self.precision = precision
  }

  /// Features that came as numbers, without a model.
  public static func imported(from file: String) -> BankRecord { BankRecord(model: file, modelDigest: "", preprocessing: "", tokens: "imported", precision: "") }

  /// Refuses features that are not of the same kind as those of `bank`, with the first difference.
  public func check(_ other: BankRecord, bank: String) throws(TaskError) {
    func refuse(_ what: String, _ stored: String, _ given: String) -> TaskError { .otherFeatures(bank: bank, what: what, stored: stored, given: given) }
    if modelDigest != other.modelDigest { throw refuse("model", Self.named(self), Self.named(other)) }
    if preprocessing != other.preprocessing { throw refuse("preprocessing", preprocessing, other.preprocessing) }
    if tokens != other.tokens { throw refuse("choice of tokens", tokens, other.tokens) }
    if layers != other.layers { throw refuse("number of layers", "\(layers)", "\(other.layers)") }
  }

  private static func named(_ record: BankRecord) -> String {
    record.modelDigest.isEmpty ? "features without a model (\(record.model))" : "\(record.model) (\(record.modelDigest.prefix(12)))"
  }

  var json: JSONValue {
    .object([
      .init("model", .string(model)), .init("model_digest", .string(modelDigest)), .init("preprocessing", .string(preprocessing)), .init("tokens", .string(tokens)),
      .init("layers", .integer(layers)), .init("precision", .string(precision)),
    ])
  }

  init?(json: JSONValue) {
    guard let model = json["model"]?.stringValue, let digest = json["model_digest"]?.stringValue, let preprocessing = json["preprocessing"]?.stringValue,
      let tokens = json["tokens"]?.stringValue, let layers = json["layers"]?.integerValue, let precision = json["precision"]?.stringValue else { return nil }
    self.init(model: model, modelDigest: digest, preprocessing: preprocessing, tokens: tokens, layers: layers, precision: precision)
  }
}
