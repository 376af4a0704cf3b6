// The rules of rooms, as functions from text to complaints. They read; the tests beside them decide.

import Foundation

/// Modules of the toolchain and the system that any room may import.
let toolchainModules: Set<String> = [
  "Swift", "Foundation", "FoundationEssentials", "Glibc", "Musl", "Darwin", "Synchronization", "Dispatch", "Testing", "_Concurrency",
]

/// Modules that the `import` lines of a source file name, with line numbers.
func imports(in source: String) -> [(module: String, line: Int)] {
  var found: [(module: String, line: Int)] = []
  for (index, line) in codeOnly(source).split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
    let pattern = /^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+(?:(?:struct|class|enum|protocol|func|var|let|typealias)\s+)?(\w+)/
    if let match = line.firstMatch(of: pattern) { found.append((String(match.1), index + 1)) }
  }
  return found
}

/// Imports of `room` that its row in the table does not declare.
func undeclaredImports(of room: Room, in source: String, file: String, table: PackageTable) -> [String] {
  imports(in: source).compactMap { module, line in
    if toolchainModules.contains(module) || module == room.name || room.dependencies.contains(module) { return nil }
    if table[module] != nil || table.products.contains(module) {
      return "\(file):\(line): \(room.name) imports \(module), which its row in Package.swift does not declare"
    }
    return "\(file):\(line): \(room.name) imports \(module), which is neither a room nor a module that any room may import"
  }
}

/// Declared arrows that do not point down, and arrows to nothing.
func badArrows(in table: PackageTable) -> [String] {
  var complaints: [String] = []
  for room in table.rooms {
    for name in room.dependencies {
      guard let target = table[name] else {
        if !table.products.contains(name) { complaints.append("\(room.name) depends on \(name), which is not in the table") }
        continue
      }
      if target.kind == .tests { complaints.append("\(room.name) depends on the tests \(name)") }
      guard let level = room.level else { continue }
      guard let below = target.level else {
        complaints.append("\(room.name) depends on \(name), which has no level")
        continue
      }
      if below >= level { complaints.append("\(room.name) (level \(level)) depends on \(name) (level \(below)): arrows point down only") }
    }
  }
  return complaints
}

/// Printing and exiting, which only the program may do.
func outputInLibrary(_ source: String, file: String) -> [String] {
  let forbidden: [(Regex<Substring>, String)] = [
    (/(?:^|[^\w.])(?:Swift\.)?(?:print|debugPrint|dump)\s*\(/, "prints"),
    (/(?:^|[^\w.])(?:Glibc\.)?_?exit\s*\(/, "exits"),
    (/(?:^|[^\w.])abort\s*\(/, "aborts"),
    (/FileHandle\s*\.\s*standard(?:Error|Output)/, "writes to a standard stream"),
    (/(?:^|[^\w.])(?:stderr|stdout)\b/, "writes to a standard stream"),
    (/(?:^|[^\w.])(?:puts|fputs|printf|perror)\s*\(/, "prints"),
  ]
  return complaints(in: source, file: file, forbidden) { line in line.contains("func print") || line.contains("func dump") }
}

/// Raw pointer types, which belong to the rooms that own memory.
func unsafePointers(_ source: String, file: String) -> [String] {
  complaints(in: source, file: file, [(/\bUnsafe(?:Mutable)?(?:Raw)?(?:Buffer)?Pointer\b|\bOpaquePointer\b|\bUnmanaged\b/, "names an unsafe pointer type")])
}

private func complaints(in source: String, file: String, _ forbidden: [(Regex<Substring>, String)],
                        excusing excused: (Substring) -> Bool = { _ in false }) -> [String] {
  var found: [String] = []
  for (index, line) in codeOnly(source).split(separator: "\n", omittingEmptySubsequences: false).enumerated() where !excused(line) {
    for (pattern, what) in forbidden where line.contains(pattern) { found.append("\(file):\(index + 1): \(what)") }
  }
  return found
}

/// Whether the first line of a file is a comment.
func startsWithComment(_ source: String) -> Bool { source.hasPrefix("//") || source.hasPrefix("/*") }
