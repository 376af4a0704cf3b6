// Which rows paths stand for: a file for its row, a folder or an archive for all rows below it.

/// Paths that rows are asked about.
public struct RowsBelow {
  private let paths: [String]
  private var places = FilePlaces()
  private var wanted: [FilePlaces.Place: Int] = [:]
  /// Names of standard input, which is in no folder.
  private var inputs: [(name: String, number: Int)] = []
  private var found: Set<Int> = []
  /// What was asked about a folder stays true.
  private var folders: [FilePlaces.Place: [Int]] = [:]

  public init(_ paths: [String]) {
    self.paths = paths
    // An empty path leads nowhere, not to the root.
    for (i, path) in paths.enumerated().reversed() where !path.isEmpty {
      if BankBase.isOfInput(path) {
        inputs.append((path, i))
        continue
      }
      wanted[places.place(path)] = i
      wanted[places.folder(path)] = i
    }
  }

  /// Whether a row of this path is one of them.
  public mutating func contains(_ path: String) -> Bool {
    if BankBase.isOfInput(path) {
      let matches = inputs.filter { path.utf8.elementsEqual($0.name.utf8) || path.utf8.starts(with: ($0.name + "/").utf8) }
      found.formUnion(matches.map(\.number))
      return !matches.isEmpty
    }
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
    return paths.enumerated().filter { i, path in
      guard !path.isEmpty else { return true }
      if BankBase.isOfInput(path) { return !found.contains(i) }
      let numbers = [wanted[places.place(path)], wanted[places.folder(path)]].compactMap { $0 }
      return !numbers.contains { found.contains($0) }
    }.map(\.element)
  }
}
