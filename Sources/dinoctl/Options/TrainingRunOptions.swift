// What train and distill have in common besides the recipe: where results go, going on after a stop, who decodes, what is asked on the way. It also shows a run's progress.

internal import ArgumentParser
internal import Dino
internal import DinoKernels
internal import DinoTensor
internal import DinoTraining

struct TrainingRunOptions: ParsableArguments {
  @Option(name: [.customLong("output-dir"), .customLong("output_dir")], help: ArgumentHelp("The folder for results.", valueName: "dir"), completion: .directory)
  var outputDir: String

  @Flag(help: "Go on from the checkpoint in --output-dir, where there is one.")
  var resume = false

  @Option(name: .customLong("init"), help: ArgumentHelp("Start from these weights instead of random ones: a model, or the checkpoint of a run with other settings; its network must be the one that is trained (blocks, heads, registers, layer scale, activation, epsilon). With --resume it must be the one that the run began with.", valueName: "file"), completion: .file())
  var start: String?

  @Option(name: .customLong("threads"), help: ArgumentHelp("Threads of the training step. Their number changes no bit. \(ThreadsOption.text)", valueName: "n"))
  private var askedThreads: Int?

  /// 0 for the default.
  var threads: Int { askedThreads ?? 0 }

  @Option(name: [.customLong("num-workers"), .customLong("num_workers")], help: "Threads that decode and augment ahead of the steps.")
  var workers = 2

  @Option(name: [.customLong("saveckp-freq"), .customLong("saveckp_freq")], help: "Keep a checkpoint of its own every so many epochs; 0 for none.")
  var keepEpochs = 20

  @Option(help: "Minutes from one checkpoint to the next; one is also written after every epoch.")
  var saveMinutes = 10.0

  @Option(help: ArgumentHelp("Images in one folder a class: the log says which share of --knn-test the 20 nearest of them name rightly by the model's features (knn_top1). Training does not see them.", valueName: "dir"), completion: .file())
  var knnTrain: String?

  @Option(help: ArgumentHelp("Images to name, of the same classes. Default: those of --knn-train, each by all others.", valueName: "dir"), completion: .file())
  var knnTest: String?

  @Option(help: ArgumentHelp("Ask so after every so many epochs, and after the last.", valueName: "n"))
  var knnEvery = 1

  @Option(help: "Stop after so many steps, with a checkpoint.")
  var stopAfter: Int?

  @Flag(help: "A machine-readable result on standard output.")
  var json = false

  @Flag(help: "Only errors and warnings on standard error.")
  var quiet = false

  func validate() throws {
    try ThreadsOption.check(threads)
    if workers < 0 || workers > 256 { throw ValidationError("--num-workers must be from 0 to 256, not \(workers)") }
    if !(saveMinutes > 0) { throw ValidationError("--save-minutes must be above 0, not \(saveMinutes)") }
    if keepEpochs < 0 { throw ValidationError("--saveckp-freq must not be negative") }
    if knnTest != nil && knnTrain == nil { throw ValidationError("--knn-test needs --knn-train") }
    if knnTrain == nil && GivenFlags.all().contains("--knn-every") { throw ValidationError("--knn-every needs --knn-train") }
    if knnEvery < 1 { throw ValidationError("--knn-every must be at least 1, not \(knnEvery)") }
    if let stopAfter, stopAfter < 1 { throw ValidationError("--stop-after must be at least 1") }
  }

  /// The processes that mpirun started, this one among them; nil for one alone.
  func joined() throws -> OpenMPIRanks? {
    guard OpenMPIRanks.started > 1 else { return nil }
    do { return try OpenMPIRanks() } catch { throw Failure(.unavailable, error.description) }
  }

