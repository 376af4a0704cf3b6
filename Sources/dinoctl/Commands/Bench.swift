// dinoctl bench: how fast a model runs here, on random input, with the plan made beforehand. One process, one model, one shape.

internal import ArgumentParser
internal import Dino
internal import DinoGraph
internal import DinoKernels
internal import DinoRuntime
internal import DinoModels
internal import DinoTensor
internal import Safetensors
#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

enum BenchHelp: SharedHelp {
  static var model: String { "The checkpoint to time, or with --decode the one whose preprocessing is timed: \(checkpoints) Not with --train." }
  static var arch: String { "With --train: the architecture, \(architectures) With --model, where the file does not say how many heads it has: vit_small or the like." }
  static var precision: String { "Arithmetic. Default: int8 for a file that quantize made, f32 otherwise. Training has f32 and bf16. One that is not available ends with exit code 69." }
  static var batchSize: String { "The same as --batch, by the name that other commands have for it." }
}

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Time a model: milliseconds an image, share of this machine's peak, memory.",
    discussion: """
      The network runs on random pixels. One run that is not timed comes first, to make the plan. The peak that the speed is compared with is measured here: multiply-adds in registers, on the same number of threads. \
      --train times a training step instead, --decode the reading of photographs. The command ends with 69 where a precision is not available.
      """)

  @OptionGroup var training: BenchTrainingOptions

  @Option(help: ArgumentHelp("Time decoding, resizing and cropping the photographs of a folder instead of a model.", valueName: "dir"), completion: .file())
  var decode: String?

  @Option(help: ArgumentHelp("Images at once. Default: 1; with --train, 8.", valueName: "n"))
  var batch: Int?

  @Option(help: ArgumentHelp("Size of the images, S or HxW. Default: the model's native size; with --decode, that of the model's preprocessing, or the official evaluation's.", valueName: "s|hxw"))
  var imageSize: ImageSize?

  @Option(name: .customLong("repeat"), help: "Timed runs.")
  var repetitions = 20

  @Option(help: "Outputs by comma.")
  var outputs = "tokens"

  @Flag(help: "Print what more threads gain. In turn, three things are timed: one thread; all threads on the same images; and as many separate copies of the model, each on one thread.")
  var scaling = false

  @Flag(help: "Run once more, and print the time of each step with its GFLOP/s and its share of the peak.")
  var profile = false

  @OptionGroup var model: OptionalModelOptions<BenchHelp>
  @OptionGroup var running: RunningOptions<BenchHelp>

  func validate() throws {
    if model.path == nil && !training.train && decode == nil { throw ValidationError("give --model, --train and --arch, or --decode") }
    if scaling && (model.path == nil || training.train || profile) { throw ValidationError("--scaling times a model: give --model, without --train or --profile") }
    if decode != nil && training.train { throw ValidationError("--decode and --train are two things to time: give one of them") }
    // What each of the three reads beside --repeat, --threads, --json and --quiet.
    let ofModels: Set = ["--model"], ofTraining: Set = ["--train"], ofRuns = ofModels.union(ofTraining), ofPhotographs = ofModels.union(["--decode"])
    let read: [String: Set<String>] = [
      "--checkpoint-key": ofPhotographs, "--heads": ofPhotographs, "--image-size": ofPhotographs, "--outputs": ofModels, "--scaling": ofModels,
      "--precision": ofRuns, "--batch": ofRuns, "--batch-size": ofRuns, "--profile": ofRuns,
      "--patch-size": ofTraining, "--global-size": ofTraining, "--local-size": ofTraining, "--local-crops": ofTraining, "--out-dim": ofTraining,
    ]
    let mode = training.train ? "--train" : decode != nil ? "--decode" : "--model"
    for flag in GivenFlags.all() {
      if let modes = read[flag], !modes.contains(mode) { throw ValidationError("\(flag) goes with \(modes.sorted().joined(separator: " or ")), not with \(mode)") }
    }
    try GivenFlags.refuse(["--arch", "--heads", "--checkpoint-key"], unless: model.path != nil || training.train, "--model")
    if batch != nil && running.batchSize != nil { throw ValidationError("--batch and --batch-size are the same number: give one of them") }
    if model.path != nil && training.train { throw ValidationError("--model and --train are two things to time: give one of them") }
    if repetitions < 1 { throw ValidationError("--repeat must be at least 1, not \(repetitions)") }
    if let batch, batch < 1 || batch > 4096 { throw ValidationError("--batch must be from 1 to 4096, not \(batch)") }
  }

  func run() throws {
    if training.train { return try runTraining() }
    if let decode { return try runDecoding(decode) }
    if scaling { return try runScaling() }
    guard let dino = try model.load(running.settings), let path = model.path else { throw Failure(.usage, "give --model") }
    let (input, count, names) = try randomInput(dino)
    let shape = input[DinoModel.inputName]?.shape ?? []
    _ = try dino.run(input, outputs: names)
    var times: [Double] = []
    var progress = ProgressBar(total: repetitions, unit: "runs")
    for _ in 0..<repetitions {
      let start = Terminal.now()
      _ = try dino.run(input, outputs: names)
      times.append((Terminal.now() - start) * 1e3 / Double(count))
      progress.advance()
    }
    progress.finish()
    try report(dino, path, times.sorted(), count: count, height: shape[2], width: shape[3], names: names)
    if profile { try printProfile(dino, input, names) }
  }

  /// What a run is timed on: random pixels of the asked or native size, how many images, and the outputs' names.
  func randomInput(_ dino: DinoModel) throws -> (input: [String: Tensor], count: Int, outputs: [String]) {
    let count = batch ?? running.batchSize ?? 1
    let (height, width) = size(dino)
    let patch = dino.config.patchSize
    guard height >= patch, width >= patch else { throw Failure(.usage, "images of \(height)x\(width) pixels are smaller than one patch of \(patch)x\(patch)") }
    try InputMemory.check(images: count, height: height, width: width)
    let shape: Shape = [count, dino.checkpoint.channels, height, width]
    return ([DinoModel.inputName: Tensor(SelfTest.values(seed: 0, count: shape.count), shape: shape)], count, outputs.split(separator: ",").map(String.init))
  }

  private func size(_ dino: DinoModel) -> (Int, Int) {
    switch imageSize?.size {
    case .shorterSide(let s)?: (s, s)
    case .exact(let h, let w)?: (h, w)
    case nil: (dino.config.nativeRows * dino.config.patchSize, dino.config.nativeColumns * dino.config.patchSize)
    }
  }

  static func median(_ values: [Double]) -> Double {
    let sorted = values.sorted(), n = sorted.count
    return n == 0 ? 0 : (sorted[(n - 1) / 2] + sorted[n / 2]) / 2
  }

  /// Operations a second of all threads in registers, in the arithmetic of the linear layers.
  private func peak(_ dino: DinoModel, _ table: KernelTable) -> Double {
    let threads = running.threads > 0 ? min(running.threads, availableCores()) : availableCores()
    return (dino.precision == .int8 ? table.measureInt8Peak() : table.measurePeak()) * Double(threads)
  }

  /// To standard error, so that standard output stays one object or one report.
  private func printProfile(_ dino: DinoModel, _ input: [String: Tensor], _ names: [String]) throws {
    let steps = try dino.profile(input, outputs: names), peak = peak(dino, KernelTable.selected)
    let total = steps.reduce(0) { $0 + $1.seconds }
    Terminal.say("     ms   of all  GFLOP/s  of peak  step")
    func pad(_ s: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - s.count)) + s }
    for s in steps where s.seconds > 0 {
      let rate = s.flops / s.seconds
      Terminal.say(pad(fixed(s.seconds * 1e3, 3), 7) + pad(fixed(s.seconds / total * 100, 1) + " %", 9) + (s.flops > 0 ? pad(fixed(rate / 1e9, 1), 9) + pad(fixed(rate / peak * 100, 0) + " %", 9) : "         -        -")
        + "  " + s.name)
    }
    Terminal.say(pad(fixed(total * 1e3, 3), 7) + "                            all steps")
  }

  private func report(_ dino: DinoModel, _ path: String, _ times: [Double], count: Int, height: Int, width: Int, names: [String]) throws {
    let n = times.count, median = Self.median(times)
    let threads = running.threads > 0 ? running.threads : availableCores()
    let gflop = try dino.flops(height: height, width: width, outputs: names) / 1e9
    let table = KernelTable.selected
    let peak = peak(dino, table)
    let share = gflop * 1e9 / (median * 1e-3) / peak
    let memory = peakMemoryBytes()
    if running.json {
      let result: [JSONValue.Member] = [
        .init("model", .string(path)), .init("precision", .string(dino.precision.rawValue)), .init("batch", .integer(count)),
        .init("image_size", height == width ? .integer(height) : .array([.integer(height), .integer(width)])), .init("threads", .integer(threads)), .init("repeat", .integer(n)),
        .init("outputs", .array(names.map { .string($0) })),
        .init("milliseconds_per_image", .number(median)), .init("minimum", .number(times[0])), .init("images_per_second", .number(1e3 / median)),
        .init("gflop", .number(gflop)), .init("share_of_peak", .number(share)), .init("peak_gflop_per_second", .number(peak / 1e9)),
        .init("peak_memory_bytes", .integer(memory)), .init("isa", .string(table.name)), .init("random_weights", .bool(dino.hasRandomWeights)),
      ]
      try Terminal.output(JSONValue.object(result).text + "\n")
      return
    }
    try Terminal.output("""
      \(path), \(dino.precision.rawValue), \(height)x\(width), batch \(count), \(threads) threads, \(table.name)
      \(fixed(median, 2)) ms an image (median of \(n)), \(fixed(times[0], 2)) at best, \(fixed(1e3 / median, 1)) images/s
      \(fixed(gflop, 2)) GFLOP an image: \(fixed(gflop / median * 1e3, 1)) GFLOP/s, \(fixed(share * 100, 0)) % of the \(fixed(peak / 1e9, 0)) GFLOP/s that these threads reach in registers
      peak memory \(readable(bytes: memory))

      """)
  }
}

/// The most memory that this process had resident, in bytes. Linux carries a large parent's figure over into ru_maxrss; VmHWM is this program's alone.
func peakMemoryBytes() -> Int {
  if let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
     let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") }), let kilobytes = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first.flatMap({ Int($0) }) {
    return kilobytes * 1024
  }
  var usage = rusage()
  guard unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 else { return 0 }
  return Int(usage.ru_maxrss) * 1024
}
