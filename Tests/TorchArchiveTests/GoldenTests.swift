// The six file forms of the original DINO network, where the shared golden data is there: same names, same bytes.

import DinoTensor
import Foundation
import TestSupport
import Testing
@testable import TorchArchive

@Suite(.enabled(if: Fixtures.shared("reference/dino_vit/backbone.safetensors") != nil, "needs the shared golden data"))
struct GoldenTests {
  func path(_ name: String) throws -> String { try #require(Fixtures.shared("reference/dino_vit/" + name)) }

  /// A minimal reader of safetensors, so that this room's test needs no other room.
  func reference() throws -> [String: (shape: [Int], values: [Float])] {
    let data = try contents(try path("backbone.safetensors"))
    let length = (0..<8).reduce(0) { $0 | Int(data[$1]) << (8 * $1) }
    let header = try #require(try JSONSerialization.jsonObject(with: Data(data[8..<8 + length])) as? [String: Any])
    var out: [String: (shape: [Int], values: [Float])] = [:]
    for (name, entry) in header where name != "__metadata__" {
      let entry = try #require(entry as? [String: Any])
      let offsets = try #require(entry["data_offsets"] as? [Int]), shape = try #require(entry["shape"] as? [Int])
      let bytes = Array(data[8 + length + offsets[0]..<8 + length + offsets[1]])
      let values = bytes.withUnsafeBytes { raw in (0..<bytes.count / 4).map { raw.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) } }
      out[name] = (shape, values)
    }
    return out
  }

  @Test(arguments: [("backbone.pth", Float(0)), ("backbone_legacy.pth", 0), ("backbone_half.pth", 1e-3), ("backbone_bfloat16.pth", 1e-2)])
  func bareBackbones(name: String, relative: Float) throws {
    let expected = try reference()
    let found = try TorchArchive(path: try path(name)).stateDict()
    #expect(found.count == expected.count)
    for (key, tensor) in found {
      let e = try #require(expected[key])
      #expect(tensor.shape.dims == e.shape)
      let scale = e.values.map(abs).max() ?? 0
      #expect(maxAbsoluteDifference(try tensor.tensor().floats(), e.values) <= relative * scale, "\(key)")
    }
  }

  @Test func teacherOfTheTrainingCheckpoint() throws {
    let expected = try reference()
    let archive = try TorchArchive(path: try path("checkpoint.pth"))
    let teacher = Dictionary(uniqueKeysWithValues: try archive.stateDict(at: ["teacher"]))
    for (key, e) in expected {
      let tensor = try #require(teacher["backbone." + key] ?? teacher["module.backbone." + key])
      #expect(maxAbsoluteDifference(try tensor.tensor().floats(), e.values) == 0, "\(key)")
    }
    #expect(archive["epoch"]?.intValue != nil)
    #expect(archive.args?.contains { $0.name == "arch" } == true)
    #expect(archive["dino_loss"]?["center"]?.tensorValue != nil)
  }
}