  /// Runs `body` with the other processes that mpirun started, if any. One that fails ends them all: they would wait for it for ever.
  func together(_ body: (OpenMPIRanks?) throws -> Void) throws {
    let ranks = try joined()
    do { try body(ranks) } catch let failure as Failure where failure.status == .someSkipped {
      // Done, like the others.
      if ranks != nil { Terminal.note("the run is whole, though mpirun will call it aborted for its exit code \(failure.status.rawValue)") }
      leave(ranks)
      throw failure
    } catch {
      guard let ranks else { throw error }
      let failure = error as? Failure ?? (error as? ValidationError).map { Failure(.usage, $0.message) } ?? Failure(error as? DinoError ?? DinoError(error))
      failure.say()
      Output.removeLeftovers()
      ranks.end(failure.status.rawValue)
      throw Failure(failure.status)
    }
    leave(ranks)
  }

  /// Parts from the other processes when all is done. Where the first one then ends with another code than 0, mpirun stops those that are still there: they have nothing to say to that.
  private func leave(_ ranks: OpenMPIRanks?) {
    guard let ranks else { return }
    Interruption.ignore()
    ranks.leave()
  }

  /// Sets up what a run does besides its steps.
  func apply(to run: TrainingRun, rank: Int) throws {
    run.writes = rank == 0
    run.saveSeconds = saveMinutes * 60
    run.keepEpochs = keepEpochs
    run.stopAfter = stopAfter
    if let knnTrain { run.neighbours = (knnEvery, try NeighbourAccuracy(train: knnTrain, test: knnTest, threads: run.trainer.threads).of) }
    run.shield = { try Interruption.shielded($0) }
  }

  /// Goes on from the checkpoint of the folder, or from one of the original's, or starts anew. `reading` are files that are read besides.
  func begin(_ run: TrainingRun, reading: [String] = [], official: String? = nil) throws {
    let trainer = run.trainer, ofFolder = "\(outputDir)/\(TrainingRun.officialName)"
    try run.lockFolder()
    let hasState = Output.exists("\(outputDir)/\(TrainingRun.checkpointName)")
    if let official, !Output.exists(official) { throw Failure(.notFound, "\(official): no such file or folder") }
    // The original's own folder may be the run's: the state is written before an epoch's end replaces that file.
    let isOfFolder = official.map { Originals.Place(existing: $0) == Originals.Place(existing: ofFolder) } ?? false
    if hasState && !resume { throw Failure(.usage, "\(outputDir) has a checkpoint of another run", hint: "add --resume to go on, or name another --output-dir") }
    if !hasState {
      let read = (start.map { [$0] } ?? []) + reading + (official.map { [$0] } ?? [])
      try Originals(read.flatMap(Originals.files(of:))).spare(["\(outputDir)/\(run.modelName)"])
      if run.writes {
        try RunFolder.checkUnused(outputDir, model: run.modelName, resume: resume)
        if !isOfFolder, Output.exists(ofFolder) { try spareOfficial(ofFolder, of: run, isAnotherNamed: official != nil) }
      }
    }
    // Named again, what a run went on from is what its state says that it began with; the folder's own may have been replaced since.
    let asked = start ?? (hasState && !isOfFolder ? official : nil)
    if let asked { run.start = .weights(StartingWeights.Origin(path: asked)) }
    if resume {
      if try run.resume() {
        if let asked, run.start == .unknown {
          Terminal.note("\(outputDir)/\(TrainingRun.checkpointName) is of an earlier version and does not say what the run began with: \(start == nil ? asked : "--init") is passed over")
        }
        let before = run.epochsBefore ?? trainer.settings.epochs
        return Terminal.note("going on from step \(trainer.step) of \(trainer.schedule.count)" + (before == trainer.settings.epochs ? "" : "; the schedules, so far those of \(before) epochs, are now those of \(trainer.settings.epochs)"))
      }
      if let official {
        for note in try run.resume(official: official) { Terminal.note("\(official): \(note)") }
        return Terminal.note("going on from \(official) at step \(trainer.step) of \(trainer.schedule.count)")
      }
      Terminal.note("no checkpoint in \(outputDir) yet: starting anew")
    }
    guard let start else { return }
    for note in try StartingWeights.load(start, into: trainer) { Terminal.note("\(start): \(note)") }
  }

