// Why names could not be resolved, as typed values with one sentence each.

public enum NameError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A missing tensor, and the name in the file that is most like it.
  public struct Missing: Sendable, Hashable {
    public var name: String
    public var nearest: String?
    public init(name: String, nearest: String?) {
      self.name = name
      self.nearest = nearest
    }
  }

  /// There are no tensors.
  case empty
  /// The asked-for branch is not in the file, but another is.
  case branchMissing(requested: CheckpointBranch, available: [CheckpointBranch])
  /// Fewer tensors match than must. `missing` holds the first few.
  case tooFewMatches(matched: Int, expected: Int, missing: [Missing], table: String)
  /// A tensor of the right name has another shape.
  case shapeMismatch(name: String, source: String, expected: [Int], found: [Int])
  /// The parts of one tensor cannot be joined along axis 0.
  case partsDoNotJoin(name: String, sources: [String], shapes: [[Int]])

  public var description: String {
    switch self {
    case .empty:
      return "The checkpoint has no tensors; give a file with model weights."
    case .branchMissing(let requested, let available):
      return "The checkpoint has no '\(requested.rawValue)' branch; it has \(available.map { "'\($0.rawValue)'" }.joined(separator: " and ")), "
        + "to be chosen with --checkpoint-key."
    case .tooFewMatches(let matched, let expected, let missing, let table):
      let listed = missing.map { m in m.nearest.map { "'\(m.name)' (nearest: '\($0)')" } ?? "'\(m.name)'" }.joined(separator: ", ")
      let rest = expected - matched - missing.count
      return "Only \(matched) of \(expected) tensors of the model are in the checkpoint under \(table) names, which would leave random weights; missing are "
        + listed + (rest > 0 ? " and \(rest) more" : "") + "."
    case .shapeMismatch(let name, let source, let expected, let found):
      return "The tensor '\(source)'" + (source == name ? "" : ", which is '\(name)',") + " has the shape \(found), but the model needs \(expected)."
    case .partsDoNotJoin(let name, let sources, let shapes):
      return "The tensors \(sources.map { "'\($0)'" }.joined(separator: ", ")) have the shapes \(shapes.map { "\($0)" }.joined(separator: ", ")) "
        + "and cannot be joined along the first axis to '\(name)'."
    }
  }
}
