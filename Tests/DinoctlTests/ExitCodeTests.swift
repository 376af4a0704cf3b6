// The exit code and the sentence of every kind of failure, and where text goes. One table of wrong commands.

import Foundation
import Safetensors
import TestSupport
import Testing

@Suite struct ExitCodeTests {
  /// A wrong command, what it ends with, and what the sentence must name.
  struct Case: Sendable, CustomStringConvertible {
    var arguments: [String]
    var status: Int32
    var named: String
    var description: String { arguments.joined(separator: " ") }
  }

  /// M stands for the model, F for the folder.
  static let cases: [Case] = [
    .init(arguments: ["nonsense"], status: 64, named: "nonsense"),
    .init(arguments: ["inspect", "M", "--nonsense"], status: 64, named: "--nonsense"),
    .init(arguments: ["features", "--model", "M", "F/photo.ppm"], status: 64, named: "output"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.txt", "F/photo.ppm"], status: 64, named: ".npy"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.npy", "--tokens", "patch", "F/photo.ppm"], status: 64, named: "patch"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.npy", "--layers", "9", "F/photo.ppm"], status: 64, named: "layers"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.npy", "--mean", "1,2", "F/photo.ppm"], status: 64, named: "mean"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.npy", "--image-size", "0", "F/photo.ppm"], status: 64, named: "image-size"),
    .init(arguments: ["segment", "--model", "M", "-o", "F/s", "--head", "3", "F/photo.ppm"], status: 64, named: "head 3"),
    .init(arguments: ["segment", "--model", "M", "-o", "F/s", "--mass", "1.5", "F/photo.ppm"], status: 64, named: "--mass"),
    .init(arguments: ["run", "--model", "M", "--input", "F/x.npy", "--output-dir", "F/o", "--outputs", "nonsense"], status: 66, named: "x.npy"),
    .init(arguments: ["init", "--arch", "vit_nonsense", "-o", "F/n.safetensors"], status: 64, named: "vit_nonsense"),
    // A published name says its patch.
    .init(arguments: ["init", "--arch", "dino_vits8", "--image-size", "7", "-o", "F/n.safetensors"], status: 64, named: "no patch of 8 pixels"),
    .init(arguments: ["bench", "--train", "--arch", "dino_vitb8", "--global-size", "7"], status: 64, named: "no patch of 8 pixels"),
    .init(arguments: ["train", "--data", "F/photo.ppm", "--output-dir", "F/o", "--arch", "dino_vits8", "--global-size", "7"], status: 64, named: "a patch of 8 pixels"),
    .init(arguments: ["inspect", "F/nothing.pth"], status: 66, named: "nothing.pth"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.npy", "F/nothing.png"], status: 66, named: "nothing.png"),
    .init(arguments: ["features", "--model", "F/nothing", "-o", "F/x.npy", "F/photo.ppm"], status: 66, named: "nothing"),
    .init(arguments: ["inspect", "F/text.safetensors"], status: 65, named: "text.safetensors"),
    .init(arguments: ["inspect", "F/text.pth"], status: 65, named: "text.pth"),
    .init(arguments: ["inspect", "F/empty.safetensors"], status: 65, named: "empty.safetensors"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.npy", "F/broken.png"], status: 65, named: "1 inputs"),
    .init(arguments: ["features", "--model", "M", "-o", "F/none/x.npy", "F/photo.ppm"], status: 74, named: "F/none"),
    .init(arguments: ["segment", "--model", "M", "-o", "F/s", "--method", "guess", "F/photo.ppm"], status: 64, named: "guess"),
    .init(arguments: ["inspect", "F/graph.onnx"], status: 65, named: "ONNX"),
    // What would not be read is refused.
    .init(arguments: ["plan", "--arch", "vit_small", "--width", "7"], status: 64, named: "--arch says"),
    .init(arguments: ["plan", "--model", "M", "--patch-size", "8"], status: 64, named: "--model says"),
    .init(arguments: ["convert", "M", "F/p.pth", "--plain"], status: 64, named: "F/p.pth"),
    .init(arguments: ["convert", "M", "F/p.pth", "--layout", "dino"], status: 64, named: "F/p.pth"),
    .init(arguments: ["convert", "M", "F/p.safetensors", "--plain", "--preprocessing", "F/p.json"], status: 64, named: "--preprocessing goes"),
    .init(arguments: ["convert", "M", "F/p.pth", "--preprocessing", "F/p.json"], status: 64, named: "--preprocessing goes"),
    .init(arguments: ["train", "--replay", "F/case", "--output-dir", "F/o", "--lr", "5"], status: 64, named: "--lr does not go"),
    .init(arguments: ["train", "--replay", "F/case", "--output_dir=F/o", "--stop-after", "1"], status: 64, named: "--stop-after does not go"),
    .init(arguments: ["train", "--replay", "F/case", "--output-dir", "F/o", "--weight_decay=1"], status: 64, named: "--weight-decay does not go"),
    .init(arguments: ["finetune", "--task", "segmentation", "--model", "M", "--data", "F/x", "--masks", "F/y", "-o", "F/s.safetensors", "--epochs", "50"], status: 64, named: "--epochs goes"),
    .init(arguments: ["finetune", "--model", "M", "--data", "F/x", "--output-dir", "F/o", "--patches", "5"], status: 64, named: "--patches goes"),
    .init(arguments: ["linear", "--model", "M", "--train", "F", "-o", "F/l.safetensors", "--lr", "0.1"], status: 64, named: "--lr goes"),
    .init(arguments: ["linear", "--model", "M", "--train", "F", "-o", "F/l.safetensors", "--method", "sgd", "--c", "3"], status: 64, named: "--c goes"),
    .init(arguments: ["quantize", "--model", "M", "-o", "F/q.safetensors", "--limit", "3"], status: 64, named: "--limit needs"),
    .init(arguments: ["quantize", "--model", "M", "-o", "F/q.safetensors", "--weights", "int4", "--calibration", "F", "--most-kept", "3"], status: 64, named: "--most-kept goes"),
    .init(arguments: ["quantize", "--model", "M", "-o", "F/q.safetensors", "--weights", "int4", "--calibration", "F", "--steps", "rounding,scaling"], status: 64, named: "--steps scaling goes"),
    .init(arguments: ["segment", "--model", "M", "-o", "F/s", "--method", "lost", "--mass", "0.5", "F/photo.ppm"], status: 64, named: "--mass goes"),
    .init(arguments: ["segment", "--model", "M", "-o", "F/s", "--tau", "0.5", "F/photo.ppm"], status: 64, named: "--tau goes"),
    .init(arguments: ["video", "--model", "M", "-o", "F/v", "--top-k", "3", "F/photo.ppm"], status: 64, named: "--top-k goes with --mask"),
    .init(arguments: ["evaluate", "retrieval", "F/x", "--model", "M", "--alpha", "2"], status: 64, named: "--alpha goes with --expand"),
    .init(arguments: ["evaluate", "retrieval", "F/x", "--model", "M", "--ground-truth", "F/g.json", "--by", "name"], status: 64, named: "--by goes without"),
    .init(arguments: ["train", "--data", "F/photo.ppm", "--output-dir", "F/o", "--knn-every", "2"], status: 64, named: "--knn-every needs"),
    .init(arguments: ["train", "--data", "F/photo.ppm", "--output-dir", "F/o", "--ibot-mask-shape", "random"], status: 64, named: "--ibot-mask-shape needs"),
    .init(arguments: ["train", "--data", "F/photo.ppm", "--output-dir", "F/o", "--precision", "int8"], status: 69, named: "int8"),
    .init(arguments: ["init", "--arch", "vit_tiny", "-o", "F/n.pth"], status: 64, named: ".safetensors"),
    .init(arguments: ["quantize", "--model", "M", "-o", "F/n.pth"], status: 64, named: ".safetensors"),
    .init(arguments: ["convert", "M", "F/n.bin"], status: 64, named: ".pth"),
    .init(arguments: ["convert", "M", "F/n", "--plain"], status: 64, named: ".safetensors"),
    .init(arguments: ["export", "--model", "M", "--onnx", "F/n.txt"], status: 64, named: ".onnx"),
    .init(arguments: ["search", "--bank", "F/none", "--like", "x", "--contact-sheet", "F/s.jpg"], status: 64, named: ".png"),
    // A number below 0 is a value.
    .init(arguments: ["segment", "--model", "M", "-o", "F/s", "--method", "tokencut", "--tau", "-2", "F/photo.ppm"], status: 64, named: "not -2.0"),
    .init(arguments: ["duplicates", "F/photo.ppm", "--model", "M", "--threshold", "-1.5"], status: 64, named: "not -1.5"),
    .init(arguments: ["search", "--bank", "F/none", "--like", "x", "--threshold", "-0.5"], status: 66, named: "F/none"),
    .init(arguments: ["search", "--bank", "F/none", "--like", "x", "--threshold", "nan"], status: 64, named: "not nan"),
    .init(arguments: ["features", "--model", "M", "-o", "F/x.npy", "--mean", "-0.5,0,0.5", "F/nothing.png"], status: 66, named: "nothing.png"),
    .init(arguments: ["export", "--model", "M", "--onnx", "F/x.onnx", "--mean", "-0.5,0,0.5"], status: 64, named: "--calibration"),
    .init(arguments: ["evaluate", "copy-detection", "--originals", "F/none", "--copies", "F/none", "--model", "M", "--mean", "-0.5,0,0"], status: 66, named: "F/none"),
  ]

  @Test(arguments: cases) func endsWithItsCode(_ wrong: Case) throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photo.ppm", Bench.photograph(seed: 1))
    try bench.write("text.safetensors", Array("this is no tensor file at all".utf8))
    try bench.write("text.pth", Array("nor is this".utf8))
    try bench.write("empty.safetensors", [])
    try bench.write("broken.png", [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A, 1, 2, 3])
    try bench.write("graph.onnx", [8, 9, 18, 4])
    let before = try bench.listing()
    let arguments = wrong.arguments.map { $0 == "M" ? bench.model : $0.hasPrefix("F/") ? "\(bench.folder)/\($0.dropFirst(2))" : $0 }
    let result = try Tool.run(arguments)
    #expect(result.status == wrong.status, "\(result.errors)")
    #expect(result.errors.contains(wrong.named.replacingOccurrences(of: "F/", with: "\(bench.folder)/")), "\(result.errors)")
    // Nothing but inspect, which says what it found before it says what is wrong, has anything to say on standard output.
    #expect(result.output.isEmpty, "\(result.output)")
    #expect(try bench.listing() == before, "a failed command left something behind")
  }

