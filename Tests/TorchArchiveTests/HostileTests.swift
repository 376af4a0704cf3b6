// Hostile and damaged archives: each is refused with its sentence, within bounds of time and memory, and none stops the process.

import Foundation
import TestSupport
import Testing
@testable import TorchArchive

@Suite struct HostileTests {
  static let expected: [String: String?] = {
    guard let data = FileManager.default.contents(atPath: fixture("hostile/expected.json")),
          let table = try? JSONDecoder().decode([String: String?].self, from: data) else { return [:] }
    return table
  }()

  @Test func everyFileIsListed() throws {
    let files = try FileManager.default.contentsOfDirectory(atPath: fixture("hostile")).filter { $0.hasSuffix(".pth") }
    #expect(Set(files) == Set(Self.expected.keys))
    #expect(files.count > 130)
  }

  @Test(.timeLimit(.minutes(1)), arguments: expected.keys.sorted())
  func isRefusedWithItsSentence(name: String) throws {
    let found = try readEverything(try contents(fixture("hostile/" + name)))
    let words = try #require(Self.expected[name])
    #expect((found == nil) == (words == nil), "\(found?.description ?? "it was read")")
    guard let words, let found else { return }
    #expect(found.description.contains(words), "\(found.description)")
    #expect(!found.description.unicodeScalars.contains { $0.value < 32 || $0.value == 127 })
    #expect(found.description.utf8.count < 600)
  }

  /// Every prefix of a small archive. The whole file reads, so only the last one may; a legacy stream may also lose nothing.
  @Test(.timeLimit(.minutes(2)), arguments: ["zip.pth", "legacy.pth", "deflated.pth", "values_protocol5.pth"])
  func everyTruncationIsRefused(name: String) throws {
    let bytes = try contents(fixture(name))
    for length in 0..<bytes.count {
      #expect(try readEverything(Array(bytes[..<length])) != nil, "the first \(length) of \(bytes.count) bytes were read")
    }
  }

  @Test(.timeLimit(.minutes(2)), arguments: ["zip.pth", "legacy.pth", "deflated.pth", "training_legacy.pth", "hostile/ok.pth"])
  func flippedBytesAreReadOrRefused(name: String) throws {
    let bytes = try contents(fixture(name))
    var random = SplitMix64(seed: 7)
    var refused = 0
    for _ in 0..<1500 {
      var copy = bytes
      for _ in 0..<Int.random(in: 1...3, using: &random) { copy[Int.random(in: 0..<copy.count, using: &random)] = UInt8.random(in: 0...255, using: &random) }
      if try readEverything(copy) != nil { refused += 1 }
    }
    #expect(refused > 100)
  }

  /// The machine must not be copied at every operation: four times the file may take about four times as long, not sixteen.
  @Test func workGrowsWithTheFile() throws {
    func seconds(_ calls: Int) throws -> Double {
      let head: [UInt8] = [0x80, 2, 0x8A, 10] + LegacyStream.magic + [0x2E, 0x80, 2, 0x4D, 0xE9, 3, 0x2E, 0x80, 2, 0x7D, 0x2E]
      // [OrderedDict(), OrderedDict(), …]
      var pickle: [UInt8] = [0x80, 2, 0x5D, 0x28, 0x63] + Array("collections\nOrderedDict\n".utf8) + [0x71, 0]
      for _ in 0..<calls { pickle += [0x68, 0, 0x29, 0x52] }
      let bytes = try storage(head + pickle + [0x65, 0x2E, 0x80, 2, 0x5D, 0x2E])
      var best = Double.infinity
      for _ in 0..<3 {
        let start = ContinuousClock.now
        #expect(try TorchArchive(storage: bytes, name: "calls").root.elements?.count == calls + 1)
        best = min(best, (ContinuousClock.now - start) / .seconds(1))
      }
      return best
    }
    let one = try seconds(30_000), four = try seconds(120_000)
    #expect(four < 10 * one, "\(one) s and \(four) s")
  }

  @Test func limitsAreThoseOfTheCaller() throws {
    var limits = TorchLimits()
    limits.values = 5
    let error = #expect(throws: TorchArchiveError.self) { try TorchArchive(path: fixture("zip.pth"), limits: limits) }
    guard case .limitExceeded? = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    limits = TorchLimits()
    limits.pickleBytes = 100
    #expect(throws: TorchArchiveError.self) { try TorchArchive(path: fixture("zip.pth"), limits: limits) }
    limits = TorchLimits()
    limits.entries = 2
    #expect(throws: TorchArchiveError.limitExceeded(file: fixture("zip.pth"), what: "10 zip entries", limit: 2)) {
      try TorchArchive(path: fixture("zip.pth"), limits: limits)
    }
  }
}

@Suite struct ScanTests {
  @Test func namesAndOperationsOfAnHonestFile() throws {
    let report = try TorchArchive.scan(path: fixture("training.pth"))
    #expect(report.isClean)
    #expect(report.container == .zip)
    #expect(report.globals.map(\.name).contains("argparse.Namespace"))
    #expect(report.operations.first { $0.name == "STOP" }?.uses == 1)
    #expect(try TorchArchive.scan(path: fixture("legacy.pth")).operations.first { $0.name == "STOP" }?.uses == 5)
  }

  @Test(arguments: ["os_system", "stack_global", "inst", "legacy_os_system"])
  func namesOfRefusedFiles(name: String) throws {
    let report = try TorchArchive.scan(path: fixture("hostile/\(name).pth"))
    #expect(!report.isClean)
    #expect(report.problem?.contains("os.system") == true)
    #expect(report.globals.contains { $0.name == "os.system" && !$0.isAllowed && $0.uses == 1 })
  }

  @Test func operationsThatAreAlwaysRefused() throws {
    #expect(try TorchArchive.scan(path: fixture("hostile/inst.pth")).forbiddenOperations == ["INST"])
    #expect(try TorchArchive.scan(path: fixture("hostile/obj.pth")).forbiddenOperations == ["OBJ"])
  }
}
