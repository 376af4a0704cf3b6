// Array files that must be refused: those of formats/hostile/numpy by their table, cut and damaged ones. Never a crash.

import DinoTensor
import Foundation
import NumPyArrays
import Testing
import TestSupport

struct NumPyHostileRow: CustomTestStringConvertible {
  let file, code, word: String
  var testDescription: String { file }

  static let folder = Fixtures.repository.appendingPathComponent("formats/hostile/numpy")

  static let all: [NumPyHostileRow] = {
    let table = (try? String(contentsOf: folder.appendingPathComponent("README.md"), encoding: .utf8)) ?? ""
    return table.split(separator: "\n").compactMap { line in
      let cells = line.components(separatedBy: " | ").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "| ")) }
      guard cells.count == 4, cells[0].contains(".np") else { return nil }
      return NumPyHostileRow(file: cells[0], code: cells[1], word: cells[2].replacingOccurrences(of: "\\x7c", with: "|"))
    }
  }()
}

/// Reads everything that is in a file.
func readAll(path: String) throws(NumPyError) {
  if path.hasSuffix(".npy") {
    _ = try NumPyArray.read(path: path)
  } else {
    let archive = try NumPyArchive(path: path)
    for name in archive.names { _ = try archive.tensor(name) }
  }
}

@Suite struct NumPyHostileTests {
  @Test func tableAndFolderAgree() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: NumPyHostileRow.folder.path).filter { $0.contains(".np") }
    #expect(Set(files) == Set(NumPyHostileRow.all.map(\.file)) && files.count > 50)
  }

  @Test(arguments: NumPyHostileRow.all) func behavesAsTheTableSays(_ row: NumPyHostileRow) {
    let path = NumPyHostileRow.folder.appendingPathComponent(row.file).path
    let error = #expect(throws: NumPyError.self) { try readAll(path: path) }
    guard let error else { return }
    #expect(Mirror(reflecting: error).children.first?.label == row.code, "\(error)")
    #expect("\(error)".contains(row.word), "\(error)")
    #expect("\(error)".contains(row.file) && !"\(error)".contains("\n"))
  }

  func load(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("numpy/\(name)")))) }

  /// Whether it loads; anything but a value or a typed error would end the test process.
  func loads(_ bytes: [UInt8], archive: Bool) -> Bool {
    do {
      if archive {
        let archive = try NumPyArchive(bytes: bytes)
        for name in archive.names { _ = try archive.tensor(name).shape }
      } else {
        _ = try NumPyArray.read(bytes: bytes)
      }
      return true
    } catch {
      return false
    }
  }

  @Test(arguments: ["little_f4.npy", "fortran_big_i2.npy", "stored.npz", "deflated.npz"]) func cutAtEveryByte(_ name: String) throws {
    let bytes = try load(name)
    #expect(loads(bytes, archive: name.hasSuffix("z")))
    for count in 0..<bytes.count { #expect(!loads(Array(bytes[..<count]), archive: name.hasSuffix("z")), "cut to \(count)") }
  }

  @Test(arguments: ["little_f4.npy", "fortran_big_i2.npy", "stored.npz", "deflated.npz"]) func everyBitTurned(_ name: String) throws {
    let bytes = try load(name)
    for place in bytes.indices {
      for bit in 0..<8 {
        var damaged = bytes
        damaged[place] ^= 1 << bit
        _ = loads(damaged, archive: name.hasSuffix("z"))
      }
    }
  }

  /// A member's size is limited before anything is inflated, and a caller may lower the limit.
  @Test func limits() throws {
    let archive = try NumPyArchive(path: Fixtures.path("numpy/deflated.npz"), limits: NumPyArchiveLimits(memberBytes: 200))
    let error = #expect(throws: NumPyError.self) { try archive.tensor("a") }
    guard case .memberTooLarge(_, "a", 224, 200)? = error else { Issue.record("\(String(describing: error))"); return }
  }
}