  /// Refused before a file is looked at: what is typed, and what the sentence must name.
  static let refused: [(typed: String, named: String)] = [
    // A mode's flags with another mode.
    ("bench --train --arch vit_tiny --image-size 64", "--image-size goes with --decode or --model, not with --train"), ("bench --train --arch vit_tiny --outputs cls", "--outputs goes"),
    ("bench --train --model m.pth", "two things to time"), ("bench --decode p --outputs foo", "--outputs goes"), ("bench --decode p --profile", "--profile goes"), ("bench --decode p --batch 4", "--batch goes"),
    ("bench --decode p --precision bf16", "--precision goes"), ("bench --decode p --heads 3", "--heads goes with --model"), ("bench --model m.pth --global-size 96", "--global-size goes"),
    ("bench --model m.pth --out-dim=5", "--out-dim goes"), ("bench --model m.pth --batch 2 --batch-size 3", "the same number"), ("plan --model m.pth --batch 5 --batch-size 2", "the same number"),
    ("plan --arch vit_tiny --checkpoint-key student", "--checkpoint-key goes with --model"),
    ("index -o b --export b.npy --links 5", "--links goes with --approximate"), ("index -o b --export b.npy --recall 0.5", "--recall goes"), ("index -o b --export b.npy --table foo", "--table goes"),
    ("index -o b --export b.npy --tokens mean", "--tokens goes"), ("index -o b --compact --precision int8", "--precision goes"), ("index -o b --compact --dtype int8", "--dtype goes"),
    ("search --bank b --like r --model m.pth", "--model goes"), ("search --bank b --like r --mean 1,1,1", "--mean goes"), ("search --bank b --like r --exif-orientation", "--exif-orientation goes"),
    ("linear --model m.pth --train t -o l.safetensors --wrong", "--wrong goes"), ("convert m.safetensors n.safetensors --lossy", "--lossy goes"),
    ("quantize --model m.pth -o q.safetensors --strict", "--strict needs"), ("quantize --model m.pth -o q.safetensors --precision bf16", "--precision is not read"),
    ("quantize --model m.pth -o q.safetensors --calibration p --batch-size 2", "--batch-size is not read"),
    ("inspect m.pth --precision int8", "--precision goes with --self-test"), ("inspect m.pth --self-test --batch-size 7", "--batch-size is not read"), ("inspect m.onnx --heads 7", "--heads goes"),
    ("bench --train", "vit_7b, dino_vits16"),
    // A misspelled name is told beside the nearest.
    ("inspct m.pth", "did you mean 'inspect'"), ("featrues --help", "did you mean 'features'"), ("help nosuch", "there is no command 'nosuch'"), ("evaluate retreival x", "did you mean 'evaluate retrieval'"),
    ("features --modle m.pth -o x.npy p", "did you mean '--model'"), ("evaluate retrieval --by folder --modle x y", "dinoctl evaluate retrieval has no option '--modle'"), ("features --model m.pth p", "Missing expected argument '--output"),
    // Also where something else is wrong for it.
    ("index -o b --romove p", "did you mean '--remove'"), ("finetune --data p --outputdir x", "did you mean '--output-dir'"), ("linear --train p --outptu x", "did you mean '--output'"),
    ("train --data p --output-dir x --worker 0", "dinoctl train has no option '--worker'"), ("features --model m.pth -o x.npy p --tresh 3", "dinoctl features has no option '--tresh'"),
    ("--generate-completion-script nosuch", "completion scripts for 'nosuch'"),
    // A number below 0 is a value.
    ("train --data p --output-dir x --saveckp-freq -1", "--saveckp-freq must not be negative"), ("train --data p --output-dir x --num-workers -1", "not -1"),
    ("train --data p --output-dir x --save-minutes -0.5", "not -0.5"), ("train --data p --output-dir x --seed -1", "'-1' is invalid for '--seed"), ("knn --train t -k -1", "'-1' is invalid for '-k"),
    // Of several values only the first can be told from an option.
    ("train --data p --output-dir x --local_crops_scale 0.05 -0.4", "'-0.4' is no option, and as a value it must be from 0 on"),
  ]

