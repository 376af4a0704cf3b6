// The checker of room rules on made-up input: each rule must be able to fail, and must not fire on what only looks like a breach.

import Testing

private let manifest = """
  // swift-tools-version: 6.2
  let package = Package(
    name: "x",
    targets: [
      // Level 0: memory.
      .target(name: "CLow", cSettings: [.define("NDEBUG")]),
      room("Low", [], settings: unsafeRoom),
      // Level 1: more.
      room("Middle", ["Low"], path: "formats/Middle"),
      room("Sideways", ["Middle"]),
      // Level 2: top.
      room("Top", ["Middle",
                   "Low"]),
      .executableTarget(
        name: "program", dependencies: ["Top", .product(name: "ArgumentParser", package: "swift-argument-parser")], exclude: ["README.md"]),
      room("Wrong", ["program", "Missing"]),
      // Tests.
      .target(name: "TestSupport", dependencies: ["Low"], path: "Tests/TestSupport"),
      tests("TopTests", ["Top"]),
    ])
  """

@Suite struct CheckerTests {
  let table = PackageTable(manifest)

  @Test func readsRows() {
    #expect(table.rooms.map(\.name) == ["CLow", "Low", "Middle", "Sideways", "Top", "program", "Wrong", "TestSupport", "TopTests"])
    #expect(table["Middle"] == Room(name: "Middle", level: 1, folder: "formats/Middle", dependencies: ["Low"], kind: .library, ownsMemory: false))
    #expect(table["Low"]?.ownsMemory == true)
    #expect(table["Top"]?.dependencies == ["Middle", "Low"])
    #expect(table["program"]?.dependencies == ["ArgumentParser", "Top"])
    #expect(table["TopTests"] == Room(name: "TopTests", level: nil, folder: "Tests/TopTests", dependencies: ["Top", "TestSupport"], kind: .tests, ownsMemory: false))
    #expect(table.products == ["ArgumentParser"])
  }

  @Test func findsArrowsThatDoNotPointDown() {
    let found = badArrows(in: table)
    #expect(found.contains { $0.hasPrefix("Sideways (level 1) depends on Middle (level 1)") })
    #expect(found.contains { $0.hasPrefix("Wrong (level 2) depends on program (level 2)") })
    #expect(found.contains { $0.hasPrefix("Wrong depends on Missing") })
    #expect(!found.contains { $0.hasPrefix("Top ") || $0.hasPrefix("TopTests") })
  }

  @Test func findsImportsThatAreNotDeclared() throws {
    let top = try #require(table["Top"])
    let source = """
      // import Nothing
      public import Middle
      @preconcurrency internal import Low
      import CLow
      import struct Foundation.Date
      import Somewhere
      @testable import program
      let s = "
      import ArgumentParser
      ".count
      """
    let found = undeclaredImports(of: top, in: source, file: "f.swift", table: table)
    #expect(found.map { $0.prefix(11) } == ["f.swift:4: ", "f.swift:6: ", "f.swift:7: ", "f.swift:9: "])
  }

  @Test(arguments: [
    "print(x)", "  Swift.print(1)", "exit(1)", "_exit(0)", "FileHandle.standardError.write(d)", "fputs(\"a\", stderr)", "let s = \"\\(dump(x))\"", "abort()",
  ])
  func findsOutput(_ line: String) { #expect(outputInLibrary(line, file: "f").count >= 1) }

  @Test(arguments: [
    "// print(x)", "let s = \"print(x)\"", "graph.print(x)", "func print(_ x: Int) {}", "fingerprint(x)", "/* exit(1) */", "let s = #\"exit(1) \"quoted\" \"#",
    "onexit(1)", "case stdoutClosed",
  ])
  func leavesOtherThings(_ line: String) { #expect(outputInLibrary(line, file: "f") == []) }

  @Test func findsPointers() {
    #expect(unsafePointers("let p: UnsafeMutableRawBufferPointer", file: "f") == ["f:1: names an unsafe pointer type"])
    #expect(unsafePointers("// UnsafePointer\nlet p = \"UnsafePointer\"; withUnsafeBytes { $0 }", file: "f") == [])
  }

  @Test func keepsLinesWhileBlanking() {
    let source = "a /* b\n/* c */ d */ e\n\"\"\"\nprint(\n\"\"\" f \"x\\(g(\"y\"))z\" // h"
    let code = codeOnly(source)
    #expect(code.filter(\.isNewline).count == source.filter(\.isNewline).count)
    #expect(code.contains("a") && code.contains("e") && code.contains("f") && code.contains("g("))
    for gone in ["b", "c", "d", "print", "x", "y", "z", "h"] { #expect(!code.contains(gone)) }
  }

  @Test func wantsAFirstComment() {
    #expect(startsWithComment("// x") && startsWithComment("/* x */"))
    #expect(!startsWithComment("import X") && !startsWithComment("") && !startsWithComment("\n// x"))
  }
}
