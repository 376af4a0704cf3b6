// What the methods here work on: a row of numbers for each patch of a photograph, taken from the network.

public import Dino
internal import DinoTensor

/// Features on a patch grid.
public struct PatchFeatures: Sendable {
  public var rows: Int
  public var columns: Int
  public var width: Int
  /// [rows · columns, width]
  public var values: [Float]

  /// Patches.
  public var count: Int { rows * columns }

  public init(rows: Int, columns: Int, width: Int, values: [Float]) {
    precondition(width > 0 && values.count == rows * columns * width)
    self.rows = rows
    self.columns = columns
    self.width = width
    self.values = values
  }

  /// Which features of the network's last block.
  public enum Kind: String, Sendable, CaseIterable {
    /// What attention compares with.
    case keys
    /// What leaves the last norm.
    case tokens
  }

  /// The features of a patch.
  public func row(_ i: Int) -> ArraySlice<Float> { values[i * width..<(i + 1) * width] }
}

extension DinoModel {
  /// The patches' features of a photograph; the class token and registers are left out.
  public func patchFeatures(_ image: PreparedImage, _ kind: PatchFeatures.Kind = .keys) throws(DinoError) -> PatchFeatures {
    try patches(run([DinoModel.inputName: image.tensor], outputs: [kind.rawValue]), kind, image.geometry)
  }

  /// The same with the class token's attention, a map a head, of one run.
  public func patchFeaturesWithAttention(_ image: PreparedImage, _ kind: PatchFeatures.Kind = .keys) throws(DinoError) -> (features: PatchFeatures, attention: AttentionMaps) {
    let results = try run([DinoModel.inputName: image.tensor], outputs: [kind.rawValue, "attention_cls"])
    let features = try patches(results, kind, image.geometry)
    guard let attention = results["attention_cls"]?.floats() else { throw DinoError(.bug, "the network gave no 'attention_cls'") }
    let tokens = attention.count / heads, special = tokens - features.count
    let maps = (0..<heads).map { h in PatchMap(rows: features.rows, columns: features.columns, values: Array(attention[h * tokens + special..<(h + 1) * tokens])) }
    return (features, AttentionMaps(heads: maps, geometry: image.geometry))
  }

  private func patches(_ results: [String: Tensor], _ kind: PatchFeatures.Kind, _ g: PreparedImage.Geometry) throws(DinoError) -> PatchFeatures {
    guard let tensor = results[kind.rawValue], tensor.shape.rank == 3, tensor.shape[1] >= g.rows * g.columns else {
      throw DinoError(.bug, "the network gave no '\(kind.rawValue)' of \(g.rows * g.columns) patches")
    }
    let width = tensor.shape[2], special = tensor.shape[1] - g.rows * g.columns
    let values = Array(tensor.floats()[(special * width)...])
    guard values.allSatisfy(\.isFinite) else {
      throw DinoError(.data, "\(checkpoint.path): the network's '\(kind.rawValue)' has values that are not finite, so weights are damaged", hint: "dinoctl inspect names the tensors")
    }
    return PatchFeatures(rows: g.rows, columns: g.columns, width: width, values: values)
  }
}

extension PatchMask {
  /// No patch.
  static func empty(rows: Int, columns: Int) -> PatchMask { PatchMask(rows: rows, columns: columns, kept: [Bool](repeating: false, count: rows * columns)) }

  /// The connected part (neighbours share an edge) that a patch is in; empty where the patch is not kept.
  func component(containing seed: Int) -> PatchMask {
    var result = PatchMask.empty(rows: rows, columns: columns)
    for i in components().first(where: { $0.contains(seed) }) ?? [] { result.kept[i] = true }
    return result
  }

  /// The largest connected part; of equal ones the first.
  func largestComponent() -> PatchMask {
    let parts = components()
    var result = PatchMask.empty(rows: rows, columns: columns)
    guard let most = parts.map(\.count).max(), let part = parts.first(where: { $0.count == most }) else { return result }
    for i in part { result.kept[i] = true }
    return result
  }

  /// Patches of both, and of either.
  func overlap(_ other: PatchMask) -> (both: Int, either: Int) {
    var both = 0, either = 0
    for i in kept.indices {
      if kept[i] && other.kept[i] { both += 1 }
      if kept[i] || other.kept[i] { either += 1 }
    }
    return (both, either)
  }
}