  /// One image at a time is run by these.
  static let withoutBatches = [
    "inspect m.pth --self-test", "quantize --model m.pth -o q.safetensors", "segment --model m.pth -o s p", "video --model m.pth -o v p", "evaluate retrieval p --model m.pth",
    "evaluate segmentation --model m.pth --images p --masks q", "evaluate video-segmentation p --model m.pth", "finetune --task segmentation --model m.pth --data p --masks q -o s.safetensors",
  ]

  @Test func whatIsNotReadOrNotKnownIsRefused() throws {
    for (typed, named) in Self.refused + Self.withoutBatches.map({ ("\($0) --batch-size 2", "--batch-size is not read by") }) {
      let result = try Tool.run(typed.split(separator: " ").map(String.init))
      #expect(result.status == 64 && result.output.isEmpty && result.errors.contains(named), "\(typed): \(result.status) \(result.errors)")
    }
  }

  @Test func helpAndVersionAreResults() throws {
    let version = try Tool.run(["--version"])
    #expect(version.status == 0 && version.output.contains("0.1.0") && version.errors.isEmpty)
    for command in ["inspect", "convert", "init", "run", "features", "attention", "segment", "bench", "doctor"] {
      let help = try Tool.run([command, "--help"])
      #expect(help.status == 0 && help.output.contains("USAGE: dinoctl \(command)") && help.errors.isEmpty, "\(command)")
    }
    #expect(try Tool.run(["help", "help"]).status == 0)
    for shell in ["bash", "zsh", "fish"] {
      let script = try Tool.run(["--generate-completion-script", shell])
      #expect(script.status == 0 && script.output.contains("segment"), "\(shell)")
    }
  }

