// The original's training loop, recorded, run again: losses at every step, first gradients, final weights.

import Dino
import DinoKernels
import DinoTensor
@testable import DinoTraining
import Foundation
import Safetensors
import Testing
import TestSupport

/// Compares a replay with what its folder records.
private func check(_ folder: String, threads: Int, kernels: String? = nil) throws {
  let replay = try Replay(folder: folder)
  let result = try replay.run(threads: threads, kernels: kernels)
  let json = try JSONValue.parse(String(contentsOfFile: "\(folder)/case.json", encoding: .utf8))
  let losses = (json["losses"]?.arrayValue ?? []).compactMap(\.doubleValue)
  #expect(losses.count == result.losses.count)
  for (i, (a, b)) in zip(result.losses, losses).enumerated() { #expect(abs(a - b) < 1e-4, "loss of step \(i): \(a), recorded \(b)") }
  for (file, tensors, tolerance) in [("step0_gradients", result.firstGradients, 1e-4), ("final", result.final, 1e-3)] {
    let expected = try SafetensorsFile(path: "\(folder)/\(file).safetensors")
    #expect(Set(expected.names) == Set(tensors.map(\.name)), "\(file)")
    var all: (found: [Float], expected: [Float]) = ([], [])
    let size = tensors.reduce(0.0) { $0 + $1.tensor.floats().reduce(0.0) { $0 + Double($1) * Double($1) } }.squareRoot()
    for (name, tensor) in tensors {
      guard let e = expected.tensor(name) else { continue }
      var found = tensor.floats(), want = e.floats()
      // What is added to every row before a batch normalisation is taken away by it: its derivative is zero, and both sides have nothing but rounding.
      if file == "step0_gradients", folder.hasSuffix("batch_norm"), ["backbone.norm.bias", "head.mlp.0.bias", "head.mlp.3.bias"].contains(name) {
        for side in [found, want] { #expect(side.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot() < 1e-5 * size, "\(name)") }
        continue
      }
      // A constant added to all keys changes no softmax: the derivative by a key's bias is zero, what is computed is rounding, and AdamW divides that by its own size. Two
      // correct programs move these biases by different noise (the original's moves 2.4e-3 of the tensor's norm here), so of the weights after training they are no measure: of
      // dinov2_terms two of our instruction sets are 8e-3 and 2.4e-2 of the tensor's norm away, everything else 2e-6. That the derivative is nothing is held to instead.
      if name.hasSuffix("attn.qkv.bias") {
        let third = found.count / 3, keys = third..<2 * third
        if file == "step0_gradients" { for side in [found, want] { #expect(side[keys].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot() < 1e-5 * size, "keys of \(name)") } }
        if file == "final" {
          found.removeSubrange(keys)
          want.removeSubrange(keys)
        }
      }
      let distance = normalizedMeanSquaredError(found, reference: want).squareRoot()
      #expect(distance < tolerance, "\(file) \(name): \(distance)")
      all.found += found
      all.expected += want
    }
    let distance = normalizedMeanSquaredError(all.found, reference: all.expected).squareRoot()
    #expect(distance < tolerance, "\(file) as a whole: \(distance)")
  }
}

@Suite struct ReplayTests {
  @Test(arguments: ["norm_last_layer", "free_last_layer"]) func agreesWithTheOriginal(_ name: String) throws {
    guard let folder = Fixtures.shared("reference/training/\(name)") else {
      print("skipped: no golden data reference/training/\(name)")
      return
    }
    for threads in [1, 2] { try check(folder, threads: threads) }
  }

  /// Cases of our own, written by Tests/Reference/make_training_cases.py: the other optimizers, no local crops, resampled positions, a trained last-layer scale,
  /// batch normalisation in the head with its running statistics; drop path with the factors that were drawn; Sinkhorn-Knopp and KoLeo;
  /// iBOT with the patches that were masked; distillation of features, through projections and without, and by DINO's loss.
  @Test(arguments: ["sgd", "lars", "adamw_no_locals", "batch_norm", "drop_path", "dinov2_terms", "ibot", "ibot_sinkhorn", "distill_features", "distill_plain", "distill_dino"]) func agreesWithCasesOfOurOwn(_ name: String) throws {
    for table in KernelTable.available { try check(Fixtures.path("training/\(name)"), threads: 2, kernels: table.name) }
  }

  /// What a replay tells of the distance is the distance that the tests above measure.
  @Test(arguments: ["sgd", "adamw_no_locals", "drop_path"]) func theComparisonSaysHowFarApartTheyAre(_ name: String) throws {
    let folder = Fixtures.path("training/\(name)")
    var result = try Replay(folder: folder).run(threads: 2)
    let c = try #require(try ReplayComparison(folder: folder, result))
    #expect(try #require(c.losses) < 1e-4)
    #expect(try #require(c.gradients).largest < 1e-4)
    #expect(try #require(c.final).largest < 1e-3)
    // A weight moved by a tenth of itself is found by name, and keys' biases are not counted as one.
    let moved = try #require(result.final.firstIndex { $0.name == "student.backbone.blocks.0.mlp.fc1.weight" }), bias = try #require(result.final.firstIndex { $0.name == "student.backbone.blocks.0.attn.qkv.bias" })
    result.final[moved].tensor = Tensor(result.final[moved].tensor.floats().map { $0 * 1.1 }, shape: result.final[moved].tensor.shape)
    var values = result.final[bias].tensor.floats()
    for i in values.count / 3..<2 * values.count / 3 { values[i] += 3 }
    result.final[bias].tensor = Tensor(values, shape: result.final[bias].tensor.shape)
    result.losses[1] += 0.5
    let other = try #require(try ReplayComparison(folder: folder, result))
    #expect(other.final?.name == "student.backbone.blocks.0.mlp.fc1.weight" && abs((other.final?.largest ?? 0) - 0.1) < 1e-3)
    #expect(other.keyBiases?.name == "student.backbone.blocks.0.attn.qkv.bias" && (other.keyBiases?.largest ?? 0) > 0.5)
    #expect(abs((other.losses ?? 0) - 0.5) < 1e-4)
  }

  /// Why keys' biases are left out: whatever they are, losses are the same.
  @Test func noOutputDependsOnTheBiasesOfKeys() throws {
    let folder = Fixtures.path("training/adamw_no_locals"), file = try SafetensorsFile(path: "\(folder)/initial.safetensors"), crops = try SafetensorsFile(path: "\(folder)/crops.safetensors")
    let settings = try Replay(folder: folder).settings
    func loss(_ change: (Int) -> Float) throws -> Double {
      var weights: [String: Tensor] = [:]
      for name in file.names {
        guard let tensor = file.tensor(name) else { continue }
        var values = tensor.floats()
        if name.hasSuffix("attn.qkv.bias") { for i in values.indices { values[i] += change(i * 3 / values.count) } }
        weights[name.hasPrefix("backbone.") ? String(name.dropFirst("backbone.".count)) : name] = Tensor(values, shape: tensor.shape)
      }
      let trainer = try Trainer(settings, stepsPerEpoch: 2, weights: weights, threads: 1)
      let views = try (0..<2).map { try #require(crops.tensor("step0.crop\($0)")) }
      return trainer.computeGradients(globals: Tensor(views[0].floats() + views[1].floats(), shape: Shape([2 * views[0].shape[0]] + views[0].shape.dims.dropFirst())), locals: nil)
    }
    let plain = try loss { _ in 0 }
    #expect(abs(try loss { $0 == 1 ? 2 : 0 } - plain) < 1e-5)
    #expect(abs(try loss { $0 == 2 ? 2 : 0 } - plain) > 1e-3)
  }

  @Test func malformedCasesAreRefused() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    #expect(throws: DinoError.self) { try Replay(folder: folder.path) }
    for text in ["{}", "[1]", "{\"config\": {\"patch\": 0}}", "{\"config\": {\"patch\": 4, \"img\": 2}}"] {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      for file in ["initial", "crops"] {
        try? FileManager.default.copyItem(atPath: Fixtures.path("training/sgd/\(file).safetensors"), toPath: folder.appendingPathComponent("\(file).safetensors").path)
      }
      try text.write(toFile: folder.appendingPathComponent("case.json").path, atomically: true, encoding: .utf8)
      #expect(throws: DinoError.self) { try Replay(folder: folder.path) }
    }
  }
}
