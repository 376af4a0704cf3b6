// Which rows paths stand for: a file for its row, a folder or an archive for all rows below it.

/// Paths that rows are asked about.
public struct RowsBelow {
  private let paths: [String]
  private var places = FilePlaces()
  private var wanted: [FilePlaces.Place: Int] = [:]
  private var found: Set<Int> = []
  /// What was asked about a folder stays true.
  private var folders: [FilePlaces.Place: [Int]] = [:]

  public init(_ paths: [String]) {
    self.paths = paths
    // An empty path leads nowhere, not to the root.
    for (i, path) in paths.enumerated().reversed() where !path.isEmpty {
      wanted[places.place(path)] = i
      wanted[places.folder(path)] = i
    }
  }

  /// Whether a row of this path is one of them.
  public mutating func contains(_ path: String) -> Bool {
    let place = places.place(path), above = FilePlaces.above(place)
    var matches = wanted[place].map { [$0] } ?? []
    if let folder = above.first {
      let known = folders[folder] ?? above.compactMap { wanted[$0] }
      folders[folder] = known
      matches += known
    }
    found.formUnion(matches)
    return !matches.isEmpty
  }

  /// The paths that none of the rows asked about has. Of two that lead to one place the second is not told of where the first is found.
  public var unmatched: [String] {
    var places = FilePlaces()
    return paths.filter { path in
      guard !path.isEmpty else { return true }
      let numbers = [wanted[places.place(path)], wanted[places.folder(path)]].compactMap { $0 }
      return !numbers.contains { found.contains($0) }
    }
  }
}
