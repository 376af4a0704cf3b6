// What is written reads again: random arrays and archives, ZIP64, rows that come one after another, names a line each.

import DinoTensor
import Foundation
@testable import NumPyArrays
import Testing
import TestSupport

@Suite struct NumPyWriterTests {
  func withFolder(_ body: (String) throws -> Void) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    try body(folder.path)
  }

  func contents(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) }

  static func random(_ generator: inout SplitMix64) -> Tensor {
    let dtype = [DType.bool, .u8, .i8, .u16, .i16, .f16, .u32, .i32, .f32, .u64, .i64, .f64, .c64].randomElement(using: &generator)!
    let shape = Shape((0..<Int.random(in: 0...4, using: &generator)).map { _ in Int.random(in: 0...5, using: &generator) })
    let bytes = (0..<dtype.byteCount(of: shape.count)!).map { _ in UInt8.random(in: 0...255, using: &generator) }
    return Tensor(dtype: dtype, shape: shape, storage: Tensor.copy(bytes, dtype: .u8, shape: [bytes.count]).storage, byteOffset: 0)!
  }

  func same(_ a: Tensor, _ b: Tensor) -> Bool { a.dtype == b.dtype && a.shape == b.shape && a.storage.bytes(a.byteRange) == b.storage.bytes(b.byteRange) }

  @Test(arguments: 0..<40) func arraysAndArchives(_ seed: UInt64) throws {
    var generator = SplitMix64(seed: seed)
    let arrays = (0..<Int.random(in: 0...6, using: &generator)).map { (name: "a\($0)ä", tensor: Self.random(&generator)) }
    try withFolder { folder in
      for (name, tensor) in arrays {
        try NumPyArray.write(tensor, to: "\(folder)/\(name).npy")
        #expect(same(try NumPyArray.read(path: "\(folder)/\(name).npy"), tensor))
      }
      try NumPyArchive.write(arrays, to: "\(folder)/x.npz")
      let archive = try NumPyArchive(path: "\(folder)/x.npz")
      #expect(archive.names == arrays.map(\.name))
      for (name, tensor) in arrays { #expect(same(try archive.tensor(name), tensor)) }
      let first = try contents("\(folder)/x.npz")
      try NumPyArchive.write(arrays, to: "\(folder)/y.npz")
      #expect(try contents("\(folder)/y.npz") == first)
    }
  }

  /// ZIP64 fields, which only files of gigabytes need: here everything from 100 on goes into them.
  @Test func zip64() throws {
    try withFolder { folder in
      let path = "\(folder)/x.npz"
      let a = Tensor((0..<100).map { Float($0) }, shape: [10, 10]), b = Tensor([1, 2], shape: [2])
      var writer = try NumPyArchiveWriter(path: path, zip64From: 100)
      try writer.add(a, name: "a")
      try writer.add(b, name: "b")
      try writer.finish()
      let archive = try NumPyArchive(path: path)
      #expect(same(try archive.tensor("a"), a))
      #expect(same(try archive.tensor("b"), b))
      let bytes = try contents(path)
      for count in 0..<bytes.count { #expect(throws: NumPyError.self) { try NumPyArchive(bytes: Array(bytes[..<count])) } }
    }
  }

  @Test func refused() throws {
    try withFolder { folder in
      let path = "\(folder)/x"
      let half = Tensor.copy([1] as [UInt16], dtype: .bf16, shape: [1])
      #expect(throws: NumPyError.cannotStore(path: path, dtype: .bf16)) { try NumPyArray.write(half, to: path) }
      #expect(throws: NumPyError.cannotStore(path: path, dtype: .bf16)) { try NumPyArchive.write([("a", half)], to: path) }
      let one = Tensor([1], shape: [1])
      #expect(throws: NumPyError.duplicateMember(path: path, member: "a.npy")) { try NumPyArchive.write([("a", one), ("a", one)], to: path) }
      let left = try FileManager.default.contentsOfDirectory(atPath: folder)
      #expect(left == [])
      #expect(throws: NumPyError.fileNotFound(path: path)) { try NumPyArray.read(path: path) }
      #expect(throws: NumPyError.notAFile(path: folder)) { try NumPyArray.read(path: folder) }
      #expect(throws: NumPyError.self) { _ = try NumPyWriter(path: folder, rows: 1, columns: 1) }
    }
  }

  // MARK: Rows

  @Test func rows() throws {
    try withFolder { folder in
      let path = "\(folder)/x.npy"
      var writer = try NumPyWriter(path: path, rows: 3, columns: 3)
      try writer.append([1, 2, 3])
      try writer.append([4, 5, 6, 7, 8, 9])
      #expect(writer.written == 3)
      #expect(throws: NumPyError.rowWidth(path: path, expected: 3, found: 2)) { try writer.append([1, 2]) }
      #expect(!FileManager.default.fileExists(atPath: path))
      try writer.finish()
      let expected = Tensor((1...9).map { Float($0) }, shape: [3, 3])
      #expect(same(try NumPyArray.read(path: path), expected))
      try NumPyArray.write(expected, to: "\(folder)/whole.npy")
      let rows = try contents(path), whole = try contents("\(folder)/whole.npy")
      #expect(rows == whole)
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["whole.npy", "x.npy"])
      try NumPyWriter(path: path, rows: 0, columns: 2).finish()
      #expect(try NumPyArray.read(path: path).shape == [0, 2])
    }
  }

  /// What goes away unfinished, or has not the rows that it was begun for, changes nothing; nor does any touch the rows that another program keeps beside it.
  @Test func unfinishedRowsLeaveNothing() throws {
    try withFolder { folder in
      let path = "\(folder)/x.npy"
      for name in [path, path + ".partial"] { try "old".write(toFile: name, atomically: true, encoding: .utf8) }
      do {
        var writer = try NumPyWriter(path: path, rows: 2, columns: 2)
        try writer.append([1, 2])
      }
      for rows in [0, 2] {
        #expect(throws: NumPyError.rowCount(path: path, expected: rows, found: 1)) {
          var writer = try NumPyWriter(path: path, rows: rows, columns: 2)
          try writer.append([1, 2])
          try writer.finish()
        }
      }
      for name in [path, path + ".partial"] { #expect(try String(contentsOfFile: name, encoding: .utf8) == "old") }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder).sorted() == ["x.npy", "x.npy.partial"])
    }
  }

  /// Two names are two lines, and each line is one name.
  @Test func namesAreLines() {
    let names = ["a\nb.jpg", "a\\nb.jpg", "a\\\\nb.jpg", "a\\\nb.jpg", "a\r\nb", "a\\rb", "a\\u{2028}b", "a\u{2028}b", "a\u{B}\\", "\n", "\\n", "a\\\\b\\n", "x\\u", "plain.jpg", "a\\b.jpg", "a\\\\b.jpg", "C:\\old\\photo.jpg", "\\"]
    let lines = names.map(NameLine.line)
    #expect(Set(lines).count == names.count && lines.allSatisfy { line in !line.contains { $0.isNewline } })
    for (name, line) in zip(names, lines) { #expect((NameLine.name(speltIn: line) ?? line).utf8.elementsEqual(name.utf8), "\(name)") }
    #expect(lines[0] == "a\\nb.jpg" && lines[1] == "a\\\\nb.jpg" && lines[12...].elementsEqual(names[12...]))
    // Other people's backslashes.
    for line in ["C:\\new\\photo.jpg", "a\\n\\", "\\u{41}", "\\u{}", "\\u{110000}", "\\u{+A}", "\\u{A"] { #expect(NameLine.name(speltIn: line) == nil, "\(line)") }
  }
}
