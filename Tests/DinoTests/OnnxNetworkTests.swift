// Whole networks as every exporter writes them (Tests/Reference/make_onnx_networks.py, and the shared golden data where it is there): run by their own graph against what
// PyTorch or ONNX Runtime computed, recognised as far as the table says, and read back as checkpoints that compute the same.

import Dino
import DinoTensor
import Foundation
import NumPyArrays
import Safetensors
import TestSupport
import Testing

@Suite struct OnnxNetworkTests {
  static let folder = Fixtures.path("onnx-networks")

  /// Files whose every node becomes a Core operator; of each, whether it comes back as a checkpoint too. Others run, in part or whole, operator by operator.
  static let recognised: [String: Bool] = [
    "ts11_after": true, "ts11_fixed_wide": false, "ts13_before_tanh": true, "ts14_both": true, "ts16_split_layerscale": true, "ts17_unfolded": true, "ts20_after": true,
    "dynamo18_before": true, "dynamo20_split_layerscale": true, "dynamo23_after": true, "dynamo18_unoptimized": true,
    "timm_ts17_plain": true, "timm_ts17_sdpa": true, "timm_dynamo18_plain": true, "timm_dynamo18_sdpa": true, "timm_dynamo18_any_size": true,
    "timm_dynamo20_registers": true, "timm_ts17_dinov3": false,
    "hf_ts17_vit_eager": true, "hf_ts17_vit_sdpa": true, "hf_dynamo18_vit": true, "hf_ts17_dinov2": true, "hf_ts14_dinov2_other_size": false, "hf_ts17_dinov2_swiglu": true,
    "hf_dynamo18_dinov2_registers": true, "hf_ts17_dinov3_gated": true, "hf_dynamo18_dinov3_gated": true, "timm_ts17_dinov2_giant": true, "timm_dynamo20_dinov2_giant": true, "hf_ts17_dinov3": true, "hf_dynamo18_dinov3": true,
    "ort_transformers_optimizer": true, "ort_extended": true, "ort_basic": true, "external_data": true,
  ]

  struct Case: Decodable {
    var what: String
    var tolerance: Float?
    var cosine: Double?
  }

  static let cases: [String: Case] = {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: "\(folder)/cases.json")) else { return [:] }
    return (try? JSONDecoder().decode([String: Case].self, from: data)) ?? [:]
  }()

  static func recorded(_ name: String) throws -> [String: Tensor] {
    var results: [String: Tensor] = [:]
    for file in try FileManager.default.contentsOfDirectory(atPath: "\(folder)/\(name)") where file.hasPrefix("output.") {
      results[String(file.dropFirst(7).dropLast(4))] = try NumPyArray.read(path: "\(folder)/\(name)/\(file)")
    }
    return results
  }

  static func input(_ name: String) throws -> Tensor { try NumPyArray.read(path: "\(folder)/\(name)/input.npy") }

  @Test func theTableIsWhole() throws {
    #expect(Self.cases.count >= 48)
    for name in Self.recognised.keys { #expect(Self.cases[name] != nil, "\(name)") }
  }

  @Test(arguments: cases.keys.sorted()) func computesWhatItsExporterSaw(name: String) throws {
    let about = try #require(Self.cases[name])
    let network = try OnnxNetwork(contentsOf: "\(Self.folder)/\(name)/model.onnx")
    let found = try network.run([network.inputs[0].name: Self.input(name)]), expected = try Self.recorded(name)
    #expect(Set(found.keys) == Set(expected.keys) && !expected.isEmpty)
    for (output, tensor) in expected {
      #expect(found[output]?.shape == tensor.shape, "\(name) \(output)")
      let values = found[output]?.floats() ?? []
      if let tolerance = about.tolerance {
        let difference = maxAbsoluteDifference(values, tensor.floats())
        #expect(difference <= tolerance, "\(name) \(output): \(difference)")
      }
      if let least = about.cosine { #expect(cosine(values, tensor.floats()) >= least, "\(name) \(output)") }
    }
  }

  @Test(arguments: recognised.keys.sorted()) func isRecognisedWhole(name: String) throws {
    let summary = try OnnxSummary(path: "\(Self.folder)/\(name)/model.onnx")
    #expect(summary.foreign.isEmpty, "\(name): \(summary.foreign)")
    #expect(summary.coreNodes > 0)
  }

  /// The recovered checkpoint computes what the file does. Networks of this size have `head` widths that no convention tells, so heads come from the file.
  @Test(arguments: recognised.filter(\.value).keys.sorted()) func comesBackAsACheckpoint(name: String) throws {
    let model = try DinoModel(contentsOf: "\(Self.folder)/\(name)/model.onnx")
    for (output, tensor) in try Self.recorded(name) {
      let official = output != "output" ? output : tensor.shape.rank == 2 ? "cls" : "tokens"
      let found = try #require(try model.run([DinoModel.inputName: Self.input(name)], outputs: [official])[official])
      #expect(found.shape == tensor.shape)
      let difference = maxAbsoluteDifference(found.floats(), tensor.floats())
      #expect(difference <= 5e-5, "\(name) \(official): \(difference)")
    }
  }

  @Test(.enabled(if: Fixtures.shared("reference/onnx") != nil, "the shared golden data is not beside this checkout"))
  func sharedReferenceFiles() throws {
    let root = try #require(Fixtures.shared("reference/onnx"))
    var seen = 0
    for name in try FileManager.default.contentsOfDirectory(atPath: root).sorted() {
      let files = try FileManager.default.contentsOfDirectory(atPath: "\(root)/\(name)")
      func arrays(_ kind: String) throws -> [String: Tensor] {
        var found: [String: Tensor] = [:]
        for file in files where file.hasPrefix(kind) && file.hasSuffix(".npy") {
          found[String(file.dropFirst(kind.count).dropLast(4))] = try NumPyArray.read(path: "\(root)/\(name)/\(file)")
        }
        return found
      }
      let results = try OnnxNetwork(contentsOf: "\(root)/\(name)/model.onnx").run(try arrays("input."))
      for (output, expected) in try arrays("output.") {
        let found = results[output]?.floats() ?? []
        if name.hasPrefix("quant") {
          let c = cosine(found, expected.floats())
          #expect(c >= 0.997, "\(name) \(output): cosine \(c)")
        } else {
          let difference = maxAbsoluteDifference(found, expected.floats())
          #expect(difference <= 2e-4, "\(name) \(output): \(difference)")
        }
        seen += 1
      }
    }
    #expect(seen >= 18)
  }
}
