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
  /// Pairs that made them, the first row the lower one: the nearest of each row, and those further ones that joined two groups.
  public let pairs: [Pair]

  /// - Parameters:
  ///   - neighbours: how many of a row's nearest are looked at first, at least 32. The groups do not depend on it.
  ///   - again: told before rows ask again, how many.
  ///   - progress: told how many rows have asked since.
  public init(_ rows: LabelledRows, threshold: Float, neighbours: Int = 32, threads: Int, again: (Int) -> Void = { _ in }, progress: (Int) -> Void = { _ in }) {
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
    /// Joins each of `asking` to its `k` nearest in `parts` that are near enough, and notes these pairs: all of them, or those that joined two groups. Where all `k` are near enough,
    /// there may be more: the row stays open.
    func join(_ asking: [Int], _ parts: [StoredRows], k: Int, notingAll: Bool = false, progress: (Int) -> Void) {
      for start in stride(from: 0, to: asking.count, by: 1024) {
        let batch = Array(asking[start..<min(start + 1024, asking.count)])
        let found = RowSearch.nearest(parts, to: batch.flatMap { rows.unit($0) }, width: rows.width, k: k, excluding: batch, team: team)
        for (row, answers) in zip(batch, found) {
          for answer in answers where answer.score >= least {
            let a = root(row), b = root(answer.row)
            // A pair is seen from both sides, unless one side has too many others before it.
            if notingAll || a != b { pairs.append(Pair(first: min(row, answer.row), second: max(row, answer.row), score: answer.score)) }
            if a != b { leader[max(a, b)] = min(a, b) }
          }
          if let last = answers.last, last.score >= least { open.append(row) }
        }
        progress(batch.count)
      }
    }
    join(rows.rows, rows.parts, k: max(neighbours, 32), notingAll: true, progress: progress)
    // An open row asks for its nearest outside of its group until that is not near enough. Groups at least halve in number in each round.
    while !open.isEmpty {
      let members = Dictionary(grouping: rows.rows) { root($0) }, asking = Dictionary(grouping: open) { root($0) }
      guard members.count > 1 else { break }
      again(open.count)
      open = []
      // A search reads all rows. Where many of a group ask it is worth one of its own, without the group; the others share one, for as many as their groups have at most: one of them is outside.
      var others: [Int] = [], k = 1
      for group in asking.keys.sorted() {
        let own = members[group] ?? [], ask = asking[group] ?? []
        if own.count > 256 || ask.count >= 128 {
          join(ask, Self.parts(rows.parts, without: own), k: 1, progress: progress)
        } else {
          others += ask
          k = max(k, own.count)
        }
      }
      join(others, rows.parts, k: k, progress: progress)
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