  /// A value whose name says that it is a path is completed as one.
  @Test func pathsAreCompleted() throws {
    let script = try Tool.run(["--generate-completion-script", "zsh"]).output
    #expect(script.components(separatedBy: ":_files").count > 60)
    for line in script.components(separatedBy: "\n") where line.hasSuffix(":'") {
      let name = line.components(separatedBy: ":").dropLast().last ?? ""
      let isPath = name == "out" || name == "path" || ["file", "folder", "dir", "bank", ".npy", ".json", ".png"].contains { name.contains($0) }
      #expect(!isPath, "\(line)")
    }
  }

  @Test func jsonIsAloneOnStandardOutput() throws {
    let bench = try Bench()
    defer { bench.remove() }
    try bench.write("photo.ppm", Bench.photograph(seed: 1))
    let commands: [[String]] = [
      ["inspect", bench.model, "--self-test"],
      ["features", "--model", bench.model, "-o", "\(bench.folder)/f.npy", "\(bench.folder)/photo.ppm"],
      ["segment", "--model", bench.model, "-o", "\(bench.folder)/s", "\(bench.folder)/photo.ppm"],
      ["attention", "--model", bench.model, "--output-dir", "\(bench.folder)/a", "\(bench.folder)/photo.ppm"],
      ["bench", "--model", bench.model, "--repeat", "2", "--threads", "1"],
      ["convert", bench.model, "\(bench.folder)/c.safetensors"],
      ["doctor"],
    ]
    for command in commands {
      let result = try Tool.run(command + ["--json", "--quiet"])
      #expect(result.status == 0, "\(command): \(result.errors)")
      _ = try JSONValue.parse(result.output)
    }
  }

