// What a weight file says about its quantized weights (`dino.quantization`; rules Q1 to Q10 of formats/). What the bytes mean is in DinoKernels, who made them in Dino.

public import DinoTensor

public struct QuantizationRecord: Sendable, Hashable, Codable {
  public enum Kind: String, Sendable, Hashable, Codable {
    /// I8 of the weight's shape, a scale for each output channel.
    case int8
    /// Four bits, a scale for each 32 in a row.
    case int4
  }
  public struct Entry: Sendable, Hashable, Codable {
    public var kind: Kind
    /// Of the float weight.
    public var shape: [Int]
    public init(kind: Kind, shape: [Int]) {
      self.kind = kind
      self.shape = shape
    }
  }

  /// For people: "int8", "int8, 3 layers in bf16".
  public var scheme: String
  /// Every quantized weight, by name.
  public var tensors: [String: Entry]
  /// SHA-256 of the calibration statistics; nil where there was no calibration.
  public var calibrationDigest: String?
  /// Figures by name.
  public var quality: [String: Double]?
  /// What quantizing each weight alone costs: 1 less the mean cosine of the class tokens.
  public var sensitivity: [String: Double]?
  /// The digest of the float network that this is a form of, as banks of features know networks; nil in files of before it was kept.
  public var modelDigest: String?

  public init(scheme: String, tensors: [String: Entry], calibrationDigest: String? = nil, quality: [String: Double]? = nil, sensitivity: [String: Double]? = nil, modelDigest: String? = nil) {
    self.scheme = scheme
    self.tensors = tensors
    self.calibrationDigest = calibrationDigest
    self.quality = quality
    self.sensitivity = sensitivity
    self.modelDigest = modelDigest
  }

  /// The name of the scales of a weight.
  public static func scaleName(of weight: String) -> String { "\(weight)_scale" }
  /// Elements that share a scale in `int4`.
  public static let groupSize = 32

  /// How a weight and its scales are stored.
  public static func stored(_ entry: Entry) -> (values: (dtype: DType, shape: [Int]), scales: (dtype: DType, shape: [Int])) {
    switch entry.kind {
    case .int8: return ((.i8, entry.shape), (.f32, [entry.shape[0]]))
    case .int4:
      let groups = (entry.shape.dropFirst().reduce(1, *) + groupSize - 1) / groupSize
      return ((.u8, [entry.shape[0], groupSize / 2 * groups]), (.f16, [entry.shape[0], groups]))
    }
  }

  // MARK: JSON

  private enum Key: String, CodingKey { case version, scheme, tensors, calibration_digest, quality, sensitivity, model_digest }

  public init(from decoder: any Decoder) throws {
    let c = try decoder.container(keyedBy: Key.self)
    let version = try c.integer(.version)
    guard version == 1 else { throw ModelError.invalid(key: ModelRecord.Key.quantization, reason: "its version is \(version), and this tool reads version 1") }
    scheme = try c.decode(String.self, forKey: .scheme)
    tensors = try c.decode([String: Entry].self, forKey: .tensors)
    calibrationDigest = try c.decode(String?.self, forKey: .calibration_digest)
    quality = try c.decode([String: Double]?.self, forKey: .quality)
    sensitivity = try c.decodeIfPresent([String: Double].self, forKey: .sensitivity)
    modelDigest = try c.decodeIfPresent(String.self, forKey: .model_digest)
    try validate()
  }

  public func encode(to encoder: any Encoder) throws {
    var c = encoder.container(keyedBy: Key.self)
    try c.encode(1, forKey: .version)
    try c.encode(scheme, forKey: .scheme)
    try c.encode(tensors, forKey: .tensors)
    try c.encode(calibrationDigest, forKey: .calibration_digest)
    try c.encode(quality, forKey: .quality)
    try c.encodeIfPresent(sensitivity, forKey: .sensitivity)
    try c.encodeIfPresent(modelDigest, forKey: .model_digest)
  }

  func validate() throws(ModelError) {
    for (name, entry) in tensors.sorted(by: { $0.key < $1.key }) {
      guard name.hasSuffix(".weight") else { throw .invalid(key: ModelRecord.Key.quantization, reason: "'\(name.prefix(80))' is not the name of a weight") }
      // Limits that no network reaches; sums of bytes stay far from overflow.
      guard entry.shape.count >= 2, entry.shape.allSatisfy({ $0 >= 1 && $0 <= 1 << 24 }), Shape(entry.shape).checkedCount.map({ $0 <= 1 << 40 }) == true else {
        throw .invalid(key: ModelRecord.Key.quantization, reason: "the shape \(entry.shape.prefix(8)) of '\(name)' is not that of a weight")
      }
    }
    for (key, digest) in [(Key.calibration_digest, calibrationDigest), (.model_digest, modelDigest)] {
      guard let digest, digest.utf8.count != 64 || !digest.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 || UInt8(ascii: "a")...UInt8(ascii: "f") ~= $0 }) else { continue }
      throw .invalid(key: ModelRecord.Key.quantization, reason: "\(key.rawValue) is not a SHA-256 in small hexadecimal digits")
    }
  }
}

extension ViTConfig {
  /// Weights of linear layers and of the patch embedding: those that may be quantized. Layers before a batch normalisation are not among them (it is folded into their
  /// floats), nor is the head's weight-normed last layer, nor a classifier that is kept beside the network.
  public var quantizableWeights: [String] {
    var kept: Set<String> = []
    if case .projection(let head)? = self.head { kept = Set(head.linears(width: embedDim).filter { $0.batchNorm != nil }.map { "\($0.name).weight" }) }
    return tensors.filter { $0.name.hasSuffix(".weight") && $0.shape.rank >= 2 && !kept.contains($0.name) && !$0.name.hasPrefix("probe.") }.map(\.name)
  }
}
