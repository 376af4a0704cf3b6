// A feature file and the list of its names: both are replaced, or none.

import Dino
import DinoTensor
import Foundation
import TestSupport
import Testing

@Suite struct FeatureFileTests {
  @Test(arguments: [("npy", FeatureFormat.npy), ("npz", .npz), ("safetensors", .safetensors)]) func bothFilesOrNone(_ ending: String, _ format: FeatureFormat) throws {
    let folder = try Fixtures.temporaryFolder().path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let array = "\(folder)/f.\(ending)", names = FeatureFile.pathsFile(of: array)
    func write(_ name: String) throws { try FeatureFile.write(Tensor([1, 2] as [Float], shape: [1, 2]), names: [name], format: format, to: array) }
    func content(_ path: String) -> Data? { FileManager.default.contents(atPath: path) }
    try write("first")
    #expect(content(names) == Data("first\n".utf8))
    // Where the array cannot be written, the names stay.
    let first = try #require(content(array))
    try FileManager.default.removeItem(atPath: array)
    try FileManager.default.createDirectory(atPath: array, withIntermediateDirectories: false)
    #expect(throws: DinoError.self) { try write("second") }
    #expect(content(names) == Data("first\n".utf8))
    // Where the names cannot be written, the array stays.
    for path in [array, names] { try FileManager.default.removeItem(atPath: path) }
    try first.write(to: URL(fileURLWithPath: array))
    try FileManager.default.createDirectory(atPath: names, withIntermediateDirectories: false)
    #expect(throws: DinoError.self) { try write("third") }
    #expect(content(array) == first)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder).count == 2)
  }

  @Test func lineBreaksInNamesAreSpeltOut() throws {
    let folder = try Fixtures.temporaryFolder().path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try FeatureFile.write(Tensor([1, 2] as [Float], shape: [2, 1]), names: ["a\nb.png", "a b.png"], format: .npy, to: "\(folder)/f.npy")
    #expect(FileManager.default.contents(atPath: "\(folder)/f.paths.txt") == Data("a\\nb.png\na b.png\n".utf8))
  }
}