  @Test func aTrainingStepIsTimedAtItsBatch() throws {
    let tiny = ["--global-size", "32", "--local-size", "16", "--local-crops", "0", "--out-dim", "64", "--repeat", "1", "--threads", "1", "--json"]
    let result = try Tool.run(["bench", "--train", "--arch", "vit_tiny", "--batch-size", "3"] + tiny)
    #expect(result.status == 0, "\(result.errors)")
    #expect(try JSONValue.parse(result.output)["batch"]?.integerValue == 3)
  }

  @Test func benchGivesItsFields() throws {
    let bench = try Bench()
    defer { bench.remove() }
    let result = try Tool.run(["bench", "--model", bench.model, "--precision", "f32", "--batch", "2", "--image-size", "40", "--threads", "1", "--repeat", "3", "--json"])
    let json = try JSONValue.parse(result.output)
    for key in ["milliseconds_per_image", "minimum", "images_per_second", "gflop", "share_of_peak"] {
      #expect((json[key]?.doubleValue ?? 0) > 0, "\(key)")
    }
    #expect(json["batch"]?.integerValue == 2 && json["image_size"]?.integerValue == 40 && json["threads"]?.integerValue == 1 && json["repeat"]?.integerValue == 3)
    #expect((json["peak_memory_bytes"]?.integerValue ?? 0) > 1 << 20)
    #expect(json["isa"]?.stringValue?.isEmpty == false && json["model"]?.stringValue == bench.model && json["precision"]?.stringValue == "f32")
  }
}
