// dinoctl train: DINO's self-supervised training on a folder of photographs, under main_dino.py's flags; or a recorded case of the original again (--replay).

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoModels
internal import DinoTensor
internal import DinoTraining
internal import Safetensors
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

struct Train: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a DINO checkpoint on photographs without labels, on this machine's CPU.",
    discussion: """
      Flags and defaults are those of the original's main_dino.py (with - or _ between words). The folder of --output-dir gets checkpoint.safetensors (everything that \
      --resume needs), teacher.safetensors (the model), log.jsonl (one line a step) and epochs.jsonl (the mean loss of each epoch; entropies, features and whether training collapses by its last quarter) and report.html (the same as curves). A run may be stopped at any moment; \
      the same command with --resume goes on from the last checkpoint to the same weights as if it had not been stopped. The folder is one run's alone: a second one in it is refused. \
      Where an image cannot be read, a line names it, another takes its place, and the exit code is 1.
      --auto sets outputs, temperatures, momentum and warm-up to suit few images, and lists the flags that this makes.
      --replay runs a recorded case of the original; the case says how it is trained.
      Started by Open MPI (mpirun -n R dinoctl train …), R processes train together: each takes its own part of every step's images, gradients (while the backward pass goes on) and \
      the centre are added in the order of the processes, and the first one writes. Where the run ends with 1, because images could not be read, mpirun calls the job aborted, but it is done.
      """)

  @Option(name: [.customLong("data"), .customLong("data-path"), .customLong("data_path")], help: ArgumentHelp("Photographs: folders, tar shards, lists. Classes play no part.", valueName: "dir"), completion: .file())
  var data: [String] = []

  @Option(help: ArgumentHelp("A recorded case: case.json, initial.safetensors, crops.safetensors. Writes log.jsonl, final.safetensors and step0_gradients.safetensors.", valueName: "case-dir"), completion: .directory)
  var replay: String?

  @Argument(help: ArgumentHelp("With --resume, where --output-dir has no checkpoint: a checkpoint.pth of the original, or of --save-official. A note says what it lacks. It may be the one in --output-dir, which --save-official then replaces; where one is there and not named here, it is kept and the run refused. Once a run has gone on from it and has a checkpoint of its own, it goes on from that.", valueName: "checkpoint.pth"), completion: .file())
  var official: String?

  @Flag(help: "Also write checkpoint.pth, which the original's main_dino.py goes on from, after every epoch.")
  var saveOfficial = false

  @Flag(help: "Set the flags that are not given to suit the number of images, and list them. With --resume they stay what the run has had so far.")
  var auto = false

  /// Of the original's own command lines, which say that there is none; hidden, since there is nothing to choose.
  @Option(name: long("use-fp16"), help: .hidden)
  var useFP16 = OfficialBool(false)

  @OptionGroup var network: NetworkOptions<TrainHelp>
  @OptionGroup var recipe: RecipeOptions<TrainHelp>
  @OptionGroup var crops: CropOptions<TrainHelp>

  @OptionGroup var running: TrainingRunOptions

  /// All that a replay reads.
  private static let replayFlags: Set<String> = ["--replay", "--output-dir", "--threads", "--json", "--quiet"]

  func validate() throws {
    if (replay == nil) == data.isEmpty { throw ValidationError("give --data, or --replay") }
    if official != nil && !running.resume { throw ValidationError("'\(official ?? "")': a file without a flag is what --resume goes on from; images are given with --data") }
    if let official, running.start != nil { throw ValidationError("--init does not go with '\(official)': both say which weights the run has") }
    if useFP16.value { throw ValidationError("\(GivenFlags.typed("--use-fp16")): nothing here computes in f16; --precision bf16 takes half the bytes, and needs no scaling of the loss") }
    if replay != nil, let flag = GivenFlags.all().first(where: { !Self.replayFlags.contains($0) }) { throw ValidationError("\(flag) does not go with --replay: how it is trained is recorded in the case") }
    if recipe.ibotLossWeight == 0, let flag = GivenFlags.all().first(where: { $0.hasPrefix("--ibot-mask") }) { throw ValidationError("\(flag) needs --ibot-loss-weight above 0") }
    if recipe.ibotLossWeight > 0 && (saveOfficial || official != nil) { throw ValidationError("--ibot-loss-weight: the original, whose checkpoint.pth that is, has no such term") }
  }

  func run() throws {
    if running.quiet { Terminal.beQuiet() }
    try Output.makeFolder(running.outputDir)
    if let replay { try runReplay(replay) } else { try runTraining() }
  }

  // MARK: Replay

  /// What a case may hold, and what a replay writes.
  private static let caseFiles = ["case.json", "initial.safetensors", "teacher.safetensors", "crops.safetensors", "step0_gradients.safetensors", "final.safetensors"]
  private static let replayFiles = ["log.jsonl", "step0_gradients.safetensors", "final.safetensors"]

  private func runReplay(_ folder: String) throws {
    let replay = try Replay(folder: folder), outputDir = running.outputDir
    try Originals(Self.caseFiles.map { "\(folder)/\($0)" }).spare(Self.replayFiles.map { "\(outputDir)/\($0)" })
    let lock = try RunLock(outputDir)
    defer { withExtendedLifetime(lock) {} }
    if Output.exists("\(outputDir)/\(TrainingRun.checkpointName)") {
      throw Failure(.usage, "\(outputDir) has the checkpoint of a training, whose log would be written over", hint: "name another --output-dir")
    }
    try RunFolder.checkReplay(outputDir)
    var lines = ""
    let result = try replay.run(threads: running.threads) { report in
      lines += JSONValue.object([.init("step", .integer(report.step)), .init("epoch", .integer(report.values.epoch)), .init("loss", .number(report.loss)),
                                 .init("lr", .number(report.values.rate)), .init("weight_decay", .number(report.values.weightDecay)),
                                 .init("momentum", .number(report.values.momentum)), .init("teacher_temp", .number(report.values.teacherTemperature))]).text + "\n"
    }
    let comparison = try ReplayComparison(folder: folder, result)
    try Interruption.shielded {
      try writeWhole(lines, to: "\(outputDir)/log.jsonl")
      do {
        try SafetensorsWriter.write(result.firstGradients, metadata: ["format": "pt"], to: "\(outputDir)/step0_gradients.safetensors")
        try SafetensorsWriter.write(result.final, metadata: ["format": "pt"], to: "\(outputDir)/final.safetensors")
      } catch { throw DinoError(error, path: nil) }
    }
    if running.json {
      try Terminal.output(JSONValue.object([.init("losses", .array(result.losses.map { .number($0) }))] + members(comparison)).text + "\n")
    } else {
      for (i, loss) in result.losses.enumerated() { try Terminal.output("step \(i): loss \(fixed(loss, 6))\n") }
      for line in comparisonLines(comparison) { try Terminal.output(line + "\n") }
    }
  }

  private func members(_ c: ReplayComparison?) -> [JSONValue.Member] {
    func distance(_ key: String, _ d: ReplayComparison.Distance?) -> [JSONValue.Member] {
      d.map { [.init(key, .object([.init("largest_relative", .number($0.largest)), .init("tensor", .string($0.name))]))] } ?? []
    }
    guard let c else { return [] }
    let parts = (c.losses.map { [JSONValue.Member("largest_loss_difference", .number($0))] } ?? []) + distance("first_gradients", c.gradients)
      + distance("final_without_key_biases", c.final) + distance("qkv_biases_with_key_biases", c.keyBiases)
    return [.init("recorded", .object(parts))]
  }

  private func comparisonLines(_ c: ReplayComparison?) -> [String] {
    func text(_ d: ReplayComparison.Distance) -> String { "at most \(scientific(d.largest)) apart, \(d.name)" }
    guard let c else { return [] }
    return (c.losses.map { ["beside the recording: losses at most \(scientific($0)) apart"] } ?? [])
      + (c.gradients.map { ["first gradients, each relative to its size: \(text($0))"] } ?? [])
      + (c.final.map { ["final weights and centre, without the keys' biases: \(text($0))"] } ?? [])
      + (c.keyBiases.map { ["qkv biases with those of the keys: \(text($0)) (a constant added to all keys changes no softmax: no output depends on these biases, their derivative is zero, and what moves them is rounding)"] } ?? [])
  }

  // MARK: Training

  private func runTraining() throws { try running.together(train) }

  private func train(_ ranks: OpenMPIRanks?) throws {
    let rank = (index: ranks?.index ?? 0, count: ranks?.count ?? 1)
    if rank.index > 0 { Terminal.beQuiet() }
    let images = try ImageInputs.expand(data, standardInput: { [] }, note: ReadingOptions.tellOnce)
    var recipe = recipe, network = network
    if auto {
      // The number of epochs may be another than the run began with, and from that other values would follow.
      let before = running.resume ? try TrainingRun.recordedFlags(in: running.outputDir) : [:]
      let flags = applyAutomatic(&recipe, &network, images: images.count, ranks: rank.count, before: before)
      Terminal.note("--auto \(before.isEmpty ? "for \(images.count) images" : "as the run has it"): \(flags)")
    }
    let config = try network.configuration(globalSize: crops.globalSize)
    let settings = try recipe.settings(config, crops, ranks: rank.count)
    if running.resume { try TrainingRun.check(settings, processes: rank.count, resuming: running.outputDir) }
    try settings.validate()
    let loader = try CropLoader(images: images, batch: settings.batch, augmentation: try crops.augmentation(localCrops: settings.localCrops), seed: settings.seed, rank: rank)
    let weights = try randomWeights(settings)
    let trainer = try Trainer(settings, stepsPerEpoch: loader.stepsPerEpoch, weights: weights, threads: running.threads, ranks: ranks)
    let run = TrainingRun(trainer: trainer, loader: loader, folder: running.outputDir, provenance: Provenance(tool: toolName))
    let listed = run.listed.map { "\($0.flag) \($0.value)" }.joined(separator: " ")
    run.provenance.chain = ["train \(images.count) images \(listed)"]
    try running.apply(to: run, rank: rank.index)
    run.savesOfficial = saveOfficial
    try running.begin(run, official: official)
    Terminal.note("\(images.count) images, \(loader.stepsPerEpoch) steps of \(loader.stepImages) an epoch, \(trainer.schedule.count) steps, \(config.parameterCount) weights, \(trainer.threads) threads\(rank.count > 1 ? " in each of \(rank.count) processes" : ""), \(trainer.instructionSet)")
    let unreadable = try running.watch(run, ranks)
    if running.json, rank.index == 0 {
      try Terminal.output(JSONValue.object([.init("steps", .integer(trainer.step)), .init("teacher", .string("\(running.outputDir)/\(run.modelName)"))]).text + "\n")
    }
    try TrainingRunOptions.conclude(unreadable: unreadable)
  }

  /// ANCHORS 2.5: what lightly-train chooses by the number of images. Returns the flags in words.
  /// - Parameter before: the flags of the run that goes on.
  private func applyAutomatic(_ recipe: inout RecipeOptions<TrainHelp>, _ network: inout NetworkOptions<TrainHelp>, images: Int, ranks: Int, before: [String: String]) -> String {
    var flags: [String] = []
    func choose<T: LosslessStringConvertible>(_ value: inout T?, _ chosen: T, _ flag: String) {
      let used = value ?? before[flag].flatMap { T($0) } ?? chosen
      value = used
      flags.append("\(flag) \(used)")
    }
    let sizes = [(20_000, 1024), (50_000, 2048), (100_000, 4096), (200_000, 16_384), (500_000, 32_768)]
    choose(&network.outDim, sizes.first { images <= $0.0 }?.1 ?? 65_536, "--out-dim")
    let share = min(1, max(0, (log(Double(images)) - log(20_000)) / (log(1_281_167) - log(20_000))))
    choose(&recipe.teacherTemp, (0.02 + 0.05 * share), "--teacher-temp")
    choose(&recipe.warmupTeacherTemp, min(0.02 + 0.02 * share, recipe.teacherTemp ?? 0.02), "--warmup-teacher-temp")
    choose(&recipe.momentumTeacher, 0.99 + 0.006 * share, "--momentum-teacher")
    let epochs = recipe.epochs, perEpoch = max(1, images / (recipe.batchSize * ranks))
    choose(&recipe.warmupEpochs, max(1, min(epochs / 10, 12_500 / perEpoch)), "--warmup-epochs")
    choose(&recipe.warmupTeacherTempEpochs, min(epochs * 3 / 10, 37_500 / perEpoch), "--warmup-teacher-temp-epochs")
    choose(&recipe.freezeLastLayer, max(1, min(1250 / perEpoch, epochs / 10)), "--freeze-last-layer")
    return flags.joined(separator: " ")
  }
}

/// The weights that training starts from where no file gives them.
func randomWeights(_ settings: TrainingSettings) throws -> [String: Tensor] {
  do { return Dictionary(uniqueKeysWithValues: try settings.studentTensors.map { ($0.name, try WeightInitializer.tensor($0, seed: settings.seed)) }) } catch { throw DinoError(error) }
}
