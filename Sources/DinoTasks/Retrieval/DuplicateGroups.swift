// Groups of images that are copies of one another: pairs above a similarity, joined. What to keep of a group is the caller's to say; it knows sizes of pictures.

internal import DinoKernels

public struct DuplicateGroups: Sendable {
  public struct Pair: Sendable, Equatable {
    public var first: Int
    public var second: Int
    public var score: Float
  }

  /// Groups of at least two rows, each ascending, in the order of their first rows.
  public let groups: [[Int]]
  /// Pairs that made them, the first row the lower one: the nearest of each row, and one to each further row that its group came by.
  public let pairs: [Pair]

  /// - Parameter neighbours: how many of a row's nearest are looked at first. The groups do not depend on it.
  public init(_ rows: LabelledRows, threshold: Float, neighbours: Int = 32, threads: Int, progress: (Int) -> Void = { _ in }) {
    var leader = Dictionary(uniqueKeysWithValues: rows.rows.map { ($0, $0) })
    func root(_ row: Int) -> Int {
      var r = row
      while let up = leader[r], up != r { r = up }
      leader[row] = r
      return r
    }
    // Stored rows are of length 1 to rounding only: copies that are the same to the bit must not miss a threshold of 1.
    let least = threshold - 1e-6, team = ThreadTeam.shared(max(1, threads))
    var pairs: [Pair] = [], open: [Int] = []
    /// Joins each of `asking` to its `k` nearest in `parts` that are near enough. Where all of them are, there may be more: the row stays open.
    func join(_ asking: [Int], _ parts: [StoredRows], k: Int, progress: (Int) -> Void) {
      for start in stride(from: 0, to: asking.count, by: 1024) {
        let batch = Array(asking[start..<min(start + 1024, asking.count)])
        let found = RowSearch.nearest(parts, to: batch.flatMap { rows.unit($0) }, width: rows.width, k: k, excluding: batch, team: team)
        for (row, answers) in zip(batch, found) {
          for answer in answers where answer.score >= least {
            // A pair is seen from both sides, unless one side has too many others before it.
            pairs.append(Pair(first: min(row, answer.row), second: max(row, answer.row), score: answer.score))
            let a = root(row), b = root(answer.row)
            if a != b { leader[max(a, b)] = min(a, b) }
          }
          if let last = answers.last, last.score >= least { open.append(row) }
        }
        progress(batch.count)
      }
    }
    join(rows.rows, rows.parts, k: neighbours, progress: progress)
    // An open row asks for its nearest outside of its group until that is not near enough. Groups at least halve in number in each round.
    while !open.isEmpty {
      let members = Dictionary(grouping: rows.rows) { root($0) }, asking = Dictionary(grouping: open) { root($0) }
      open = []
      guard members.count > 1 else { break }
      for group in asking.keys.sorted() { join(asking[group] ?? [], Self.parts(rows.parts, without: members[group] ?? []), k: 1) { _ in } }
    }
    pairs.sort { ($0.first, $0.second, -$0.score) < ($1.first, $1.second, -$1.score) }
    var unique: [Pair] = []
    for pair in pairs where unique.last.map({ $0.first != pair.first || $0.second != pair.second }) ?? true { unique.append(pair) }
    self.pairs = unique
    var members: [Int: [Int]] = [:]
    for row in rows.rows { members[root(row), default: []].append(row) }
    groups = members.values.filter { $0.count > 1 }.map { $0.sorted() }.sorted { $0[0] < $1[0] }
  }

  /// The parts with more rows, ascending, left out.
  private static func parts(_ parts: [StoredRows], without rows: [Int]) -> [StoredRows] {
    var first = 0, next = 0
    return parts.map { part in
      var removed = part.removed.isEmpty ? [UInt64](repeating: 0, count: (part.count + 63) / 64) : part.removed
      while next < rows.count, rows[next] < first + part.count {
        let at = rows[next] - first
        removed[at >> 6] |= 1 << UInt64(at & 63)
        next += 1
      }
      first += part.count
      return StoredRows(rows: part.rows, scales: part.scales, removed: removed) ?? part
    }
  }
}
