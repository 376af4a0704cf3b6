// Offsets in one arena from value lifetimes: largest first, each at the lowest place that is free while it lives. It only does arithmetic.

/// A buffer that must exist from step `first` to step `last`, both counted.
struct BufferRequest: Hashable {
  var bytes: Int
  var first: Int
  var last: Int
  /// Buffers of different kinds never share memory.
  var kind = 0
}

extension BufferRequest {
  /// Whether the two cannot have the same memory.
  func excludes(_ other: BufferRequest) -> Bool { kind != other.kind || first <= other.last && other.first <= last }
}

struct MemoryPlan {
  var offsets: [Int]
  var arenaBytes: Int

  static let alignment = 64

  init(_ requests: [BufferRequest]) {
    offsets = Array(repeating: 0, count: requests.count)
    arenaBytes = 0
    let order = requests.indices.sorted { (requests[$0].bytes, -$0) > (requests[$1].bytes, -$1) }
    var placed: [(range: Range<Int>, index: Int)] = []  // by offset
    for i in order {
      let r = requests[i]
      let size = (r.bytes + Self.alignment - 1) / Self.alignment * Self.alignment
      var offset = 0
      for p in placed where r.excludes(requests[p.index]) {
        if p.range.lowerBound >= offset + size { break }
        offset = max(offset, p.range.upperBound)
      }
      offsets[i] = offset
      arenaBytes = max(arenaBytes, offset + size)
      let at = placed.firstIndex { $0.range.lowerBound > offset } ?? placed.count
      placed.insert((offset..<offset + size, i), at: at)
    }
  }
}
