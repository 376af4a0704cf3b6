// What is in samples/ works: the example program gives the numbers of dinoctl, and the sample checkpoint is the one that its README's command makes.

import DinoTensor
import Foundation
import NumPyArrays
import TestSupport
import Testing

@Suite struct SampleTests {
  static let samples = Fixtures.repository.appendingPathComponent("samples").path

  @Test func theExampleGivesTheFeatureOfThePhotograph() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let model = "\(Self.samples)/dino_vit_tiny_random.safetensors", photo = "\(Self.samples)/photographs/chelsea.jpg"
    let process = Process(), pipe = Pipe()
    process.executableURL = URL(fileURLWithPath: Tool.path).deletingLastPathComponent().appendingPathComponent("FeaturesExample")
    process.arguments = [model, photo, photo]
    process.standardOutput = pipe
    try process.run()
    let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    let result = try Tool.run(["features", "--model", model, "-o", "\(bench.folder)/f.npy", photo])
    #expect(result.status == 0 && result.errors.contains("random weights"))
    let row = try NumPyArray.read(path: "\(bench.folder)/f.npy").floats()
    #expect(said.contains("72 numbers, the first: \(row.prefix(4))"), "\(said)")
    #expect(said.contains("cosine: 1.0") || said.contains("cosine: 0.99999"))
  }

  @Test func theCheckpointIsMadeByItsCommand() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let readme = try String(contentsOfFile: "\(Self.samples)/README.md", encoding: .utf8)
    let line = try #require(readme.split(separator: "\n").first { $0.contains("dinoctl init ") })
    var words = line.split(separator: " ").map(String.init)
    words.removeFirst()  // dinoctl
    words[words.count - 1] = "\(bench.folder)/made.safetensors"
    #expect(try Tool.run(words).status == 0)
    let made = try bench.bytes("made.safetensors"), kept = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(Self.samples)/dino_vit_tiny_random.safetensors")))
    // The self-test holds computed values, which differ by rounding between instruction sets; all weights are the same bytes.
    #expect(made.suffix(600_000) == kept.suffix(600_000))
    #expect(try Tool.run(["inspect", "\(Self.samples)/dino_vit_tiny_random.safetensors", "--self-test"]).status == 0)
  }

  /// The trained one: its self-test passes, nothing calls it random, and its record says where it is from.
  @Test func theTrainedCheckpointIsWhole() throws {
    let path = "\(Self.samples)/dino_clothing.safetensors"
    let result = try Tool.run(["inspect", path, "--self-test"])
    #expect(result.status == 0 && !result.output.contains("random weights") && !result.errors.contains("random weights"))
    let bench = try Bench()
    defer { bench.remove() }
    let features = try Tool.run(["features", "--model", path, "-o", "\(bench.folder)/f.npy", "\(Self.samples)/photographs"])
    #expect(features.status == 0 && !features.errors.contains("random"))
    let rows = try NumPyArray.read(path: "\(bench.folder)/f.npy")
    #expect(rows.shape == [5, 192])
  }
}
