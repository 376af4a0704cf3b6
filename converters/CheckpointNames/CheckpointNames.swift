// From the names in somebody's checkpoint to official names. Pure: names and shapes in, names out; no files, no tensors.
//
// Two steps, because what a model must have follows from a configuration that is read off the official names: `map` renames all that it knows;
// then, with the configuration known, `resolve` says what matched, what is missing, and refuses what would run on random weights.

/// Where the elements of one official tensor are.
public struct TensorSource: Sendable, Hashable {
  /// One name in the file, or several whose tensors are concatenated along axis 0, in this order.
  public var names: [String]
  /// The shape of the whole.
  public var shape: [Int]
  /// Whether the file's tensor is [1, T - 1, D], and zeros for the class token come before it.
  public var leavesOutClassToken: Bool
  /// Whether the file's tensors are the first and the last third, and zeros for the keys come between them.
  public var leavesOutKeys: Bool
  /// The tensor of zeros and ones that the whole is multiplied by.
  public var mask: String?
  public init(names: [String], shape: [Int], leavesOutClassToken: Bool = false, leavesOutKeys: Bool = false, mask: String? = nil) {
    self.names = names
    self.shape = shape
    self.leavesOutClassToken = leavesOutClassToken
    self.leavesOutKeys = leavesOutKeys
    self.mask = mask
  }
}

/// A name in the file that is not used.
public struct IgnoredName: Sendable, Hashable {
  public var name: String
  /// Continues "it is not used: …".
  public var reason: String
}

/// All names of a file, sorted into known, ignored and not known.
public struct NameMapping: Sendable, Hashable {
  /// The table that matched most.
  public var table: String
  /// The branch that was taken, where the file has branches.
  public var branch: CheckpointBranch?
  /// Whether these are names of networks with rotary positions that files do not hold.
  public var isRotary: Bool
  /// By official name.
  public var sources: [String: TensorSource]
  /// In the order of names.
  public var ignored: [IgnoredName]
  /// In the order of names.
  public var unmatched: [String]
  /// Shapes by official name.
  public var shapes: [String: [Int]] { sources.mapValues(\.shape) }
}

/// A mapping held against what a model must have.
public struct NameResolution: Sendable, Hashable {
  public var table: String
  public var branch: CheckpointBranch?
  /// For each matched tensor, by official name.
  public var sources: [String: TensorSource]
  /// Expected and not there: at most 5 % of the expected. A model cannot run without them; the caller says so.
  public var missing: [String]
  public var ignored: [IgnoredName]
  public var unmatched: [String]
  /// Matched and expected.
  public var matchedCount: Int { sources.count }
  public var expectedCount: Int { sources.count + missing.count }
}

public enum CheckpointNames {
  /// The tables that are tried, the first of equally good ones taken.
  /// A gated network's matches as many names of the plain one's table, and not the other way round: gated ones come first.
  public static let tables: [NameTable] = [
    .official, .transformersViT, .transformers5ViT, .transformersDinov2, .transformers5Dinov2, .transformersDinov3GatedKeyBias, .transformersDinov3Gated, .transformersDinov3KeyBias,
    .transformersDinov3, .timmRegisters, .timmDinov3Gated, .timmDinov3,
  ]

  /// The share of expected tensors that must match.
  public static let requiredShare = 0.95

  /// Sorts the names of a file.
  /// - Parameters:
  ///   - shapes: all tensors of the file.
  ///   - branch: which network of a training checkpoint; the teacher where nil, or the student where there is no teacher. Without meaning for files that
  ///     have no branches, as in the original's loader.
  /// - Throws: `NameError.empty`, `.branchMissing`, `.partsDoNotJoin`.
  public static func map(shapes: [String: [Int]], branch: CheckpointBranch? = nil, tables: [NameTable] = tables) throws(NameError) -> NameMapping {
    guard !shapes.isEmpty else { throw .empty }
    let names = shapes.keys.sorted().map(PrefixedName.init)
    let chosen = try chooseBranch(names, branch)
    var best = (mapping: NameMapping(table: "no", branch: chosen, isRotary: false, sources: [:], ignored: [], unmatched: names.map(\.full)), failure: NameError?.none)
    for table in tables {
      let sorted = Sorting(table: table, branch: chosen, hasAverage: names.contains(where: \.isAverage), shapes: shapes).sort(names)
      if sorted.mapping.sources.count > best.mapping.sources.count || best.mapping.table == "no" { best = sorted }
    }
    // Only the table that is taken may complain: to another one the names mean nothing.
    if let failure = best.failure { throw failure }
    return best.mapping
  }

  /// Holds a mapping against what a model must have.
  /// - Parameter expected: official names and shapes, in the order in which missing ones are to be listed.
  /// - Throws: `NameError.shapeMismatch` for the first tensor of another shape; `.tooFewMatches` under `requiredShare`.
  public static func resolve(_ mapping: NameMapping, expected: [(name: String, shape: [Int])]) throws(NameError) -> NameResolution {
    var sources: [String: TensorSource] = [:]
    var missing: [String] = []
    for (name, shape) in expected {
      guard let source = mapping.sources[name] else {
        missing.append(name)
        continue
      }
      guard source.shape == shape else {
        throw .shapeMismatch(name: name, source: source.names.joined(separator: "' + '"), expected: shape, found: source.shape)
      }
      sources[name] = source
    }
    var ignored = mapping.ignored, unmatched = mapping.unmatched
    for (official, source) in mapping.sources where sources[official] == nil {
      if official.hasPrefix("head.") {
        ignored += source.names.map { IgnoredName(name: $0, reason: "the configuration has no such head") }
      } else if source.shape.contains(0) {
        ignored += source.names.map { IgnoredName(name: $0, reason: "it has no elements") }
      } else {
        unmatched += source.names
      }
    }
    ignored.sort { $0.name < $1.name }
    unmatched.sort()
    guard Double(sources.count) >= requiredShare * Double(expected.count) else {
      let listed = missing.prefix(8).map { NameError.Missing(name: $0, nearest: EditDistance.nearest(to: $0, among: unmatched)) }
      throw .tooFewMatches(matched: sources.count, expected: expected.count, missing: listed, table: mapping.table)
    }
    return NameResolution(table: mapping.table, branch: mapping.branch, sources: sources, missing: missing, ignored: ignored, unmatched: unmatched)
  }

