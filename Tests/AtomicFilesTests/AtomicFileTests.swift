// A file is there whole or not at all.

import AtomicFiles
import Foundation
import Testing
import TestSupport

@Suite struct AtomicFileTests {
  @Test func committedOrNothing() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("x").path
    do {
      let file = try AtomicFile(path: path)
      try file.write([1, 2, 3])
      #expect(!FileManager.default.fileExists(atPath: path))
      // Not committed: goes away here.
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
    let file = try AtomicFile(path: path)
    try file.write([1, 2])
    try file.write([])
    try file.write([3])
    try file.commit()
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data([1, 2, 3]))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["x"])
  }

  /// Who names a link means the file behind it: that is replaced, and may be new. A chain, and links relative to their own folder.
  @Test func linksStayLinks() throws {
    let folder = try Fixtures.temporaryFolder(), files = FileManager.default, base = folder.path
    defer { try? files.removeItem(at: folder) }
    try files.createDirectory(atPath: "\(base)/disk", withIntermediateDirectories: false)
    try Data([0]).write(to: folder.appendingPathComponent("disk/old"))
    for (name, target) in [("a", "b"), ("b", "disk/c"), ("disk/c", "old"), ("new", "\(base)/disk/new"), ("loop", "loop")] {
      try files.createSymbolicLink(atPath: "\(base)/\(name)", withDestinationPath: target)
    }
    for (name, place) in [("a", "disk/old"), ("new", "disk/new")] {
      let file = try AtomicFile(path: "\(base)/\(name)")
      try file.write([7])
      try file.commit()
      #expect(try Data(contentsOf: folder.appendingPathComponent(place)) == Data([7]), "\(name)")
      #expect(try files.destinationOfSymbolicLink(atPath: "\(base)/\(name)").isEmpty == false)
    }
    #expect(try files.contentsOfDirectory(atPath: "\(base)/disk").sorted() == ["c", "new", "old"])
    #expect(behindLinks("\(base)/loop") == "\(base)/loop" && behindLinks("no/such/file") == "no/such/file")
  }

  @Test func twoAtOnce() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("x").path
    let first = try AtomicFile(path: path), second = try AtomicFile(path: path)
    try first.write([1])
    try second.write([2])
    try first.commit()
    try second.commit()
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data([2]))
  }

  @Test func twoThatBelongTogether() throws {
    let folder = try Fixtures.temporaryFolder(), files = FileManager.default
    defer { try? files.removeItem(at: folder) }
    let paths = ["a", "b"].map { folder.appendingPathComponent($0).path }
    for path in paths { try Data([0]).write(to: URL(fileURLWithPath: path)) }
    func write() throws {
      let first = try AtomicFile(path: paths[0]), second = try AtomicFile(path: paths[1])
      try first.write([1])
      try second.write([2])
      try AtomicFile.commit(first, second)
    }
    try write()
    #expect(try paths.map { try Data(contentsOf: URL(fileURLWithPath: $0)) } == [Data([1]), Data([2])])
    #expect(try files.contentsOfDirectory(atPath: folder.path).sorted() == ["a", "b"])
  }

  @Test func placesThatAreNoFiles() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    #expect(throws: AtomicFileError.notAFile(path: folder.path)) { _ = try AtomicFile(path: folder.path) }
    #expect(throws: AtomicFileError.notAFile(path: "/dev/null")) { _ = try AtomicFile(path: "/dev/null") }
    let missing = folder.appendingPathComponent("none/x").path
    let error = #expect(throws: AtomicFileError.self) { _ = try AtomicFile(path: missing) }
    #expect("\(error!)".contains(missing) && "\(error!)".contains("No such file"))
  }
}
