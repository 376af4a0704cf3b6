// The class token's attention on a photograph, head by head, and which head shows the object best.

/// What each head of the last block attends to, seen from the class token.
public struct AttentionMaps: Sendable {
  /// One map a head, in the model's order: softmax values on the patches (the class token's own share is left out, so they add up to less than 1).
  public var heads: [PatchMap]
  /// The image that the model saw, and its place in the photograph.
  public var geometry: PreparedImage.Geometry

  public init(heads: [PatchMap], geometry: PreparedImage.Geometry) {
    self.heads = heads
    self.geometry = geometry
  }

  /// The mean of all heads; a map of no patches where there are none.
  public var mean: PatchMap { PatchMap.mean(heads) }

  /// The head whose mask looks most like one object.
  ///
  /// A head that found an object puts its mass in one place, one that looks at the background spreads it, and along the border. The score of a head is
  /// the share of its kept mass that lies in its strongest connected part, less the share of that part's patches on the border of the image. The highest score wins, the
  /// first head on a tie.
  public func bestHead(mass: Double) -> Int {
    let scores = heads.map { objectScore($0, mass: mass) }
    return scores.indices.max { scores[$0] < scores[$1] || (scores[$0] == scores[$1] && $0 > $1) } ?? 0
  }

  private func objectScore(_ map: PatchMap, mass: Double) -> Double {
    let mask = map.mask(holding: mass)
    guard mask.count > 0 else { return -1 }
    let part = mask.strongestComponent(of: map)
    func sum(_ m: PatchMask) -> Double { m.kept.indices.reduce(0) { $0 + (m.kept[$1] ? Double(map.values[$1]) : 0) } }
    var border = 0
    for i in part.kept.indices where part.kept[i] {
      let r = i / map.columns, c = i % map.columns
      if r == 0 || c == 0 || r == map.rows - 1 || c == map.columns - 1 { border += 1 }
    }
    return sum(part) / max(sum(mask), .leastNonzeroMagnitude) - Double(border) / Double(part.count)
  }
}

/// Which head, or heads, a mask is made from.
public enum HeadChoice: Sendable, Equatable {
  case head(Int)
  case mean
  case best

  /// The map to cut a mask from, and the head it is (nil for the mean).
  public func map(of maps: AttentionMaps, mass: Double) throws(DinoError) -> (map: PatchMap, head: Int?) {
    guard !maps.heads.isEmpty else { throw DinoError(.usage, "there is no head to take a map of") }
    switch self {
    case .mean: return (maps.mean, nil)
    case .best:
      let best = maps.bestHead(mass: mass)
      return (maps.heads[best], best)
    case .head(let k):
      guard maps.heads.indices.contains(k) else {
        throw DinoError(.usage, "there is no head \(k): the model has \(maps.heads.count), counted from 0")
      }
      return (maps.heads[k], k)
    }
  }
}
