// Files that are near to those that are read: timm's positions without the class token's, grids that are no squares, and networks that are refused by what they have and not by shapes.

@testable import Dino
import DinoGraph
import DinoModels
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct OtherNetworkTests {
  private static let width = 24

  private static func config(rows: Int = 4, columns: Int = 4) -> ViTConfig {
    ViTConfig(patchSize: 8, embedDim: width, depth: 2, numHeads: 3, nativeRows: rows, nativeColumns: columns)
  }

  private typealias Tensors = [String: Tensor]

  private static func tensors(_ config: ViTConfig) throws -> Tensors {
    Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: 3).map { ($0.name, $0.tensor) })
  }

  private static func write(_ tensors: Tensors, to path: String) throws {
    try SafetensorsWriter.write(tensors.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }, metadata: ["format": "pt"], to: path)
  }

  private static func ones(_ shape: Shape) -> Tensor { Tensor([Float](repeating: 1, count: shape.count), shape: shape) }

  /// As timm's DeiT III: the class token has no position.
  @Test func positionsOfPatchesAlone() throws {
    try ModelTests.inFolder { folder in
      let config = Self.config(), path = "\(folder)/m.safetensors"
      var tensors = try Self.tensors(config)
      let positions = try #require(tensors["pos_embed"]).floats(), patches = Array(positions[Self.width...])
      tensors["pos_embed"] = Tensor(patches, shape: [1, 16, Self.width])
      try Self.write(tensors, to: path)
      // Nothing in the file says that they are not those of a class token and 15 patches.
      #expect { try Checkpoint(path: path, choices: CheckpointChoices(heads: 3)) } throws: { ($0 as? DinoError)?.kind == .data && "\($0)".contains("15 patch positions") }
      func state(_ size: String) throws {
        try FolderTests.put("{\"architecture\": \"deit3_tiny_patch8_32\", \"model_args\": {\"num_heads\": 3, \"img_size\": \(size), \"no_embed_class\": true}}", "\(folder)/config.json")
      }
      try FileManager.default.moveItem(atPath: path, toPath: "\(folder)/model.safetensors")
      try state("32")
      let checkpoint = try Checkpoint(path: folder)
      #expect(checkpoint.config.nativeRows == 4 && checkpoint.config.nativeColumns == 4 && checkpoint.config.positionResize == .antialiased)
      #expect(checkpoint.notes.contains { $0.contains("none of the class token") })
      #expect(try checkpoint.weights()["pos_embed"]?.floats() == [Float](repeating: 0, count: Self.width) + patches)
      // The grid may be no square.
      try state("[16, 64]")
      let read = try Checkpoint(path: folder)
      #expect(read.config.nativeRows == 2 && read.config.nativeColumns == 8)
    }
  }

  /// A grid that is no square and the class token may make a square number: such a file is not taken for one without the class token's position.
  @Test func squareNumbersAreNoGrids() throws {
    try ModelTests.inFolder { folder in
      try Self.write(Self.tensors(Self.config(rows: 4, columns: 6)), to: "\(folder)/m.safetensors")
      #expect { try Checkpoint(path: "\(folder)/m.safetensors", choices: CheckpointChoices(heads: 3)) } throws: { ($0 as? DinoError)?.kind == .data && "\($0)".contains("24 patch positions") }
    }
  }

  @Test(arguments: [(#""model_args": {"num_heads": 3, "img_size": [16, 24]}"#, true), (#""model_args": {"num_heads": 3}, "pretrained_cfg": {"input_size": [3, 16, 24]}"#, true),
                    (#""model_args": {"num_heads": 3, "img_size": [16, 32]}"#, false), (#""model_args": {"num_heads": 3, "img_size": [9223372036854775807, 9223372036854775807]}"#, false)])
  func timmsGridsNeedBeNoSquares(stated: String, isRead: Bool) throws {
    try ModelTests.inFolder { folder in
      try Self.write(Self.tensors(Self.config(rows: 2, columns: 3)), to: "\(folder)/model.safetensors")
      try FolderTests.put("{\"architecture\": \"vit_tiny_patch8_32\", \(stated)}", "\(folder)/config.json")
      guard isRead else {
        #expect { try Checkpoint(path: folder) } throws: { ($0 as? DinoError)?.kind == .data && "\($0)".contains("6 patch positions") }
        return
      }
      let config = try Checkpoint(path: folder).config
      #expect(config.nativeRows == 2 && config.nativeColumns == 3)
      // Alone it says nothing of its grid; the sentence says what would.
      try FileManager.default.moveItem(atPath: "\(folder)/model.safetensors", toPath: "\(folder)/m.safetensors")
      #expect { try Checkpoint(path: "\(folder)/m.safetensors", choices: CheckpointChoices(heads: 3)) } throws: { ($0 as? DinoError)?.kind == .data && ($0 as? DinoError)?.hint?.contains("\"img_size\"") == true }
    }
  }

  private static let others: [(word: String, change: @Sendable (inout Tensors) -> Void)] = [
    ("'cls_token'", { $0["cls_token"] = nil; $0["pos_embed"] = ones([1, 16, width]) }),
    ("'dist_token'", { $0["dist_token"] = ones([1, 1, width]); $0["pos_embed"] = ones([1, 18, width]) }),
    ("'norm_pre.bias'", { $0["norm_pre.weight"] = ones([width]); $0["norm_pre.bias"] = ones([width]); $0["patch_embed.proj.bias"] = nil }),
    ("'fc_norm.bias'", { $0["fc_norm.weight"] = $0.removeValue(forKey: "norm.weight"); $0["fc_norm.bias"] = $0.removeValue(forKey: "norm.bias") }),
    ("2 registers", { $0["reg_token"] = ones([1, 2, width]); $0["pos_embed"] = ones([1, 19, width]) }),
  ]

  @Test(arguments: others.indices) func othersAreRefusedByWhatTheyHave(index: Int) throws {
    let (word, change) = Self.others[index]
    try ModelTests.inFolder { folder in
      var tensors = try Self.tensors(Self.config())
      change(&tensors)
      try Self.write(tensors, to: "\(folder)/m.safetensors")
      #expect { try Checkpoint(path: "\(folder)/m.safetensors", choices: CheckpointChoices(heads: 3)) } throws: { ($0 as? DinoError)?.kind == .unavailable && "\($0)".contains(word) }
    }
  }

  /// A misspelled name is told of as one.
  @Test func missingTensorsAreStillToldOf() throws {
    try ModelTests.inFolder { folder in
      var tensors = try Self.tensors(Self.config())
      for part in ["weight", "bias"] { tensors["nrom.\(part)"] = tensors.removeValue(forKey: "norm.\(part)") }
      try Self.write(tensors, to: "\(folder)/m.safetensors")
      #expect { try Checkpoint(path: "\(folder)/m.safetensors", choices: CheckpointChoices(heads: 3)) } throws: { ($0 as? DinoError)?.kind == .data && "\($0)".contains("nearest: 'nrom.weight'") }
    }
  }
}