  /// Both steps, for a caller that knows the configuration.
  public static func resolve(shapes: [String: [Int]], expected: [(name: String, shape: [Int])],
                             branch: CheckpointBranch? = nil) throws(NameError) -> NameResolution {
    try resolve(map(shapes: shapes, branch: branch), expected: expected)
  }

  private static func chooseBranch(_ names: [PrefixedName], _ requested: CheckpointBranch?) throws(NameError) -> CheckpointBranch? {
    let available = CheckpointBranch.allCases.filter { branch in names.contains { $0.branch == branch } }
    guard let requested, !available.isEmpty else { return available.first }
    guard available.contains(requested) else { throw .branchMissing(requested: requested, available: available) }
    return requested
  }
}

/// The sorting of one file's names by one table.
private struct Sorting {
  let table: NameTable
  let branch: CheckpointBranch?
  let hasAverage: Bool
  let shapes: [String: [Int]]

  /// The mapping, and the first tensor whose parts do not fit together.
  func sort(_ names: [PrefixedName]) -> (mapping: NameMapping, failure: NameError?) {
    var result = NameMapping(table: table.name, branch: branch, isRotary: table.isRotary, sources: [:], ignored: [], unmatched: [])
    var parts: [String: [String?]] = [:], masks: [String: String] = [:]
    // Shorter names first: where a tensor is there twice, the one with fewer wrappers is taken.
    for name in names.sorted(by: { ($0.full.utf8.count, $0.full) < ($1.full.utf8.count, $1.full) }) {
      if let branch, let other = name.branch, other != branch {
        result.ignored.append(IgnoredName(name: name.full, reason: "it is the \(other.rawValue)'s, and the \(branch.rawValue) is taken"))
      } else if hasAverage, name.branch == .teacher, !name.isAverage {
        result.ignored.append(IgnoredName(name: name.full, reason: "the student's average, \(PrefixedName.average), is taken"))
      } else if let rule = table.ignored.first(where: { $0.applies(to: name.bare) }) {
        result.ignored.append(IgnoredName(name: name.full, reason: rule.reason))
      } else if let (official, part, count) = table.official(of: name.bare) {
        // Where the file has branches, what is outside of them is another model's.
        if branch != nil && name.branch == nil {
          result.unmatched.append(name.full)
        } else if parts[official, default: [String?](repeating: nil, count: count)].count != count || parts[official]?[part] != nil {
          result.ignored.append(IgnoredName(name: name.full, reason: "'\(official)' is in the file twice"))
        } else {
          parts[official, default: [String?](repeating: nil, count: count)][part] = name.full
        }
      } else if let official = table.masked(by: name.bare), branch == nil || name.branch != nil, masks[official] == nil {
        masks[official] = name.full
      } else {
        result.unmatched.append(name.full)
      }
    }
    var failure: NameError?
    for (official, found) in parts.sorted(by: { $0.key < $1.key }) {
      do { try join(official, found, into: &result) } catch { failure = failure ?? error }
    }
    for (official, name) in masks {
      if result.sources[official] != nil { result.sources[official]!.mask = name } else { result.unmatched.append(name) }
    }
    result.ignored.sort { $0.name < $1.name }
    result.unmatched.sort()
    return (result, failure)
  }

  /// The source of one tensor, where all its parts are there; else they are not matched.
  private func join(_ official: String, _ found: [String?], into result: inout NameMapping) throws(NameError) {
    let names = found.compactMap { $0 }
    guard names.count == found.count else {
      result.unmatched += names
      return
    }
    let all = names.map { shapes[$0] ?? [] }
    guard names.count > 1 else {
      let isPart = table.leavesOutClassToken(official) && all[0].count == 3 && (0..<Int.max).contains(all[0][1])
      result.sources[official] = TensorSource(names: names, shape: isPart ? [all[0][0], all[0][1] + 1, all[0][2]] : all[0], leavesOutClassToken: isPart)
      return
    }
    var rows = 0
    for shape in all {
      let (sum, overflow) = rows.addingReportingOverflow(shape.first ?? 0)
      guard let first = shape.first, first >= 0, !overflow, shape.dropFirst() == all[0].dropFirst() else {
        throw .partsDoNotJoin(name: official, sources: names, shapes: all)
      }
      rows = sum
    }
    let leavesOutKeys = table.leavesOutKeys(official)
    if leavesOutKeys {
      let (sum, overflow) = rows.addingReportingOverflow(all[0][0])
      guard !overflow, all[1] == all[0] else { throw .partsDoNotJoin(name: official, sources: names, shapes: all) }
      rows = sum
    }
    result.sources[official] = TensorSource(names: names, shape: [rows] + all[0].dropFirst(), leavesOutKeys: leavesOutKeys)
  }
}
