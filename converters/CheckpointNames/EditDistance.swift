// The nearest names for an error message. Bounded in the length of names, their number and the distance.

enum EditDistance {
  static let lengthLimit = 128
  static let candidateLimit = 512

  /// The candidate with the smallest Levenshtein distance up to `limit`; the first of equals.
  static func nearest(to name: String, among candidates: some Sequence<String>, limit: Int = 12) -> String? {
    let target = Array(name.utf8)
    guard target.count <= lengthLimit else { return nil }
    var best: (name: String, distance: Int)?
    for candidate in candidates.prefix(candidateLimit) {
      let bound = min(limit, (best?.distance ?? limit + 1) - 1)
      if bound < 0 { break }
      if let d = distance(target, Array(candidate.utf8.prefix(lengthLimit + 1)), limit: bound) { best = (candidate, d) }
    }
    return best?.name
  }

  /// The distance, or nil above `limit`: two rows, given up once a whole row is above it.
  static func distance(_ a: [UInt8], _ b: [UInt8], limit: Int) -> Int? {
    guard a.count <= lengthLimit, b.count <= lengthLimit, abs(a.count - b.count) <= limit else { return nil }
    var previous = Array(0...b.count), current = previous
    for i in a.indices {
      current[0] = i + 1
      var smallest = current[0]
      for j in b.indices {
        current[j + 1] = min(previous[j + 1] + 1, current[j] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
        smallest = min(smallest, current[j + 1])
      }
      if smallest > limit { return nil }
      swap(&previous, &current)
    }
    return previous[b.count] <= limit ? previous[b.count] : nil
  }
}
