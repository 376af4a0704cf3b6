// The rules of rooms, held against this repository: what SwiftPM itself does not enforce (it lets a target import what its dependencies
// depend on). CheckerTests holds the checker itself against made-up input.

import Foundation
import TestSupport
import Testing

/// This repository as it lies on disk.
private enum Checkout {
  static func text(_ relative: String) throws -> String {
    try String(contentsOf: Fixtures.repository.appendingPathComponent(relative), encoding: .utf8)
  }

  static func table() throws -> PackageTable { PackageTable(try text("Package.swift")) }

  /// Paths of a room's sources, relative to the repository, sorted.
  static func files(in folder: String, ending suffixes: [String]) -> [String] {
    let base = Fixtures.repository.appendingPathComponent(folder)
    guard let walker = FileManager.default.enumerator(atPath: base.path) else { return [] }
    return walker.compactMap { $0 as? String }.filter { name in suffixes.contains { name.hasSuffix($0) } }.map { "\(folder)/\($0)" }.sorted()
  }
}

@Suite struct RoomRulesTests {
  @Test func theTableIsRead() throws {
    let table = try Checkout.table()
    #expect(table.rooms.count >= 20)
    #expect(table["dinoctl"]?.kind == .program)
    #expect(table["dinoctl"]?.dependencies.contains("ArgumentParser") == true)
    #expect(table["Safetensors"]?.folder == "formats/Safetensors")
    #expect(table["DinoKernels"]?.ownsMemory == true)
    for room in table.rooms where room.kind != .systemLibrary {
      #expect(!Checkout.files(in: room.folder, ending: [".swift", ".c", ".cpp"]).isEmpty, "\(room.name): no sources in \(room.folder)")
    }
  }

  @Test func arrowsPointDown() throws {
    #expect(badArrows(in: try Checkout.table()) == [])
  }

  @Test func roomsImportOnlyWhatTheyDeclare() throws {
    let table = try Checkout.table()
    var found: [String] = []
    for room in table.rooms {
      for file in Checkout.files(in: room.folder, ending: [".swift"]) {
        found += undeclaredImports(of: room, in: try Checkout.text(file), file: file, table: table)
      }
    }
    #expect(found == [])
  }

  @Test func librariesNeitherPrintNorExit() throws {
    var found: [String] = []
    for room in try Checkout.table().rooms where room.kind == .library {
      for file in Checkout.files(in: room.folder, ending: [".swift"]) { found += outputInLibrary(try Checkout.text(file), file: file) }
    }
    #expect(found == [])
  }

  /// Raw pointers: rooms that own memory, rooms that talk to a C library, where its calls need them, and the one whose job is system calls.
  @Test func rawPointersStayInTheirRooms() throws {
    let table = try Checkout.table()
    var found: [String] = []
    for room in table.rooms where (room.kind == .library || room.kind == .program) && !room.ownsMemory {
      let talksToC = room.dependencies.contains { table[$0]?.kind == .c || table[$0]?.kind == .systemLibrary }
      if talksToC || room.name == "AtomicFiles" { continue }
      for file in Checkout.files(in: room.folder, ending: [".swift"]) { found += unsafePointers(try Checkout.text(file), file: file) }
    }
    #expect(found == [])
  }

  @Test func filesSayWhatTheyAre() throws {
    var found: [String] = []
    for room in try Checkout.table().rooms {
      for file in Checkout.files(in: room.folder, ending: [".swift", ".c", ".h"]) where !startsWithComment(try Checkout.text(file)) {
        found.append("\(file): the first line is not a comment")
      }
    }
    #expect(found == [])
  }

  @Test func roomsExplainThemselves() throws {
    for room in try Checkout.table().rooms where (room.kind == .library || room.kind == .program) && !room.folder.hasPrefix("samples/") {
      let readme = try? Checkout.text("\(room.folder)/README.md")
      #expect((readme?.count ?? 0) > 200, "\(room.folder)/README.md should say the room's purpose, what it may import, and how to add a thing")
    }
  }
}
