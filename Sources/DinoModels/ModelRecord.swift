// All `dino.*` metadata of a weight file as one value, both ways. Entries that are not known are kept as they are; a version that is not known is
// refused before anything else is read. The specification of the format is in formats/.

/// What a weight file says about its model.
public struct ModelRecord: Sendable, Hashable {
  /// The metadata's keys.
  public enum Key {
    public static let format = "format"
    public static let version = "dino.format_version"
    public static let config = "dino.config"
    public static let preprocessing = "dino.preprocessing"
    public static let provenance = "dino.provenance"
    public static let selfTest = "dino.self_test"
    public static let quantization = "dino.quantization"
  }

  /// The version that is written and read.
  public static let formatVersion = "1"

  public var config: ViTConfig
  public var preprocessing: Preprocessing?
  public var provenance: Provenance?
  public var selfTests: [SelfTest.Entry]
  public var quantization: QuantizationRecord?
  /// Metadata that is not one of the above, as text.
  public var other: [String: String]

  public init(config: ViTConfig, preprocessing: Preprocessing? = nil, provenance: Provenance? = nil, selfTests: [SelfTest.Entry] = [],
              other: [String: String] = [:]) {
    self.config = config
    self.preprocessing = preprocessing
    self.provenance = provenance
    self.selfTests = selfTests
    self.other = other
  }

  /// Whether metadata are those of our format.
  public static func isPresent(in metadata: [String: String]) -> Bool {
    metadata[Key.version] != nil || metadata[Key.config] != nil
  }

  /// Reads the metadata of a file.
  /// - Throws: `ModelError` naming the key.
  public init(metadata: [String: String]) throws(ModelError) {
    guard let version = metadata[Key.version] else { throw .missingKey(Key.version) }
    guard version.utf8.elementsEqual(Self.formatVersion.utf8) else { throw .unsupportedVersion(String(version.prefix(32))) }
    guard let config = metadata[Key.config] else { throw .missingKey(Key.config) }
    self.config = try ViTConfig(json: config)
    preprocessing = nil
    provenance = nil
    selfTests = []
    quantization = nil
    if let text = metadata[Key.quantization] { quantization = try RecordCoding.decode(QuantizationRecord.self, from: text, key: Key.quantization) }
    if let text = metadata[Key.preprocessing] { preprocessing = try Preprocessing(json: text) }
    if let text = metadata[Key.provenance] { provenance = try RecordCoding.decode(Provenance.self, from: text, key: Key.provenance) }
    if let text = metadata[Key.selfTest] { selfTests = try RecordCoding.decode(SelfTestList.self, from: text, key: Key.selfTest).entries }
    let known: Set = [Key.format, Key.version, Key.config, Key.preprocessing, Key.provenance, Key.selfTest, Key.quantization]
    other = metadata.filter { !known.contains($0.key) }
  }

  /// The metadata to write: valid JSON texts, the same for the same record.
  /// - Throws: `ModelError` where the record itself is not valid.
  public func metadata() throws(ModelError) -> [String: String] {
    try config.validate()
    try preprocessing?.validate()
    for entry in selfTests { try entry.validate() }
    var result = other
    result[Key.format] = "pt"
    result[Key.version] = Self.formatVersion
    result[Key.config] = try config.json()
    if let preprocessing { result[Key.preprocessing] = try preprocessing.json() }
    if let provenance { result[Key.provenance] = try RecordCoding.encode(provenance, key: Key.provenance) }
    if !selfTests.isEmpty { result[Key.selfTest] = try RecordCoding.encode(selfTests, key: Key.selfTest) }
    if let quantization {
      try quantization.validate()
      result[Key.quantization] = try RecordCoding.encode(quantization, key: Key.quantization)
    }
    return result
  }
}

/// Where weights come from (`dino.provenance`).
public struct Provenance: Sendable, Hashable, Codable {
  public struct Source: Sendable, Hashable, Codable {
    public var file: String
    /// Lower-case hexadecimal.
    public var sha256: String
    public init(file: String, sha256: String) {
      self.file = file
      self.sha256 = sha256
    }
  }
  /// "dinoctl 0.1.0".
  public var tool: String
  public var source: Source?
  public var randomWeights: Bool
  /// Arguments of the training, as JSON.
  public var training: RecordValue?
  /// The conversions, earliest first.
  public var chain: [String]

  public init(tool: String, source: Source? = nil, randomWeights: Bool = false, training: RecordValue? = nil, chain: [String] = []) {
    self.tool = tool
    self.source = source
    self.randomWeights = randomWeights
    self.training = training
    self.chain = chain
  }

  private enum Key: String, CodingKey { case tool, source, random_weights, training, chain }

  public init(from decoder: any Decoder) throws {
    let c = try decoder.container(keyedBy: Key.self)
    tool = try c.decode(String.self, forKey: .tool)
    source = try c.decodeIfPresent(Source.self, forKey: .source)
    randomWeights = try c.decodeIfPresent(Bool.self, forKey: .random_weights) ?? false
    training = try c.decodeIfPresent(RecordValue.self, forKey: .training)
    chain = try c.decodeIfPresent([String].self, forKey: .chain) ?? []
  }

  public func encode(to encoder: any Encoder) throws {
    var c = encoder.container(keyedBy: Key.self)
    try c.encode(tool, forKey: .tool)
    try c.encode(source, forKey: .source)
    try c.encode(randomWeights, forKey: .random_weights)
    try c.encode(training, forKey: .training)
    try c.encode(chain, forKey: .chain)
  }
}

/// One entry, or a list of them.
private struct SelfTestList: Decodable {
  var entries: [SelfTest.Entry]

  init(from decoder: any Decoder) throws {
    if var list = try? decoder.unkeyedContainer() {
      entries = []
      while !list.isAtEnd {
        guard entries.count < 16 else { throw ModelError.invalid(key: ModelRecord.Key.selfTest, reason: "it has more than 16 entries") }
        entries.append(try list.decode(SelfTest.Entry.self))
      }
    } else {
      entries = [try decoder.singleValueContainer().decode(SelfTest.Entry.self)]
    }
    for entry in entries { try entry.validate() }
  }
}