  /// A checkpoint.pth in a folder without a state is not this run's: it is not written over, and where --resume finds it, it is what was meant. A distillation knows none. Beside
  /// the log of a first epoch (`checkUnused` found it to be that) --resume means that run, which began beside the file and was stopped before its first checkpoint.
  private func spareOfficial(_ path: String, of run: TrainingRun, isAnotherNamed: Bool) throws {
    let hint = isAnotherNamed ? "name another --output-dir" : "--resume \(path) goes on from it; else name another --output-dir"
    if run.savesOfficial { throw Failure(.usage, "\(path) is of another run, and --save-official would write over it", hint: hint) }
    if resume, !isAnotherNamed, run.trainer.settings.distillation == nil, byteCount(ofFile: "\(outputDir)/\(TrainingRun.logName)") == 0 {
      throw Failure(.usage, "\(outputDir) has no \(TrainingRun.checkpointName) to go on from, but a \(TrainingRun.officialName), which is gone on from only where it is named", hint: hint)
    }
  }

  /// Runs to the end, with progress. Returns how many images could not be read, by this process or another; the first one is to tell, and the others get 0.
  func watch(_ run: TrainingRun, _ ranks: OpenMPIRanks?) throws -> Int {
    let trainer = run.trainer, total = min(trainer.schedule.count, stopAfter ?? .max)
    var progress = ProgressBar(total: total * run.loader.stepImages, unit: "images", before: trainer.step * run.loader.stepImages)
    var told: Set<String> = []
    let start = Terminal.now(), first = trainer.step
    Interruption.setFarewell("interrupted; the same command with --resume goes on from the last checkpoint")
    try run.run(workers: workers) { event in
      switch event {
      case .step: progress.advance(by: run.loader.stepImages)
      case .replaced(let name, let reason): if told.insert(name).inserted { Terminal.say("\(name): \(reason); another image takes its place") }
      case .saved: break
      case .neighbours(let accuracy): Terminal.note("k-NN \(fixed(100 * accuracy, 2)) % by the model of the last step")
      case .epoch(let epoch, let loss, let r, let knn):
        let rate = Double((trainer.step - first) * run.loader.stepImages) / max(Terminal.now() - start, 1e-9), left = Double((total - trainer.step) * run.loader.stepImages) / rate
        let ofDistributions = r.hasPrototypes ? "teacher's entropy \(fixed(r.teacherEntropy, 3)) of ln K = \(fixed(r.logK, 3)), KL \(fixed(r.divergence, 3)), \(r.activePrototypes) prototypes in use, " : ""
        Terminal.note("epoch \(epoch): loss \(fixed(loss, 4)), \(ofDistributions)feature spread \(fixed(r.featureSpread, 3)) over \(fixed(r.effectiveRank, 1)) directions, "
          + (knn.map { "k-NN \(fixed(100 * $0, 2)) %, " } ?? "") + "\(fixed(rate, 1)) images/s, \(fixed(left / 60, 0)) min left")
        if run.writes, let advice = r.verdict.advice { Terminal.say("warning: \(advice)") }
      }
    }
    progress.finish()
    let unreadable = try ranks.map { try Self.unreadable(told, of: run.loader.images, $0) } ?? told.count
    Interruption.setFarewell(nil)
    return unreadable
  }

  /// How many of the images are among the names of any process. All ask at the same time.
  private static func unreadable(_ names: Set<String>, of images: [ImageInput], _ ranks: OpenMPIRanks) throws -> Int {
    let marks: ParameterBlock
    do { marks = try ParameterBlock(shapes: [[images.count]]) } catch { throw Failure(DinoError(error, path: nil)) }
    let own: [Float] = images.map { names.contains($0.name) ? 1 : 0 }
    marks.tensors[0].overwrite(with: own)
    ranks.sum(marks)
    var all: Set<String> = []
    for (image, mark) in zip(images, marks.tensors[0].floats()) where mark > 0 { all.insert(image.name) }
    return ranks.index == 0 ? all.count : 0
  }

  /// Ends a run that is done with 1 where images could not be read.
  static func conclude(unreadable: Int) throws {
    guard unreadable > 0 else { return }
    Terminal.say("\(unreadable) image\(unreadable == 1 ? "" : "s") could not be read; others took their places")
    throw Failure(.someSkipped)
  }
}
