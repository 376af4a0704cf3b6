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
  /// The pairs that made them, the first row the lower one.
  public let pairs: [Pair]

  /// - Parameter neighbours: how many of a row's nearest are looked at. More copies than these still come together through one another.
  public init(_ rows: LabelledRows, threshold: Float, neighbours: Int = 32, threads: Int, progress: (Int) -> Void = { _ in }) {
    var leader = Dictionary(uniqueKeysWithValues: rows.rows.map { ($0, $0) })
    func root(_ row: Int) -> Int {
      var r = row
      while let up = leader[r], up != r { r = up }
      leader[row] = r
      return r
    }
    var pairs: [Pair] = []
    for start in stride(from: 0, to: rows.rows.count, by: 1024) {
      let batch = Array(rows.rows[start..<min(start + 1024, rows.rows.count)])
      let found = RowSearch.nearest(rows.parts, to: batch.flatMap { rows.unit($0) }, width: rows.width, k: neighbours, excluding: batch, team: .shared(max(1, threads)))
      for (row, answers) in zip(batch, found) {
        // Stored rows are of length 1 to rounding only: copies that are the same to the bit must not miss a threshold of 1.
        for answer in answers where answer.score >= threshold - 1e-6 {
          // A pair is seen from both sides, unless one side has too many others before it.
          pairs.append(Pair(first: min(row, answer.row), second: max(row, answer.row), score: answer.score))
          let a = root(row), b = root(answer.row)
          if a != b { leader[max(a, b)] = min(a, b) }
        }
      }
      progress(batch.count)
    }
    pairs.sort { ($0.first, $0.second, -$0.score) < ($1.first, $1.second, -$1.score) }
    var unique: [Pair] = []
    for pair in pairs where unique.last.map({ $0.first != pair.first || $0.second != pair.second }) ?? true { unique.append(pair) }
    self.pairs = unique
    var members: [Int: [Int]] = [:]
    for row in rows.rows { members[root(row), default: []].append(row) }
    groups = members.values.filter { $0.count > 1 }.map { $0.sorted() }.sorted { $0[0] < $1[0] }
  }
}
