// The writer against the reader, byte for byte; Tests/Reference/check_torch_writer.py shows its files to PyTorch.

import DinoTensor
import Foundation
import TestSupport
import Testing
@testable import TorchArchive

@Suite struct WriterTests {
  static func sample() -> [(name: String, tensor: Tensor)] {
    var random = SplitMix64(seed: 3)
    return [
      ("cls_token", Tensor(random.floats(6), shape: [1, 1, 6])), ("scalar", Tensor([2.5], shape: [])), ("empty", Tensor([], shape: [0, 3])),
      ("half", Tensor.copy([UInt16(0x3C00), 0xC000], dtype: .f16, shape: [2])), ("bfloat", Tensor.copy([UInt16(0x3F80), 0xC000], dtype: .bf16, shape: [2])),
      ("int64", Tensor.copy([Int64(-1), 1 << 40], dtype: .i64, shape: [2, 1])), ("bool", Tensor.copy([UInt8(1), 0, 1], dtype: .bool, shape: [3])),
      ("blocks.0.größe", Tensor(random.floats(24), shape: [2, 3, 4])),
    ]
  }

  @Test func whatIsWrittenIsRead() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("state.pth").path
    let sample = Self.sample()
    try TorchArchiveWriter.write(sample, to: path)
    var limits = TorchLimits()
    limits.verifyTensorChecksums = true
    let found = try TorchArchive(path: path, limits: limits).stateDict()
    #expect(found.map(\.name) == sample.map(\.name))
    for ((_, a), (name, b)) in zip(sample, found) {
      let b = try b.tensor()
      #expect(a.dtype == b.dtype && a.shape == b.shape, "\(name)")
      #expect(Array(a.unsafeBytes) == Array(b.unsafeBytes), "\(name)")
      #expect(b.count == 0 || b.byteOffset % 64 == 0, "\(name)")
    }
    #expect(try TorchArchive.scan(path: path).isClean)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["state.pth"])
  }

  @Test func sameTensorsSameBytes() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let a = folder.appendingPathComponent("a.pth").path, b = folder.appendingPathComponent("another_name.pth").path
    try TorchArchiveWriter.write(Self.sample(), to: a)
    try TorchArchiveWriter.write(Self.sample(), to: b)
    #expect(try contents(a) == contents(b))
    // With DINO_RECORD=1 the fixture is made again; then show it to PyTorch.
    if ProcessInfo.processInfo.environment["DINO_RECORD"] == "1" { try Data(try contents(a)).write(to: URL(fileURLWithPath: fixture("written.pth"))) }
    #expect(try contents(a) == contents(fixture("written.pth")), "the writer's bytes changed: check them with PyTorch again")
  }

  @Test func whatCannotBeWrittenLeavesNothing() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("x.pth").path
    let one = Tensor([1], shape: [1])
    #expect(throws: TorchArchiveError.cannotEncode(file: path, name: "a", detail: "the name comes twice")) {
      try TorchArchiveWriter.write([("a", one), ("a", one)], to: path)
    }
    #expect(throws: TorchArchiveError.self) { try TorchArchiveWriter.write([("a", Tensor.copy([UInt8(0)], dtype: .f8e4m3, shape: [1]))], to: path) }
    #expect(throws: TorchArchiveError.cannotWrite(file: folder.path + "/no/x.pth", code: 2)) {
      try TorchArchiveWriter.write([("a", one)], to: folder.path + "/no/x.pth")
    }
    // What a process of this number left behind when it was killed is stepped over.
    _ = FileManager.default.createFile(atPath: "\(path).\(getpid())-0.tmp", contents: nil)
    try TorchArchiveWriter.write([("a", one)], to: path)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() == ["x.pth", "x.pth.\(getpid())-0.tmp"])
    for name in try FileManager.default.contentsOfDirectory(atPath: folder.path) { try FileManager.default.removeItem(atPath: folder.path + "/" + name) }
    // A pipe stays one.
    #expect(mkfifo(path, 0o600) == 0)
    #expect(throws: TorchArchiveError.notAFile(file: path)) { try TorchArchiveWriter.write([("a", one)], to: path) }
    try FileManager.default.removeItem(atPath: path)
    // So does a folder of that name.
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    #expect(throws: TorchArchiveError.self) { try TorchArchiveWriter.write([("a", one)], to: path) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["x.pth"])
  }

  @Test func manyEntriesTakeThe64BitRecord() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("many.pth").path
    let one = Tensor([1], shape: [])
    try TorchArchiveWriter.write((0..<65_600).map { ("t\($0)", one) }, to: path)
    var limits = TorchLimits()
    limits.values = 4_000_000
    #expect(try TorchArchive(path: path, limits: limits).stateDict().count == 65_600)
  }
}
