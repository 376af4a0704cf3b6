// Runs the built dinoctl as a person would: a process with arguments, its exit code, and what it said where.

import Foundation
import TestSupport
import Testing

struct ToolResult {
  var status: Int32
  var output: String
  var errors: String
}

enum Tool {
  /// The program beside the test bundle.
  static let path: String = {
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") } ?? CommandLine.arguments[0]
    let folder = URL(fileURLWithPath: String(bundle[..<(bundle.range(of: ".xctest")?.lowerBound ?? bundle.endIndex)])).deletingLastPathComponent()
    return folder.appendingPathComponent("dinoctl").path
  }()

  /// A suite that a script runs behind it ignores SIGINT, and so would the programs that it starts.
  private static let didIgnoreInterrupts = signal(SIGINT, SIG_DFL) != nil

  /// A running program, and what it has said so far.
  final class Run: @unchecked Sendable {
    let process = Process()
    private let out: URL, err: URL

    init(_ arguments: [String], executable: String = Tool.path, input: Data? = nil, environment: [String: String] = [:], folder: String? = nil) throws {
      _ = Tool.didIgnoreInterrupts
      let stamp = UUID().uuidString
      out = FileManager.default.temporaryDirectory.appendingPathComponent("dinoctl-\(stamp).out")
      err = FileManager.default.temporaryDirectory.appendingPathComponent("dinoctl-\(stamp).err")
      for url in [out, err] { _ = FileManager.default.createFile(atPath: url.path, contents: nil) }
      process.executableURL = URL(fileURLWithPath: executable)
      process.arguments = arguments
      process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
      if let folder { process.currentDirectoryURL = URL(fileURLWithPath: folder) }
      // Files, not pipes: nothing can block, however much is said.
      process.standardOutput = try FileHandle(forWritingTo: out)
      process.standardError = try FileHandle(forWritingTo: err)
      if let input {
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("dinoctl-\(stamp).in")
        try input.write(to: file)
        process.standardInput = try FileHandle(forReadingFrom: file)
        try? FileManager.default.removeItem(at: file)
      } else {
        process.standardInput = FileHandle.nullDevice
      }
      try process.run()
    }

    func wait() -> ToolResult {
      process.waitUntilExit()
      defer { for url in [out, err] { try? FileManager.default.removeItem(at: url) } }
      return ToolResult(status: process.terminationStatus, output: text(out), errors: text(err))
    }

    private func text(_ url: URL) -> String { (try? String(contentsOf: url, encoding: .utf8)) ?? "" }
  }

  static func run(_ arguments: [String], input: Data? = nil, environment: [String: String] = [:], folder: String? = nil) throws -> ToolResult {
    try Run(arguments, input: input, environment: environment, folder: folder).wait()
  }
}

/// A fresh folder with a small random model and photographs, gone afterwards.
struct Bench {
  let folder: String
  var model: String { "\(folder)/model.safetensors" }

  init() throws {
    folder = try Fixtures.temporaryFolder().path
    let made = try Tool.run(["init", "--width", "24", "--depth", "2", "--heads", "3", "--patch-size", "8", "--image-size", "32", "--seed", "3", "-o", model, "--quiet"])
    try #require(made.status == 0, "init failed: \(made.errors)")
  }

  func remove() { try? FileManager.default.removeItem(atPath: folder) }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    let url = URL(fileURLWithPath: "\(folder)/\(name)")
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
  }

  func bytes(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(folder)/\(name)"))) }

  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: "\(folder)/\(name)") }

  func listing(_ name: String = "") throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(name)").sorted() }

  /// Photographs in `name`/000.ppm … of sizes around 40 × 50.
  func photographs(_ name: String, count: Int) throws {
    for i in 0..<count { try write("\(name)/" + String(repeating: "0", count: 3 - String(i).count) + "\(i).ppm", Bench.photograph(seed: UInt64(i))) }
  }

  /// A JPEG on its side, as cameras write it: EXIF orientation 6.
  static func onItsSide() throws -> [UInt8] {
    let jpeg = [UInt8](try Data(contentsOf: URL(fileURLWithPath: Fixtures.path("imaging/decode/jpeg_grey.jpg"))))
    let block: [UInt8] = Array("Exif".utf8) + [0, 0, 0x4D, 0x4D, 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0]
    return [0xFF, 0xD8, 0xFF, 0xE1, 0, UInt8(block.count + 2)] + block + jpeg.dropFirst(2)
  }

  /// A portable pixmap of noise.
  static func photograph(seed: UInt64, width: Int? = nil, height: Int? = nil) -> [UInt8] {
    var random = SplitMix64(seed: seed)
    let w = width ?? 40 + Int(seed % 13), h = height ?? 50 - Int(seed % 7)
    return Array("P6\n\(w) \(h)\n255\n".utf8) + (0..<w * h * 3).map { _ in UInt8.random(in: 0...255, using: &random) }
  }
}
