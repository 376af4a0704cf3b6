// Damage of every kind: cut at each byte, one bit turned at each place, large adversarial headers. Never a crash; either it loads whole or
// there is a sentence.

import DinoTensor
import Foundation
import Safetensors
import Testing
import TestSupport

@Suite struct RobustnessTests {
  static let small: [UInt8] = {
    let tensors: [(name: String, tensor: Tensor)] = [
      ("a", Tensor([1, 2, 3], shape: [3])), ("b", Tensor.copy([1, 2] as [UInt8], dtype: .u8, shape: [2])),
      ("ä", Tensor([], shape: [0, 4])),
    ]
    return (try? SafetensorsWriter.bytes(tensors, metadata: ["format": "pt"])) ?? []
  }()

  func problem(_ bytes: [UInt8]) -> SafetensorsProblem? {
    do {
      let file = try SafetensorsFile(bytes: bytes)
      for name in file.names where file.tensor(name) == nil { Issue.record("\(name) is listed and not there") }
      return nil
    } catch {
      guard case .malformed(_, let problem) = error else { return .reservedName }
      _ = "\(problem)"
      return problem
    }
  }

  /// rule S3, rule S18: whatever is cut off, it is noticed.
  @Test func cutAtEveryByte() {
    #expect(problem(Self.small) == nil)
    for count in 0..<Self.small.count { #expect(problem(Array(Self.small[..<count])) != nil, "cut to \(count)") }
  }

  @Test func oneByteMore() {
    #expect(problem(Self.small + [0]) == .trailingBytes(after: "b", bytes: 1))
  }

  @Test func everyBitTurned() {
    var refused = 0
    for place in Self.small.indices {
      for bit in 0..<8 {
        var bytes = Self.small
        bytes[place] ^= 1 << bit
        if problem(bytes) != nil { refused += 1 }
      }
    }
    #expect(refused > Self.small.count)
  }

  @Test(arguments: 0..<200) func randomBytes(_ seed: UInt64) {
    var generator = SplitMix64(seed: seed)
    // Punctuation that headers are made of, so that more than the first byte is looked at.
    let alphabet = Array("{}[]\",:0123456789\\u dtypeshapeF32data_offsets__metadata__".utf8) + [0, 0xFF]
    let text = [UInt8(ascii: "{")] + (0..<200).map { _ in alphabet.randomElement(using: &generator)! }
    _ = problem([UInt8(truncatingIfNeeded: text.count), 0, 0, 0, 0, 0, 0, 0] + text)
  }

  static func file(_ header: String, data: Int = 0) -> [UInt8] {
    let text = Array(header.utf8)
    return (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) } + text + [UInt8](repeating: 0, count: data)
  }

  /// rule S19: limits, just over and just at them.
  @Test(.timeLimit(.minutes(1))) func tooMany() {
    func tensors(_ count: Int) -> [UInt8] {
      Self.file("{" + (0..<count).map { "\"\($0)\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}" }.joined(separator: ",") + "}")
    }
    #expect(problem(tensors(SafetensorsHeader.Limits.tensors + 1)) == .tooManyTensors(limit: SafetensorsHeader.Limits.tensors))
    #expect(problem(tensors(2_000)) == nil)
    func entries(_ count: Int) -> [UInt8] { Self.file("{\"__metadata__\":{" + (0..<count).map { "\"\($0)\":\"\"" }.joined(separator: ",") + "}}") }
    #expect(problem(entries(SafetensorsHeader.Limits.metadataEntries + 1)) == .tooManyMetadataEntries(limit: SafetensorsHeader.Limits.metadataEntries))
    #expect(problem(entries(SafetensorsHeader.Limits.metadataEntries)) == nil)
  }

  /// Headers of some megabytes that make a careless parser recurse, allocate or take quadratic time.
  @Test(.timeLimit(.minutes(1)), arguments: [
    String(repeating: "[", count: 2_000_000), String(repeating: "{\"a\":", count: 400_000), "{\"" + String(repeating: "\\u0041", count: 300_000),
    "{\"w\":{\"shape\":[" + String(repeating: "0,", count: 1_000_000), String(repeating: " ", count: 4_000_000),
    "{\"w\":{\"shape\":[" + String(repeating: "9", count: 2_000_000), "{\"" + String(repeating: "e\u{301}", count: 600_000) + "\":{}}",
    "{\"__metadata__\":{\"k\":\"" + String(repeating: "\u{315}\u{316}", count: 500_000) + "\"}",
  ]) func largeHeaders(_ text: String) { #expect(problem(Self.file(text)) != nil) }

  /// Names of combining marks: comparing strings puts each run of them in order, at a cost that grows with the square of its length.
  @Test(.timeLimit(.minutes(1))) func combiningMarks() {
    func names(_ run: Int) -> [UInt8] {
      let marks = String(repeating: "a" + String(repeating: "\u{316}\u{315}", count: run / 2), count: 480 / (2 * run))
      let entries = (0..<5_000).map { "\"\(marks)\($0)\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}" }
      return Self.file("{" + entries.joined(separator: ",") + "}")
    }
    #expect(problem(names(30)) == nil)
    guard case .tooManyMarks? = problem(names(32)) else { Issue.record("32 marks in a row are too many"); return }
  }

  @Test func namesInSentencesAreHarmless() {
    let found = problem(Self.file("{\"\\u001b[31m\\n\(String(repeating: "x", count: 300))\":null}"))
    let sentence = found.map { "\($0)" } ?? ""
    #expect(sentence.contains("\\u{1b}[31m\\u{a}") && sentence.utf8.count < 300)
  }

  @Test func filesThatAreNone() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let missing = folder.appendingPathComponent("none").path
    #expect(throws: SafetensorsError.fileNotFound(path: missing)) { try SafetensorsFile(path: missing) }
    #expect(throws: SafetensorsError.notAFile(path: folder.path)) { try SafetensorsFile(path: folder.path) }
    let pipe = folder.appendingPathComponent("pipe").path
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(throws: SafetensorsError.notAFile(path: pipe)) { try SafetensorsFile(path: pipe) }
  }
}
