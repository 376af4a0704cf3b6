// Quantized files: what is written computes the same bits when read back, without calibration the bits of --precision int8; calibration makes it better; files whose scales
// and records contradict each other are refused by name.

@testable import Dino
import DinoModels
import DinoRuntime
import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct QuantizationTests {
  private struct Place {
    var folder: String
    var float: String { "\(folder)/float.safetensors" }
    var quantized: String { "\(folder)/quantized.safetensors" }
    let writer: ModelWriter

    init(_ folder: String, head: ViTConfig.Head? = nil) throws {
      self.folder = folder
      writer = try ModelTests.writer(seed: 4, head: head)
      try writer.write(.dino, to: float)
    }

    func write(_ quantizer: ModelQuantizer, quality: QualityReport? = nil) throws {
      try quantizer.write(to: quantized, preprocessing: writer.preprocessing, provenance: writer.provenance, quality: quality)
    }

    func quantizer(kind: QuantizationRecord.Kind = .int8, keeping kept: [String] = []) throws -> ModelQuantizer {
      try ModelQuantizer(config: writer.config, weights: DinoModel(contentsOf: float).checkpoint.weights(), kind: kind, keeping: kept, threads: 2)
    }
  }

  private static func model(_ path: String, _ precision: Precision? = nil) throws -> DinoModel {
    var options = DinoModel.Options()
    options.precision = precision
    return try DinoModel(contentsOf: path, options: options)
  }

  private static let input = [DinoModel.inputName: Tensor(SelfTest.values(seed: 2, count: 2 * 3 * 40 * 24), shape: [2, 3, 40, 24])]

  private static func bits(_ model: DinoModel, _ outputs: [String] = ["tokens"]) throws -> [UInt32] {
    try outputs.flatMap { name in try model.run(input, outputs: [name])[name]!.floats().map(\.bitPattern) }
  }

  @Test func withoutCalibrationItIsPrecisionInt8() throws {
    for head in [nil, ViTConfig.Head.classifier(classes: 5), .projection(.init(layers: 2, hiddenDim: 20, bottleneckDim: 8, outDim: 12))] {
      try ModelTests.inFolder { folder in
        let place = try Place(folder, head: head)
        var quantizer = try place.quantizer()
        // Outliers, so that there is something to fold.
        quantizer.floats["blocks.0.norm1.weight"] = Tensor((0..<24).map { $0 == 3 ? 60 : 1 }, shape: [24])
        var writer = place.writer
        writer.weights["blocks.0.norm1.weight"] = quantizer.floats["blocks.0.norm1.weight"]
        try writer.write(.dino, to: place.float)
        quantizer.foldOutliers()
        try quantizer.roundWeights()
        try place.write(quantizer)
        let loaded = try Self.model(place.quantized)
        #expect(loaded.precision == .int8 && loaded.checkpoint.record?.quantization?.tensors.count == writer.config.quantizableWeights.count)
        let outputs = ["tokens"] + (head == nil ? [] : [loaded.outputNames[5]])
        #expect(try Self.bits(loaded, outputs) == Self.bits(Self.model(place.float, .int8), outputs))
        #expect(byteCount(ofFile: place.quantized) < byteCount(ofFile: place.float))
        // In f32 it is the network of the quantized weights.
        let expanded = try Session(ViTGraphBuilder.build(config: writer.config, weights: quantizer.dequantized())).run(Self.input, outputs: ["tokens"])["tokens"]!.floats().map(\.bitPattern)
        #expect(try Self.bits(Self.model(place.quantized, .f32)) == expanded)
        #expect(try loaded.checkpoint.weights()["patch_embed.proj.weight"]?.dtype == .f32)
        let tests = try Self.model(place.quantized, .f32).selfTest()
        #expect(tests.count == 2 && tests.allSatisfy { $0.comparison.passed == true })
      }
    }
  }

  @Test func calibratedFilesComeBackAsMeasured() throws {
    try ModelTests.inFolder { folder in
      let place = try Place(folder), reference = try Self.model(place.float, .f32)
      let images = try (0..<6).map { try reference.preparer().prepare(ModelTests.photograph(width: 40, height: 44, seed: UInt64($0))) }
      var quantizer = try place.quantizer(keeping: ["blocks.1.attn.qkv"])
      try quantizer.calibrate(images)
      try quantizer.measureSensitivity(images, reference: reference)
      let report = try quantizer.measure(images, reference: reference)
      try place.write(quantizer, quality: report)
      let first = try Data(contentsOf: URL(fileURLWithPath: place.quantized))
      try place.write(quantizer, quality: report)
      #expect(try Data(contentsOf: URL(fileURLWithPath: place.quantized)) == first)
      let loaded = try Self.model(place.quantized)
      let session = try quantizer.session()
      #expect(try Self.bits(loaded) == session.run(Self.input, outputs: ["tokens"])["tokens"]!.floats().map(\.bitPattern))
      let record = try #require(loaded.checkpoint.record?.quantization)
      #expect(record.quality?["cosine_mean"] == report.classToken.mean && record.calibrationDigest?.count == 64)
      #expect(record.tensors["blocks.1.attn.qkv.weight"] == nil && record.tensors["blocks.0.attn.qkv.weight"]?.kind == .int8)
      #expect(record.sensitivity?.count == record.tensors.count && record.scheme.contains("1 layer"))
      #expect(loaded.checkpoint.storedTensors.first { $0.name == "blocks.1.attn.qkv.weight" }?.dtype == .bf16)
      #expect(report.classToken.mean > 0.99)
    }
  }

  /// A channel 40 times as strong as the others, in the norms and in the values: the factors that calibration finds take it away.
  @Test func calibrationEvensChannels() throws {
    try ModelTests.inFolder { folder in
      let place = try Place(folder)
      var weights = try DinoModel(contentsOf: place.float).checkpoint.weights()
      let d = 24
      // Started as for training, the blocks would hardly change what passes through them.
      for (name, tensor) in weights where name.hasPrefix("blocks.") && tensor.shape.rank == 2 { weights[name] = Tensor(tensor.floats().map { 8 * $0 }, shape: tensor.shape) }
      for block in 0..<2 {
        for (norm, layer) in [("norm1", "attn.qkv"), ("norm2", "mlp.fc1")] {
          for name in ["\(norm).weight", "\(norm).bias"] {
            var v = weights["blocks.\(block).\(name)"]!.floats()
            v[5] *= 40
            weights["blocks.\(block).\(name)"] = Tensor(v, shape: [d])
          }
          weights["blocks.\(block).\(layer).weight"] = multipliedColumns(weights["blocks.\(block).\(layer).weight"]!, by: (0..<d).map { $0 == 5 ? 1 / 40 : 1 })
        }
        var qkv = weights["blocks.\(block).attn.qkv.weight"]!.floats()
        for i in 0..<d { qkv[(2 * d + 7) * d + i] *= 40 }
        weights["blocks.\(block).attn.qkv.weight"] = Tensor(qkv, shape: [3 * d, d])
        weights["blocks.\(block).attn.proj.weight"] = multipliedColumns(weights["blocks.\(block).attn.proj.weight"]!, by: (0..<d).map { $0 == 7 ? 1 / 40 : 1 })
      }
      var writer = place.writer
      writer.weights = weights
      try writer.write(.dino, to: place.float)
      let reference = try Self.model(place.float, .f32)
      let images = try (0..<6).map { try reference.preparer().prepare(ModelTests.photograph(width: 40, height: 44, seed: UInt64($0))) }
      func loss(_ steps: CalibrationSteps?) throws -> Double {
        var q = try ModelQuantizer(config: writer.config, weights: weights, threads: 2)
        if let steps { try q.calibrate(images, steps: steps) } else { try q.roundWeights() }
        return try 1 - q.measure(images, reference: reference).patchTokens.mean
      }
      let naive = try loss(nil), scaled = try loss(.scaling), all = try loss(.all)
      #expect(scaled < 0.5 * naive && all < scaled, "naive \(naive), scaled \(scaled), all \(all)")
      // Factors change no number in exact arithmetic.
      var q = try ModelQuantizer(config: writer.config, weights: weights, threads: 2)
      try q.calibrate(images, steps: .scaling)
      let before = try reference.run(Self.input, outputs: ["tokens"])["tokens"]!.floats()
      let after = try Session(ViTGraphBuilder.build(config: writer.config, weights: q.floats)).run(Self.input, outputs: ["tokens"])["tokens"]!.floats()
      #expect(maxAbsoluteDifference(before, after) < 1e-4)
    }
  }

  @Test func fourBitsAreAFormOfTheFile() throws {
    try ModelTests.inFolder { folder in
      let place = try Place(folder)
      var quantizer = try place.quantizer(kind: .int4)
      try quantizer.roundWeights()
      try place.write(quantizer)
      let loaded = try Self.model(place.quantized)
      #expect(loaded.precision == .f32)
      let session = try quantizer.session()
      #expect(try Self.bits(loaded) == session.run(Self.input, outputs: ["tokens"])["tokens"]!.floats().map(\.bitPattern))
      #expect(loaded.checkpoint.storedTensors.first { $0.name == "blocks.0.mlp.fc1.weight" } == StoredTensor(name: "blocks.0.mlp.fc1.weight", dtype: .u8, shape: [96, 16]))
      #expect(try loaded.selfTest().allSatisfy { $0.comparison.passed == true })
    }
  }

  @Test func contradictionsAreRefusedByName() throws {
    try ModelTests.inFolder { folder in
      let place = try Place(folder)
      for kind in [QuantizationRecord.Kind.int8, .int4] {
        var quantizer = try place.quantizer(kind: kind)
        try quantizer.roundWeights()
        try place.write(quantizer)
        let file = try SafetensorsFile(path: place.quantized), weight = "blocks.0.mlp.fc2.weight", scale = "blocks.0.mlp.fc2.weight_scale"
        func refused(_ why: String, _ change: (inout [(name: String, tensor: Tensor)], inout [String: String]) -> Void) throws {
          var tensors = file.names.map { (name: $0, tensor: file.tensor($0)!) }, metadata = file.metadata
          change(&tensors, &metadata)
          let path = "\(folder)/hostile.safetensors"
          try SafetensorsWriter.write(tensors, metadata: metadata, to: path)
          do {
            _ = try DinoModel(contentsOf: path).run(Self.input, outputs: ["cls"])
            Issue.record("\(kind): \(why) was read")
          } catch {
            #expect(error.kind == .data && error.message.contains(why), "\(kind): \(error)")
          }
        }
        func replace(_ tensors: inout [(name: String, tensor: Tensor)], _ name: String, _ change: (Tensor) -> Tensor) {
          let i = tensors.firstIndex { $0.name == name }!
          tensors[i].tensor = change(tensors[i].tensor)
        }
        func same(_ t: Tensor, _ change: (inout [Float]) -> Void) -> Tensor {
          var v = t.floats()
          change(&v)
          return t.dtype == .f32 ? Tensor(v, shape: t.shape) : try! Tensor(v, shape: t.shape).converted(to: t.dtype)
        }
        try refused("'\(scale)' is missing") { t, _ in t.removeAll { $0.name == scale } }
        try refused("'\(scale)' is F32 [23]") { t, _ in replace(&t, scale) { _ in Tensor([Float](repeating: 1, count: 23), shape: [23]) } }
        for bad in [Float.nan, .infinity, 0, -1] { try refused("'\(scale)' has scales that are not finite and positive") { t, _ in replace(&t, scale) { same($0) { $0[1] = bad } } } }
        try refused("'\(weight)' has the value") { t, _ in
          replace(&t, weight) { w in
            var bytes = [UInt8](w.unsafeBytes)
            bytes[5] = kind == .int8 ? 0x80 : 0x70
            return Tensor.copy(bytes, dtype: w.dtype, shape: w.shape)
          }
        }
        try refused("'\(weight)' is F32") { t, _ in replace(&t, weight) { Tensor([Float](repeating: 0, count: $0.count), shape: $0.shape) } }
        // The record does not list what is there, or lists what is not.
        let text = try #require(file.metadata["dino.quantization"])
        try refused("'\(scale)' has scales of a weight that dino.quantization does not list") { _, m in m["dino.quantization"] = text.replacingOccurrences(of: "\"\(weight)\":{\"kind\":\"\(kind.rawValue)\",\"shape\":[24,96]},", with: "") }
        try refused(kind == .int8 ? "elements of type I8" : "shape") { t, m in
          m["dino.quantization"] = nil
          t.removeAll { $0.name.hasSuffix("_scale") }
        }
        for (from, to, why) in [("\"version\":1", "\"version\":2", "version"), ("\"kind\":\"\(kind.rawValue)\"", "\"kind\":\"int3\"", "int3"), ("[24,96]", "[24,-96]", "shape"), ("[24,96]", "[9223372036854775807,2]", "shape"),
                                ("\"calibration_digest\":null", "\"calibration_digest\":\"xyz\"", "calibration_digest"),
                                ("\"calibration_digest\":null", "\"calibration_digest\":null,\"model_digest\":\"ABC\"", "model_digest"), ("\"scheme\"", "\"skeme\"", "scheme")] {
          try refused(why) { _, m in m["dino.quantization"] = text.replacingOccurrences(of: from, with: to) }
        }
      }
    }
  }

  @Test func whatCannotBeQuantizedIsNamed() throws {
    try ModelTests.inFolder { folder in
      let place = try Place(folder)
      var weights = place.writer.weights
      #expect(throws: DinoError.self) { try ModelQuantizer(config: place.writer.config, weights: weights, keeping: ["blocks.9.attn.qkv"]) }
      weights["blocks.1.attn.proj.weight"] = Tensor([Float](repeating: .nan, count: 576), shape: [24, 24])
      do {
        _ = try ModelQuantizer(config: place.writer.config, weights: weights)
        Issue.record("weights that are no numbers were taken")
      } catch let error as DinoError { #expect(error.kind == .data && error.message.contains("blocks.1.attn.proj.weight")) }
    }
  }
}
