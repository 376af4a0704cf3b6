// dinoctl bench --train: how fast a training step is here, on random crops. The first step, which makes the plan warm, is not timed.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTensor
internal import DinoTraining
internal import Safetensors

struct BenchTrainingOptions: ParsableArguments {
  @Flag(help: "Time a training step of --arch instead of a model.")
  var train = false

  @Option(help: "With --train: side of a patch. Default: that of --arch where its name says it (dino_vits8), or 16.")
  var patchSize: Int?

  @Option(help: "With --train: side of the global crops.")
  var globalSize = 224

  @Option(help: "With --train: side of the local crops.")
  var localSize = 96

  @Option(help: "With --train: local crops of each image.")
  var localCrops = 8

  @Option(help: "With --train: outputs of the projection head.")
  var outDim = 65_536

  func validate() throws {
    for (name, value, limit) in [("--patch-size", patchSize ?? 1, 1024), ("--global-size", globalSize, 4096), ("--local-size", localSize, 4096), ("--out-dim", outDim, 1 << 24)]
    where value < 1 || value > limit { throw ValidationError("\(name) must be from 1 to \(limit), not \(value)") }
  }
}

extension Bench {
  func runTraining() throws {
    running.apply()
    guard let arch = model.reading.arch else {
      let names = Registry.architectures.map(\.name) + Registry.published.map(\.name)
      throw Failure(.usage, "bench --train needs --arch: one of \(names.joined(separator: ", "))")
    }
    let precision = running.precision ?? .f32
    guard let chosen = TrainingSettings.Precision(rawValue: precision.rawValue) else { throw Failure(.unavailable, "training in \(precision.rawValue) is not available", hint: "use --precision f32 or bf16") }
    let head = ViTConfig.Head.projection(.init(outDim: training.outDim))
    var settings: TrainingSettings
    do { settings = TrainingSettings(config: try Registry.configuration(arch, patchSize: training.patchSize, imageSize: training.globalSize, head: head)) } catch {
      throw Failure(.usage, DinoError(error).message)
    }
    settings.precision = chosen
    settings.batch = batch ?? running.batchSize ?? 8
    settings.globalSize = training.globalSize
    settings.localSize = training.localSize
    settings.localCrops = training.localCrops
    settings.dropPath = 0
    settings.freezeLastLayer = 0
    settings.warmupEpochs = 0
    settings.epochs = 1
    let weights: [String: Tensor]
    do { weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: settings.config, seed: 0).map { ($0.name, $0.tensor) }) } catch { throw DinoError(error) }
    let trainer = try Trainer(settings, stepsPerEpoch: repetitions + 2, weights: weights, threads: running.threads)
    func crops(_ views: Int, _ size: Int, _ seed: UInt64) -> Tensor {
      let shape: Shape = [views * settings.batch, 3, size, size]
      return Tensor(SelfTest.values(seed: seed, count: shape.count), shape: shape)
    }
    let globals = crops(2, settings.globalSize, 1), locals = settings.localCrops > 0 ? crops(settings.localCrops, settings.localSize, 2) : nil
    _ = try trainer.run(globals: globals, locals: locals)
    var rates: [Double] = []
    for _ in 0..<repetitions {
      let start = Terminal.now()
      _ = try trainer.run(globals: globals, locals: locals)
      rates.append(Double(settings.batch) / (Terminal.now() - start))
    }
    rates.sort()
    let median = Self.median(rates)
    let gflop = trainer.flopsPerStep / Double(settings.batch) / 1e9, memory = peakMemoryBytes()
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("arch", .string(arch)), .init("precision", .string(chosen.rawValue)), .init("batch", .integer(settings.batch)), .init("threads", .integer(trainer.threads)),
        .init("repeat", .integer(repetitions)), .init("images_per_second", .number(median)), .init("maximum", .number(rates[rates.count - 1])),
        .init("gflop_per_image", .number(gflop)), .init("gflop_per_second", .number(gflop * median)), .init("peak_memory_bytes", .integer(memory)),
        .init("isa", .string(trainer.instructionSet)),
      ]).text + "\n")
    } else {
      try Terminal.output("""
        \(arch)/\(settings.config.patchSize), 2x\(settings.globalSize) + \(settings.localCrops)x\(settings.localSize), batch \(settings.batch), K \(training.outDim), \(chosen.rawValue), \(trainer.threads) threads, \(trainer.instructionSet)
        \(fixed(median, 2)) images/s (median of \(repetitions)), \(fixed(rates[rates.count - 1], 2)) at best
        \(fixed(gflop, 2)) GFLOP an image: \(fixed(gflop * median, 1)) GFLOP/s
        peak memory \(readable(bytes: memory))

        """)
    }
    guard profile else { return }
    var steps = trainer.profile(globals: globals, locals: locals)
    let total = steps.reduce(0) { $0 + $1.seconds }
    steps.sort { $0.seconds > $1.seconds }
    Terminal.say("\(fixed(total * 1e3, 0)) ms in the plan's steps; by kind (numbers in names as *), then by time:")
    var kinds: [String: (count: Int, flops: Double, seconds: Double)] = [:]
    for s in steps {
      let kind = s.name.split(separator: ".", omittingEmptySubsequences: false).map { Int($0) == nil ? String($0) : "*" }.joined(separator: ".")
      kinds[kind, default: (0, 0, 0)].count += 1
      kinds[kind]?.flops += s.flops
      kinds[kind]?.seconds += s.seconds
    }
    func line(_ seconds: Double, _ flops: Double, _ name: String) { Terminal.say("\(fixed(seconds * 1e3, 2)) ms \(flops > 0 ? fixed(flops / max(seconds, 1e-9) / 1e9, 0) : "-") GFLOP/s \(name)") }
    for (kind, k) in kinds.sorted(by: { $0.value.seconds > $1.value.seconds }).prefix(40) { line(k.seconds, k.flops, "\(kind) × \(k.count)") }
    for s in steps.prefix(20) { line(s.seconds, s.flops, s.name) }
  }
}
