// Broken and hostile files: each gives the error that the table beside it says, and no cut or changed file gives anything but a value or an error.

import DinoTensor
import Foundation
import ONNXFormat
import TestSupport
import Testing

struct OnnxHostileRow: CustomTestStringConvertible {
  let file, says: String
  var testDescription: String { file }

  static let folder = Fixtures.path("onnx/hostile")
  static let all: [OnnxHostileRow] = {
    let table = (try? String(contentsOfFile: folder + "/README.md", encoding: .utf8)) ?? ""
    return table.split(separator: "\n").compactMap { line in
      let cells = line.components(separatedBy: " | ").map { $0.trimmingCharacters(in: CharacterSet(charactersIn: "| ")) }
      return cells.count == 3 && cells[0].hasSuffix(".onnx") ? OnnxHostileRow(file: cells[0], says: cells[1]) : nil
    }
  }()
}

/// The name of an error's case.
func caseName(_ error: OnnxProblem) -> String {
  switch error {
  case .noGraph: "noGraph"
  case .undecodable: "undecodable"
  default: Mirror(reflecting: error).children.first?.label ?? "?"
  }
}

func caseName(_ error: OnnxTensorProblem) -> String {
  error == .conflictingData ? "conflictingData" : Mirror(reflecting: error).children.first?.label ?? "?"
}

func isOneSentence(_ error: OnnxError) -> Bool {
  let text = error.description
  return !text.contains("\n") && text.utf8.count < 1500 && text.utf8.count > 20
}

@Suite struct OnnxHostileTests {
  @Test func tableAndFolderAgree() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: OnnxHostileRow.folder).filter { $0.hasSuffix(".onnx") }
    #expect(Set(files) == Set(OnnxHostileRow.all.map(\.file)))
    #expect(files.count > 60)
  }

  /// What the reader says to a file: a case on opening, or of the first tensor.
  private func verdict(_ path: String) -> String {
    do throws(OnnxError) {
      let file = try OnnxFile(path: path)
      guard let tensor = file.model.graph.initializers.first else { return "opens" }
      _ = try file.tensor(tensor)
      return "opens"
    } catch {
      #expect(isOneSentence(error), "\(error)")
      return switch error {
      case .malformed(_, let problem): caseName(problem)
      case .invalidTensor(_, _, let problem): "opens:" + caseName(problem)
      case .externalDataForbidden: "opens:forbidden"
      case .externalDataMissing: "opens:missing"
      default: "\(error)"
      }
    }
  }

  @Test(arguments: OnnxHostileRow.all) func saysWhatTheTableSays(_ row: OnnxHostileRow) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let inside = folder.appendingPathComponent("model")
    try FileManager.default.createDirectory(at: inside, withIntermediateDirectories: true)
    for name in [row.file, "data.bin"] {
      try FileManager.default.copyItem(atPath: OnnxHostileRow.folder + "/" + name, toPath: inside.appendingPathComponent(name).path)
    }
    try Data(repeating: 1, count: 64).write(to: folder.appendingPathComponent("outside.bin"))
    try FileManager.default.createSymbolicLink(atPath: inside.appendingPathComponent("link_out").path, withDestinationPath: "../outside.bin")
    let verdict = verdict(inside.appendingPathComponent(row.file).path)
    #expect(row.says.components(separatedBy: " or ").contains(verdict), "\(verdict)")
  }

  @Test func whatIsNoFile() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    #expect(throws: OnnxError.notAFile(path: folder.path)) { try OnnxFile(path: folder.path) }
    let missing = folder.appendingPathComponent("none.onnx").path
    #expect(throws: OnnxError.fileNotFound(path: missing)) { try OnnxFile(path: missing) }
    let pipe = folder.appendingPathComponent("pipe.onnx").path
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(throws: OnnxError.notAFile(path: pipe)) { try OnnxFile(path: pipe) }
  }

  @Test func unknownFieldsAreSkipped() throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("onnx/attributes.onnx"))))
    // A number, a string, 32 and 64 bits, a group with a string in it; then field 1 (ir_version) with another wire type.
    let unknown: [UInt8] = [0x98, 0x06, 0x05, 0x9A, 0x06, 0x02, 0xFF, 0x00, 0x9D, 0x06, 1, 2, 3, 4, 0x99, 0x06, 1, 2, 3, 4, 5, 6, 7, 8,
                            0x9B, 0x06, 0x0A, 0x01, 0x41, 0x9C, 0x06, 0x0A, 0x01, 0x42]
    #expect(try OnnxWriter.bytes(OnnxFile(bytes: bytes + unknown).model) == bytes)
    #expect(try OnnxWriter.bytes(OnnxFile(bytes: unknown + bytes).model) == bytes)
  }

  @Test func limitsHold() throws {
    let path = Fixtures.path("onnx/subgraphs.onnx")
    var limits = OnnxLimits()
    limits.depth = 8
    #expect(throws: OnnxError.self) { try OnnxFile(path: path, limits: limits) }
    limits = OnnxLimits()
    limits.fields = 20
    #expect(throws: OnnxError.malformed(path: path, .tooManyFields(limit: 20))) { try OnnxFile(path: path, limits: limits) }
    limits = OnnxLimits()
    limits.expansion = 1
    limits.expansionFloor = 500
    #expect(throws: OnnxError.self) { try OnnxFile(path: path, limits: limits) }
  }

  private static let seeds = ["element_types", "attributes", "types", "functions", "subgraphs", "external"]

  @Test(arguments: seeds) func everyCutIsAValueOrAnError(_ name: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("onnx/\(name).onnx"))))
    var refused = 0
    for length in stride(from: 0, to: bytes.count, by: max(1, bytes.count / 700)) where exercise(Array(bytes[..<length])) == nil { refused += 1 }
    // Only a cut between two fields of the model itself can be read.
    #expect(refused > 50)
  }

  @Test(arguments: seeds) func everyChangeIsAValueOrAnError(_ name: String) throws {
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("onnx/\(name).onnx"))))
    var random = SplitMix64(seed: 7)
    var read = 0, refused = 0
    for _ in 0..<600 {
      var changed = bytes
      for _ in 0..<Int.random(in: 1...3, using: &random) {
        let at = Int.random(in: 0..<changed.count, using: &random)
        changed[at] = Bool.random(using: &random) ? UInt8.random(in: 0...255, using: &random) : changed[at] ^ (1 << UInt8.random(in: 0...7, using: &random))
      }
      if exercise(changed) == nil { refused += 1 } else { read += 1 }
    }
    #expect(read > 0 && refused > 0)
  }

  /// Reads bytes, asks for every tensor, writes what was read and reads it again: the bytes must be stable.
  private func exercise(_ bytes: [UInt8]) -> OnnxModel? {
    do throws(OnnxError) {
      let file = try OnnxFile(bytes: bytes)
      for tensor in file.model.tensors {
        if let values = try? file.tensor(tensor) { #expect(values.byteCount <= max(bytes.count, 1) * 8) }
      }
      guard let written = try? OnnxWriter.bytes(file.model) else { return file.model }
      let again = try OnnxFile(bytes: written)
      #expect(try OnnxWriter.bytes(again.model) == written)
      return file.model
    } catch {
      #expect(isOneSentence(error))
      return nil
    }
  }
}
