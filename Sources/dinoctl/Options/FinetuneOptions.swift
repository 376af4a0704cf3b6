// The flags of finetune --task classification. Names and defaults are those of BEiT's, MAE's and timm's fine-tuning scripts; each is also taken with _ for -.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoRuntime
internal import DinoTraining

struct FinetuneOptions: ParsableArguments {
  @Option(help: ArgumentHelp("Photographs to test the network on, in one folder a class.", valueName: "dir"), completion: .file())
  var test: String?

  @Option(help: ArgumentHelp("Test after every so many epochs, after the last, and where the run stops.", valueName: "n"))
  var testEvery = 1

  @Option(name: long("output-dir"), help: ArgumentHelp("The folder for results.", valueName: "dir"), completion: .directory)
  var outputDir: String?

  @Flag(help: "Go on from the checkpoint in --output-dir, where there is one.")
  var resume = false

  @Flag(help: "Start from random weights.")
  var fromScratch = false

  @Option(name: long("patch-size"), help: "With --from-scratch and no --model: side of a patch in pixels. Default: that of --arch where its name says it (dino_vits8), or 16.")
  var patchSize: Int?

  @Option(help: "With --from-scratch and no --model: width, for a network of no named architecture.")
  var width: Int?

  @Option(help: "With --from-scratch and no --model: number of blocks.")
  var depth: Int?

  @Option(help: "Passes over the photographs.")
  var epochs = 50

  @Option(help: "Learning rate of the last layer for 256 images a step; it is scaled to the batch.")
  var lr = 0.0005

  @Option(name: long("min-lr"), help: "Learning rate at the end. Not scaled.")
  var minLR = 1e-6

  @Option(name: long("warmup-epochs"), help: "Epochs of linear warm-up. Default: 5, at most a fifth of all.")
  var warmupEpochs: Int?

  @Option(name: long("layer-decay"), help: "Factor of the rate from each block to the one before it. Default: 0.75; 1 with --from-scratch.")
  var layerDecay: Double?

  @Option(name: long("weight-decay"), help: "Weight decay; not of vectors, positions and the class token.")
  var weightDecay = 0.05

  @Option(name: long("drop-path-rate"), help: "Drop path of the last block; it rises linearly from 0.")
  var dropPathRate = 0.1

  @Option(name: long("label-smoothing"), help: "Share of each label that is spread over all classes.")
  var labelSmoothing = 0.1

  @Option(name: long("clip-grad"), help: "Largest norm of all gradients together; 0 for none.")
  var clipGrad = 0.0

  @Option(name: long("crop-scale"), parsing: .upToNextOption, help: "Least and largest share of the photograph in a crop. Default: 0.08 1.")
  var cropScale: [Double] = []

  @Option(name: long("color-jitter"), help: "Brightness, contrast and saturation are multiplied by up to this more or less; 0 leaves colours.")
  var colorJitter = 0.0

  @Option(help: "Seed of all random numbers.")
  var seed: UInt64 = 0

  @Option(name: long("num-workers"), help: "Threads that decode and augment ahead of the steps.")
  var workers = 2

  @Option(help: "Minutes from one checkpoint to the next; one is also written after every epoch.")
  var saveMinutes = 10.0

  @Option(help: "Stop after so many steps, with a checkpoint.")
  var stopAfter: Int?

  /// The names of all of these.
  static let flags: Set<String> = [
    "--test", "--test-every", "--output-dir", "--resume", "--from-scratch", "--patch-size", "--width", "--depth", "--epochs", "--lr", "--min-lr", "--warmup-epochs", "--layer-decay", "--weight-decay",
    "--drop-path-rate", "--label-smoothing", "--clip-grad", "--crop-scale", "--color-jitter", "--seed", "--num-workers", "--save-minutes", "--stop-after",
  ]

  func validate() throws {
    if testEvery < 1 { throw ValidationError("--test-every must be at least 1, not \(testEvery)") }
    if workers < 0 || workers > 256 { throw ValidationError("--num-workers must be from 0 to 256, not \(workers)") }
    if !(saveMinutes > 0) { throw ValidationError("--save-minutes must be above 0, not \(saveMinutes)") }
    if let stopAfter, stopAfter < 1 { throw ValidationError("--stop-after must be at least 1") }
    if !(colorJitter >= 0 && colorJitter <= 1) { throw ValidationError("--color-jitter must be from 0 to 1, not \(colorJitter)") }
    for (name, value, limit) in [("--patch-size", patchSize ?? 1, 1024), ("--width", width ?? 1, 65536), ("--depth", depth ?? 1, 4096)] where value < 1 || value > limit {
      throw ValidationError("\(name) must be from 1 to \(limit), not \(value)")
    }
  }

  func settings(_ config: ViTConfig, size: Int, _ running: RunSettings) throws -> FinetuneSettings {
    var s = FinetuneSettings(config: config)
    s.batch = running.batchSize ?? 64
    s.size = size
    s.epochs = epochs
    s.scaleRate(lr)
    s.leastRate = minLR
    s.warmupEpochs = warmupEpochs ?? min(5, epochs / 5)
    s.layerDecay = layerDecay ?? (fromScratch ? 1 : 0.75)
    s.weightDecay = weightDecay
    s.dropPath = dropPathRate
    s.labelSmoothing = labelSmoothing
    s.clipGradient = clipGrad
    s.seed = seed
    switch running.precision ?? .f32 {
    case .f32: s.precision = .f32
    case .bf16: s.precision = .bf16
    case .int8: throw Failure(.unavailable, "training computes in f32 or bf16, not in int8")
    }
    try s.validate()
    return s
  }

  func augmentation(size: Int) throws -> LabelledAugmentation {
    var a = LabelledAugmentation(size: size)
    a.colorJitter = colorJitter
    if !cropScale.isEmpty {
      guard cropScale.count == 2, cropScale[0] > 0, cropScale[0] <= cropScale[1], cropScale[1] <= 1 else { throw Failure(.usage, "--crop-scale takes two numbers, 0 < least <= largest <= 1") }
      a.scale = cropScale[0]...cropScale[1]
    }
    return a
  }
}
