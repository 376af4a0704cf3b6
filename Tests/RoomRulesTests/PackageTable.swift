// The rooms as Package.swift states them: name, level, folder, dependencies, kind. Reads this package's own way of writing the table
// (room(…), tests(…), .target(…), one after the other under "// Level N" comments); it is no general reader of manifests.

import Foundation

struct Room: Equatable {
  enum Kind: Equatable { case library, program, systemLibrary, c, tests, testSupport }
  var name: String
  /// From the "// Level N" comment above it; nil for tests.
  var level: Int?
  var folder: String
  var dependencies: [String]
  var kind: Kind
  /// Whether its row says `settings: unsafeRoom`: raw pointers are its job.
  var ownsMemory: Bool
}

struct PackageTable {
  var rooms: [Room]
  /// Modules of other packages that the table names.
  var products: Set<String>

  subscript(_ name: String) -> Room? { rooms.first { $0.name == name } }

  /// Reads the text of Package.swift.
  init(_ manifest: String) {
    rooms = []
    products = []
    guard let start = manifest.range(of: "targets: [\n    //") else { return }
    var level: Int?
    var pending = ""
    for line in manifest[start.lowerBound...].split(separator: "\n", omittingEmptySubsequences: false).dropFirst() {
      let text = line.trimmingCharacters(in: .whitespaces)
      if text.hasPrefix("//") {
        if text.hasPrefix("// Level "), let n = text.dropFirst(9).first?.wholeNumberValue { level = n }
        if text.hasPrefix("// Tests") { level = nil }
        continue
      }
      pending += text + " "
      if isBalanced(pending), !pending.trimmingCharacters(in: .whitespaces).isEmpty {
        add(row: pending, level: level)
        pending = ""
      }
    }
  }

  private mutating func add(row: String, level: Int?) {
    guard let match = row.firstMatch(of: /^\s*(room|tests|\.target|\.executableTarget|\.systemLibrary|\.testTarget)\(\s*(?:name:\s*)?"([^"]+)"/) else { return }
    let call = String(match.1), name = String(match.2)
    var dependencies: [String] = []
    if call != ".systemLibrary", let list = dependencyList(in: row) {
      for product in list.matches(of: /\.product\(name:\s*"([^"]+)"[^)]*\)/) {
        products.insert(String(product.1))
        dependencies.append(String(product.1))
      }
      let plain = list.replacing(/\.product\([^)]*\)/, with: "")
      dependencies += plain.matches(of: /"([^"]+)"/).map { String($0.1) }
    }
    let path = row.firstMatch(of: /path:\s*"([^"]+)"/).map { String($0.1) }.flatMap { $0.contains("\\") ? nil : $0 }
    let kind: Room.Kind =
      switch call {
      case ".executableTarget": .program
      case ".systemLibrary": .systemLibrary
      case "tests", ".testTarget": .tests
      case ".target": name == "TestSupport" ? .testSupport : .c
      default: .library
      }
    if kind == .tests { dependencies.append("TestSupport") }
    rooms.append(Room(name: name, level: kind == .tests || kind == .testSupport ? nil : level,
                      folder: path ?? (kind == .tests ? "Tests/\(name)" : "Sources/\(name)"), dependencies: dependencies, kind: kind,
                      ownsMemory: row.contains("settings: unsafeRoom")))
  }

  /// What stands in the first brackets after the name, or after `dependencies:`.
  private func dependencyList(in row: String) -> String? {
    let from: String.Index
    if let label = row.range(of: "dependencies:") {
      from = label.upperBound
    } else if row.hasPrefix(".target") {
      return nil
    } else {
      from = row.startIndex
    }
    guard let open = row[from...].firstIndex(of: "[") else { return nil }
    var depth = 0
    for i in row[open...].indices {
      if row[i] == "[" { depth += 1 }
      if row[i] == "]" {
        depth -= 1
        if depth == 0 { return String(row[open...i]) }
      }
    }
    return nil
  }
}

private func isBalanced(_ text: String) -> Bool {
  var depth = 0
  for c in codeOnly(text) {
    if c == "(" || c == "[" { depth += 1 }
    if c == ")" || c == "]" { depth -= 1 }
  }
  return depth <= 0
}
