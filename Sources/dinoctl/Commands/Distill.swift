// dinoctl distill: a smaller student from a frozen teacher on photographs without labels, by the trainer of dinoctl train; and how the two compare at the end.

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoModels
internal import DinoTensor
internal import DinoTraining
internal import Safetensors

struct Distill: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a smaller student to see as a teacher sees, on photographs without labels.",
    discussion: """
      The teacher stands still. --loss features (the default) turns the student's class token, and the patch tokens of the global crops, towards the teacher's of the same crop: the mean of \
      1 - cosine, through a linear projection that is left out of the model (so widths may differ; --projection none compares them as they are, and the student then searches the teacher's banks). \
      --loss dino is DINO's loss with the teacher's head, which its checkpoint must hold. Both read crops with the teacher's mean and deviation, which the student's record keeps. \
      Crops, schedules, checkpoints, --resume to the same bits, precision and several processes are those of dinoctl train. The folder of --output-dir gets student.safetensors (the model), \
      checkpoint.safetensors, log.jsonl, epochs.jsonl, and at the end comparison.json and report.html with the student beside the teacher: neighbours in common, accuracy where --knn-train \
      has classes, file size, images a second.
      """)

  @Option(help: ArgumentHelp("The model to learn from: any file or folder that other commands take as --model.", valueName: "file-or-folder"), completion: .file())
  var teacher: String

  @Option(help: "Which network of a training checkpoint to learn from. Default: its teacher, where there is one.")
  var checkpointKey: CheckpointKey?

  @Option(help: "The teacher's number of heads, where neither its file nor its size says it.")
  var teacherHeads: Int?

  @Option(name: [.customLong("data"), .customLong("data-path"), .customLong("data_path")], help: ArgumentHelp("Photographs: folders, tar shards, lists. Classes play no part.", valueName: "dir"), completion: .file())
  var data: [String]

  @Option(help: "What the student learns from; see above.")
  var loss = DistillationLoss.features

  @Option(help: "What the student's features go through before they are compared.")
  var projection = DistillationProjection.linear

  @Option(help: "Weight of the class tokens' distance, with --loss features.")
  var clsLossWeight = 1.0

  @Option(help: "Weight of the patch tokens' distance, with --loss features. It needs the teacher's patch size.")
  var patchLossWeight = 1.0

  @OptionGroup var statistics: StatisticsOptions
  @OptionGroup var network: NetworkOptions<DistillHelp>
  @OptionGroup var recipe: RecipeOptions<DistillHelp>
  @OptionGroup var crops: CropOptions<DistillHelp>
  @OptionGroup var running: TrainingRunOptions

  func validate() throws {
    if data.isEmpty { throw ValidationError("give --data") }
    if network.arch == nil && network.width == nil { throw ValidationError("give --arch, or --width, --depth and --heads: which student?") }
    if recipe.momentumTeacher != nil { throw ValidationError("--momentum-teacher: the teacher of a distillation stands still") }
    let given = GivenFlags.all(), ofFeatures = ["--projection", "--cls-loss-weight", "--patch-loss-weight"]
    let ofDistributions = ["--out-dim", "--head-hidden-dim", "--head-bottleneck-dim", "--use-bn-in-head", "--norm-last-layer", "--teacher-temp", "--warmup-teacher-temp", "--warmup-teacher-temp-epochs",
                           "--student-temp", "--center-momentum", "--centering", "--freeze-last-layer"]
    if loss == .features, let flag = given.first(where: ofDistributions.contains) { throw ValidationError("\(flag) goes with --loss dino: --loss features has no projection head") }
    if loss == .dino, let flag = given.first(where: ofFeatures.contains) { throw ValidationError("\(flag) goes with --loss features") }
  }

  func run() throws {
    if running.quiet { Terminal.beQuiet() }
    try Output.makeFolder(running.outputDir)
    try running.together(distill)
  }

  private func distill(_ ranks: OpenMPIRanks?) throws {
    let rank = (index: ranks?.index ?? 0, count: ranks?.count ?? 1)
    if rank.index > 0 { Terminal.beQuiet() }
    let model = try teacherModel(), record = try statistics.record(of: model)
    let distillation = try distillation(from: model)
    let images = try ImageInputs.expand(data, standardInput: { [] }, note: ReadingOptions.tellOnce)
    let config = try network.configuration(globalSize: crops.globalSize, distillation: distillation)
    let settings = try recipe.settings(config, crops, distillation: distillation, ranks: rank.count)
    if running.resume { try TrainingRun.check(settings, processes: rank.count, resuming: running.outputDir) }
    try settings.validate()
    let loader = try CropLoader(images: images, batch: settings.batch, augmentation: try crops.augmentation(localCrops: settings.localCrops), seed: settings.seed, preprocessing: record, rank: rank)
    let trainer = try Trainer(settings, stepsPerEpoch: loader.stepsPerEpoch, weights: try randomWeights(settings), teacherWeights: try model.checkpoint.weights(), threads: running.threads, ranks: ranks)
    let run = TrainingRun(trainer: trainer, loader: loader, folder: running.outputDir, provenance: Provenance(tool: toolName))
    run.preprocessing = record
    let listed = run.listed.map { "\($0.flag) \($0.value)" }.joined(separator: " ")
    run.provenance.chain = ["distill \(images.count) images \(listed)"]
    try running.apply(to: run, rank: rank.index)
    if loss == .dino, StartingWeights.loadCenter(teacher, into: trainer) { Terminal.note("\(teacher): its centre is where this one starts") }
    try running.begin(run, reading: [teacher])
    Terminal.note("\(images.count) images, \(loader.stepsPerEpoch) steps of \(loader.stepImages) an epoch, \(trainer.schedule.count) steps, \(config.parameterCount) weights from a teacher of \(model.config.parameterCount), \(trainer.threads) threads\(rank.count > 1 ? " in each of \(rank.count) processes" : ""), \(trainer.instructionSet)")
    let unreadable = try running.watch(run, ranks)
    guard run.writes, trainer.step == trainer.schedule.count else {
      if running.json, run.writes { try Terminal.output(JSONValue.object([.init("steps", .integer(trainer.step)), .init("student", .string("\(running.outputDir)/\(run.modelName)"))]).text + "\n") }
      return try TrainingRunOptions.conclude(unreadable: unreadable)
    }
    try compare(model, run, images)
    try TrainingRunOptions.conclude(unreadable: unreadable)
  }

  private func teacherModel() throws -> DinoModel {
    var options = DinoModel.Options()
    options.checkpointKey = checkpointKey?.rawValue
    options.heads = teacherHeads
    options.threads = running.threads
    let model: DinoModel
    do { model = try DinoModel(contentsOf: teacher, options: options) } catch {
      // Here --heads is the student's.
      guard error.message.contains("--heads") else { throw error }
      throw Failure(ExitStatus(error.kind), error.message.replacing("--heads", with: "--teacher-heads"), hint: error.hint.map { $0.replacing("--heads", with: "--teacher-heads") })
    }
    for note in model.notes { Terminal.note(note) }
    if model.hasRandomWeights { Terminal.say("note: \(teacher) has random weights: results show that things work, not what DINO sees") }
    return model
  }

  private func distillation(from model: DinoModel) throws -> Distillation {
    var config = model.config
    if loss == .features { config.head = nil }
    // By its weights: another file with the same ones is the same teacher. A head that is compared is of the file.
    let digest = loss == .features ? try model.backboneDigest() : try model.checkpoint.sourceDigest()?.sha256 ?? model.backboneDigest()
    var d = Distillation(teacher: config, teacherDigest: digest)
    (d.loss, d.projection, d.classWeight, d.patchWeight) = (loss.loss, projection.projection, clsLossWeight, patchLossWeight)
    return d
  }

  /// The images that are compared on are those of --knn-train and --knn-test, or 500 of those that were trained on.
  private func compare(_ model: DinoModel, _ run: TrainingRun, _ images: [ImageInput]) throws {
    let path = "\(running.outputDir)/\(run.modelName)"
    var options = DinoModel.Options()
    options.threads = running.threads
    let known = try running.knnTrain.map { try ClassedInput.expand([$0]) } ?? spread(images.map { ClassedInput(input: $0, className: nil) }, limit: 500)
    let comparison = try StudentComparison(teacher: model, changes: statistics.changes(), student: try DinoModel(contentsOf: path, options: options), images: known,
                                           asked: try running.knnTest.map { try ClassedInput.expand([$0]) }, size: crops.globalSize, threads: run.trainer.threads)
    try Interruption.shielded {
      try writeWhole(comparison.json.text + "\n", to: "\(running.outputDir)/comparison.json")
      try run.writeReport(comparison: comparison.lines)
    }
    if running.json {
      try Terminal.output(JSONValue.object([.init("steps", .integer(run.trainer.step)), .init("student", .string(path)), .init("comparison", comparison.json)]).text + "\n")
    } else {
      for line in comparison.lines { try Terminal.output("\(line.name): \(line.value)\n") }
    }
  }
}

/// What the student is to agree with.
enum DistillationLoss: String, ExpressibleByArgument, CaseIterable {
  case features, dino
  var loss: Distillation.Loss { self == .dino ? .dino : .features }
}

enum DistillationProjection: String, ExpressibleByArgument, CaseIterable {
  case linear, none
  var projection: Distillation.Projection { self == .none ? .none : .linear }
}
