// Files and wishes that lie, through the program: each ends with its code and a sentence, at once, and leaves nothing behind. The readers' own
// hostile files are in the tests of their rooms.

import DinoTensor
import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct HostileInputTests {
  /// The bench's model with one tensor changed, as `name` in its folder.
  private func rewrite(_ bench: Bench, as name: String, _ change: (String, Tensor) -> (String, Tensor)) throws -> String {
    let file = try SafetensorsFile(path: bench.model)
    let tensors = file.names.compactMap { name in file.tensor(name).map { change(name, $0) } }
    let path = "\(bench.folder)/\(name)"
    try SafetensorsWriter.write(tensors.map { (name: $0.0, tensor: $0.1) }, metadata: file.metadata, to: path)
    return path
  }

  private func expectRefusal(_ bench: Bench, _ arguments: [String], status: Int32, naming: String) throws {
    let before = try bench.listing()
    let result = try Tool.run(arguments)
    #expect(result.status == status && result.errors.contains(naming), "\(arguments): \(result.status) \(result.errors)")
    #expect(result.errors.split(separator: "\n").count { $0.hasPrefix("error: ") } == 1, "\(result.errors)")
    #expect(try bench.listing() == before, "\(arguments) left something behind")
  }

  @Test func weightsThatAreNotFiniteGiveNoFeatures() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photo.ppm", Bench.photograph(seed: 1))
    let photo = "\(bench.folder)/photo.ppm"
    let damaged = try rewrite(bench, as: "nan.safetensors") { $0 == "norm.weight" ? ($0, Tensor([Float](repeating: .nan, count: $1.count), shape: $1.shape)) : ($0, $1) }
    try expectRefusal(bench, ["features", "--model", damaged, "-o", "\(bench.folder)/f.jsonl", photo], status: 65, naming: "not finite")
    // A softmax of such values may be finite again: masks must not come of it either.
    let qkv = try rewrite(bench, as: "inf.safetensors") {
      $0 == "blocks.1.attn.qkv.weight" ? ($0, Tensor([Float](repeating: .infinity, count: $1.count), shape: $1.shape)) : ($0, $1)
    }
    try expectRefusal(bench, ["segment", "--model", qkv, "-o", "\(bench.folder)/s", photo], status: 65, naming: "not finite")
  }

  @Test func integersAreNoWeights() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let mislabelled = try rewrite(bench, as: "i32.safetensors") { name, t in
      guard name == "blocks.0.mlp.fc1.weight", let integers = Tensor(dtype: .i32, shape: t.shape, storage: t.storage, byteOffset: t.byteOffset) else { return (name, t) }
      return (name, integers)
    }
    try expectRefusal(bench, ["convert", mislabelled, "\(bench.folder)/c.safetensors"], status: 65, naming: "'blocks.0.mlp.fc1.weight' has elements of type I32")
  }

  @Test func namesFromFilesDoNotSteerTheTerminal() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("two\nlines.png", [1, 2, 3])
    let named = try rewrite(bench, as: "esc.safetensors") { $0 == "norm.bias" ? ("\u{1B}]0;owned\u{7}\nerror: forged", $1) : ($0, $1) }
    for arguments in [["inspect", named, "--tensors"], ["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/two\nlines.png"]] {
      let result = try Tool.run(arguments)
      #expect(result.status == 65)
      let said = result.output + result.errors
      #expect(!said.contains("\u{1B}") && !said.contains("\u{7}") && !said.contains("\nerror: forged") && !said.contains("\nlines.png"), "\(said)")
    }
  }

  @Test func pipesAreNotWaitedFor() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photos/a.ppm", Bench.photograph(seed: 1))
    for name in ["pipe.safetensors", "photos/pipe.png"] { #expect(unsafe mkfifo("\(bench.folder)/\(name)", 0o600) == 0) }
    try expectRefusal(bench, ["inspect", "\(bench.folder)/pipe.safetensors"], status: 66, naming: "not a regular file")
    let result = try Tool.run(["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photos"])
    #expect(result.status == 1 && result.errors.contains("skipped \(bench.folder)/photos/pipe.png: "))
  }

  @Test func aFolderOfTwoModelsIsRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let folder = "\(bench.folder)/hf", config = "hf/config.json"
    #expect(try Tool.run(["convert", bench.model, folder, "--layout", "hf"]).status == 0)
    let honest = String(decoding: try bench.bytes(config), as: UTF8.self)
    for (key, wrong) in [("\"hidden_size\":24", "\"hidden_size\":48"), ("\"num_hidden_layers\":2", "\"num_hidden_layers\":\"2\""), ("\"patch_size\":8", "\"patch_size\":16")] {
      #expect(honest.contains(key))
      try bench.write(config, Array(honest.replacingOccurrences(of: key, with: wrong).utf8))
      try expectRefusal(bench, ["inspect", folder], status: 65, naming: String(key.dropFirst().prefix { $0 != "\"" }))
    }
    try bench.write(config, Array(honest.utf8))
    #expect(try Tool.run(["inspect", folder]).status == 0)
  }

  @Test func impossibleSizesAreRefusedBeforeAnythingIsRead() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photo.ppm", Bench.photograph(seed: 1))
    for size in ["7", "4x100"] {
      try expectRefusal(bench, ["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "--image-size", size, "\(bench.folder)/photo.ppm"], status: 64, naming: "smaller than one patch")
      try expectRefusal(bench, ["segment", "--model", bench.model, "-o", "\(bench.folder)/s", "--image-size", size, "\(bench.folder)/photo.ppm"], status: 64, naming: "smaller than one patch")
      try expectRefusal(bench, ["bench", "--model", bench.model, "--image-size", size], status: 64, naming: "smaller than one patch")
    }
    try bench.write("crop.json", Array(#"{"resize":256,"interpolation":"bicubic","crop":7,"mean":[0,0,0],"std":[1,1,1]}"#.utf8))
    try expectRefusal(bench, ["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "--preprocessing", "\(bench.folder)/crop.json", "\(bench.folder)/photo.ppm"],
                      status: 65, naming: "smaller than one patch")
    // 4 GB of address space stand for a machine with little memory: 30000x30000 needs 13.5 GB before the network begins.
    for command in ["features -o '\(bench.folder)/f.npy' '\(bench.folder)/photo.ppm'", "bench"] {
      let process = Process(), pipe = Pipe()
      process.executableURL = URL(fileURLWithPath: "/bin/sh")
      process.arguments = ["-c", "ulimit -v 4000000; exec '\(Tool.path)' \(command) --threads 1 --model '\(bench.model)' --image-size 30000x30000"]
      process.standardError = pipe
      try process.run()
      let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
      process.waitUntilExit()
      #expect(process.terminationStatus == 69 && said.contains("memory"), "\(command): \(said)")
    }
    #expect(!bench.exists("f.npy"))
  }

  @Test func kernelsThatAreNotHereAreNotReplacedInSilence() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let refused = try Tool.run(["search", "--bank", "\(bench.folder)/none", "--like", "x"], environment: ["DINO_FORCE_ISA": "nonsense"])
    #expect(refused.status == 69 && refused.errors.contains("'nonsense'"), "\(refused.errors)")
    for arguments in [["help", "search"], ["search", "--help"], ["convert", bench.model, "\(bench.folder)/c.safetensors"]] {
      #expect(try Tool.run(arguments, environment: ["DINO_FORCE_ISA": "nonsense"]).status == 0, "\(arguments)")
    }
    for arguments in [["bench", "--model", bench.model, "--repeat", "1"], ["inspect", "--self-test", bench.model]] {
      let result = try Tool.run(arguments, environment: ["DINO_FORCE_ISA": "nonsense"])
      #expect(result.status == 69 && result.errors.contains("'nonsense'") && result.errors.contains("portable"), "\(result.errors)")
      #expect(try Tool.run(arguments, environment: ["DINO_FORCE_ISA": "portable"]).status == 0)
    }
  }

  @Test func threadsThatCannotBeAreNotPassedOverInSilence() throws {
    let search = ["search", "--bank", "/no/such/bank", "--like", "x"]
    for text in ["foo", "-1", "1.5", "1025"] {
      let doctor = try Tool.run(["doctor"], environment: ["DINO_THREADS": text])
      #expect(doctor.status == 69 && doctor.errors.contains("problem: DINO_THREADS is '\(text)'"), "\(doctor.errors)")
      let refused = try Tool.run(search, environment: ["DINO_THREADS": text])
      #expect(refused.status == 64 && refused.errors.contains("'\(text)'"), "\(refused.errors)")
    }
    for text in ["", "0", "2"] { #expect(try Tool.run(search, environment: ["DINO_THREADS": text]).status == 66, "'\(text)'") }
  }

  /// At once, before any work.
  @Test func foldersThatCannotBeWrittenAreRefused() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photo.ppm", Bench.photograph(seed: 1))
    let closed = "\(bench.folder)/closed"
    try FileManager.default.createDirectory(atPath: closed, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o555])
    // Permissions do not hold root; the system's own folders may.
    let candidates: [String] = [closed, "/proc/sys", "/sys"]
    guard let folder = candidates.first(where: { access($0, W_OK) != 0 }) else {
      print("skipped: this user may write in every folder that was tried")
      return
    }
    for arguments in [["quantize", "-o", "\(folder)/q.safetensors"], ["quantize", "-o", "\(bench.folder)/q.safetensors", "--report", "\(folder)/r.json"],
                      ["segment", "-o", folder, "\(bench.folder)/photo.ppm"]] {
      try expectRefusal(bench, arguments + ["--model", bench.model], status: 74, naming: "no file can be made in the folder \(folder)")
    }
    #expect(!bench.exists("q.safetensors"))
  }

  @Test func aFailedCommandLeavesNoEmptyFolder() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("broken.png", [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 1, 2])
    for command in [["segment", "-o"], ["attention", "--output-dir"]] {
      try expectRefusal(bench, command + ["\(bench.folder)/out", "--model", bench.model, "\(bench.folder)/broken.png"], status: 65, naming: "skipped \(bench.folder)/broken.png: a damaged PNG file")
      try expectRefusal(bench, command + ["\(bench.folder)/out", "--model", bench.model, "--strict", "\(bench.folder)/broken.png"], status: 65, naming: "broken.png")
    }
  }
}
