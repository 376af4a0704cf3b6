// What a user says about preprocessing, put over what a model's record says.

public import DinoModels
internal import DinoTensor

/// Changes to a model's preprocessing. What is nil stays as it is.
public struct PreprocessingChanges: Sendable, Equatable {
  public enum Size: Sendable, Equatable {
    /// Shorter side to round(S·256/224), then the centre S × S.
    case shorterSide(Int)
    /// Exactly this size, no crop.
    case exact(height: Int, width: Int)
  }

  /// A JSON file with a whole record; it replaces the model's own.
  public var recordFile: String?
  public var mean: [Double]?
  public var std: [Double]?
  public var interpolation: String?
  public var size: Size?

  public init() {}

  /// Whether nothing is left to a record or an assumption.
  public var isComplete: Bool { recordFile != nil || (mean != nil && std != nil && interpolation != nil && size != nil) }

  /// The changed record.
  public func applied(to record: Preprocessing) throws(DinoError) -> Preprocessing {
    var result = record
    if let recordFile { result = try Self.read(recordFile) }
    if let mean { result.mean = mean }
    if let std { result.std = std }
    if let interpolation {
      guard let known = Preprocessing.Interpolation(rawValue: interpolation) else { throw DinoError(.usage, "there is no interpolation '\(interpolation)'") }
      result.interpolation = known
    }
    switch size {
    case nil: break
    case .shorterSide(let s)?:
      // Before it is multiplied: the record's own check comes after.
      guard (1...65536).contains(s) else { throw DinoError(.usage, "the image size must be from 1 to 65536 pixels, not \(s)") }
      result.resize = .shorterSide(Int((Double(s) * 256 / 224).rounded()))
      result.crop = s
    case .exact(let height, let width)?:
      result.resize = .exact(height: height, width: width)
      result.crop = nil
    }
    do { try result.validate() } catch { throw DinoError(.usage, error.description) }
    return result
  }

  private static func read(_ path: String) throws(DinoError) -> Preprocessing {
    do {
      let storage = try Storage(mapping: path)
      guard storage.byteCount <= 1 << 20 else { throw DinoError(.data, "\(path): a preprocessing record has less than 1 MB") }
      return try Preprocessing(json: String(decoding: storage.bytes(0..<storage.byteCount), as: UTF8.self))
    } catch {
      throw DinoError(error, path: path)
    }
  }
}
