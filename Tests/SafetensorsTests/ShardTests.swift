// Folders of shards (rule S26): one set is read; an index that points elsewhere, or at what is not there, is refused.

import DinoTensor
import Foundation
import Safetensors
import Testing
import TestSupport

@Suite struct ShardTests {
  func withFolder(_ index: String, _ body: (String) throws -> Void) throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.path
    try SafetensorsWriter.write([("a", Tensor([1, 2], shape: [2]))], metadata: ["format": "pt"], to: "\(path)/one.safetensors")
    try SafetensorsWriter.write([("b", Tensor([3], shape: [1])), ("c", Tensor([4], shape: [1]))], metadata: ["k": "v"], to: "\(path)/two.safetensors")
    try index.write(toFile: "\(path)/\(ShardedSafetensors.indexName)", atomically: true, encoding: .utf8)
    try body(path)
  }

  @Test func oneSet() throws {
    try withFolder(#"{"metadata":{"total_size":16},"weight_map":{"a":"one.safetensors","b":"two.safetensors","c":"two.safetensors"}}"#) { folder in
      let set = try ShardedSafetensors(folder: folder)
      #expect(set.names == ["a", "b", "c"] && set.shards == ["one.safetensors", "two.safetensors"])
      #expect(set.tensor("a")?.floats() == [1, 2] && set.tensor("c")?.floats() == [4] && set.tensor("d") == nil)
      #expect(set.metadata == ["format": "pt", "k": "v"])
    }
  }

  @Test(arguments: ["../one.safetensors", "/etc/passwd", "/tmp/one.safetensors", "sub/one.safetensors", ".hidden.safetensors", "one.bin", "", "..",
                    "a\\\\b.safetensors", "a\\u0000.safetensors"]) func outside(_ shard: String) throws {
    try withFolder("{\"weight_map\":{\"a\":\"\(shard)\"}}") { folder in
      let error = #expect(throws: SafetensorsError.self) { try ShardedSafetensors(folder: folder) }
      guard case .shardOutsideFolder? = error else { Issue.record("\(String(describing: error))"); return }
    }
  }

  @Test(arguments: ["", "[]", "{}", #"{"weight_map":{}}"#, #"{"weight_map":{"a":1}}"#, #"{"weight_map":{"a":"one.safetensors","a":"two.safetensors"}}"#,
                    String(repeating: "[", count: 100_000)]) func badIndex(_ index: String) throws {
    try withFolder(index) { folder in
      let error = #expect(throws: SafetensorsError.self) { try ShardedSafetensors(folder: folder) }
      guard case .malformedIndex(let path, _)? = error else { Issue.record("\(String(describing: error))"); return }
      #expect(path.hasSuffix(ShardedSafetensors.indexName))
    }
  }

  @Test func missingParts() throws {
    try withFolder(#"{"weight_map":{"a":"two.safetensors"}}"#) { folder in
      let index = "\(folder)/\(ShardedSafetensors.indexName)"
      #expect(throws: SafetensorsError.tensorNotInShard(path: index, tensor: "a", shard: "two.safetensors")) { try ShardedSafetensors(folder: folder) }
    }
    try withFolder(#"{"weight_map":{"a":"three.safetensors"}}"#) { folder in
      #expect(throws: SafetensorsError.fileNotFound(path: "\(folder)/three.safetensors")) { try ShardedSafetensors(folder: folder) }
    }
  }
}
