// dinoctl export: what it writes in each form, what --verify says, and that a failed command leaves nothing behind.

import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct ExportCommandTests {
  @Test(arguments: [[], ["--qkv", "split"], ["--dtype", "f16"], ["--quantized"], ["--external-data"], ["--fixed"]]) func verifiesWhatItWrote(_ more: [String]) throws {
    let bench = try Bench()
    defer { bench.remove() }
    let before = try bench.listing()
    let result = try Tool.run(["export", "--model", bench.model, "--onnx", "\(bench.folder)/out.onnx", "--outputs", "cls,tokens", "--verify", "--json", "--quiet"] + more)
    #expect(result.status == 0, "\(result.errors)")
    let json = try JSONValue.parse(result.output)
    #expect((json["largest_difference_as_stored"]?.doubleValue ?? 1) <= 1e-4)
    // Nothing but the files is left: the folder of the check is gone.
    let wanted = more.contains("--external-data") ? ["out.onnx", "out.onnx.data"] : ["out.onnx"]
    #expect(try bench.listing().filter { !before.contains($0) } == wanted)
  }

  @Test func verificationThatFailsKeepsWhatWasThere() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("out.onnx", Array("earlier".utf8))
    let before = try bench.listing()
    let result = try Tool.run(["export", "--model", bench.model, "--onnx", "\(bench.folder)/out.onnx", "--quantized", "--verify", "--atol", "0"])
    #expect(result.status == 65 && result.errors.contains("'cls'") && result.errors.contains("0.0 is allowed"), "\(result.errors)")
    #expect(try bench.bytes("out.onnx") == Array("earlier".utf8) && bench.listing() == before)
    // A bound that no arithmetic keeps says nothing against the exporter.
    let strict = try Tool.run(["export", "--model", bench.model, "--onnx", "\(bench.folder)/out.onnx", "--verify", "--atol", "0"])
    #expect((strict.status == 65 || strict.status == 0) && !strict.errors.contains("defect"), "\(strict.errors)")
  }

  @Test func quantizedWithAndWithoutAValue() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.photographs("photos", count: 3)
    var sizes: Set<Int> = []
    for more in [[], ["--quantized"], ["--quantized", "dynamic"], ["--quantized", "--calibration", "\(bench.folder)/photos"]] {
      let result = try Tool.run(["export", "--model", bench.model, "--onnx", "\(bench.folder)/out.onnx", "--json", "--quiet"] + more)
      #expect(result.status == 0, "\(more): \(result.errors)")
      let nodes = try #require(JSONValue.parse(result.output)["nodes"]?.integerValue)
      let isNew = sizes.insert(nodes).inserted
      #expect(isNew, "\(more) has the nodes of another form")
    }
    try bench.write("photos/zzz.png", [1, 2, 3])
    let skipping = try Tool.run(["export", "--model", bench.model, "--onnx", "\(bench.folder)/out.onnx", "--quantized", "--calibration", "\(bench.folder)/photos"])
    #expect(skipping.status == 1 && skipping.errors.contains("zzz.png"), "\(skipping.errors)")
  }

  @Test(arguments: [
    (["--calibration", "F/photos"], 64, "--quantized"), (["--quantized", "dynamic", "--least-cosine", "2"], 64, "--least-cosine"), (["--quantized", "--mean", "0.5,0.5,0.5"], 64, "--calibration"),
    (["--least-cosine", "0.9"], 64, "--calibration"), (["--quantized", "--least-cosine", "0.9"], 64, "dynamic"), (["--quantized", "dynamic", "--calibration-images", "2"], 64, "--calibration-images"),
    (["--quantized", "nonsense"], 64, "nonsense"), (["--atol", "1"], 64, "--verify"), (["--opset", "12"], 64, "12"), (["--qkv", "none"], 64, "none"),
    (["--quantized", "--calibration", "F/nothing"], 66, "nothing"), (["--outputs", "nonsense"], 64, "nonsense"), (["--image-size", "40"], 64, "--fixed"), (["--batch-size", "1"], 64, "takes every batch"),
  ]) func refusals(_ more: [String], _ status: Int32, _ named: String) throws {
    let bench = try Bench()
    defer { bench.remove() }
    let result = try Tool.run(["export", "--model", bench.model, "--onnx", "\(bench.folder)/out.onnx"] + more.map { $0.replacingOccurrences(of: "F/", with: "\(bench.folder)/") })
    #expect(result.status == status && result.errors.contains(named), "\(result.status) \(result.errors)")
    #expect(!bench.exists("out.onnx"))
  }
}
