// dinoctl finetune --task classification: all weights of a network and a classifier, learnt from photographs in one folder a class.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTasks
internal import DinoTensor
internal import DinoTraining
internal import Safetensors

extension Finetune {
  func runClassification(folder: String) throws {
    running.apply()
    let inputs = try labelled(data), classes = Set(inputs.compactMap(\.className)).sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }
    let index = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1, $0) })
    let test = try recipe.test.map { try ClassifierAccuracy($0, classes: classes, threads: running.threads, precision: running.precision, reading: reading) }
    let start = try start(classes)
    let settings = try recipe.settings(start.config, size: start.size, running.settings)
    if recipe.resume { try FinetuneRun.check(settings, resuming: folder) }
    let loader = try LabelledLoader(images: inputs.map(\.input), labels: inputs.map { index[$0.className ?? ""] ?? 0 }, batch: settings.batch, augmentation: try recipe.augmentation(size: start.size),
                                    preprocessing: start.preprocessing, seed: settings.seed, followsOrientation: reading.exifOrientation)
    try Output.makeFolder(folder)
    let tuner = try Finetuner(settings, stepsPerEpoch: loader.stepsPerEpoch, weights: start.weights, threads: running.threads)
    let run = FinetuneRun(tuner: tuner, loader: loader, folder: folder, classes: classes, preprocessing: start.preprocessing, provenance: start.provenance)
    let flags = settings.listed(stepsPerEpoch: loader.stepsPerEpoch) + run.crops
    let listed = flags.map { $0.value.isEmpty ? $0.flag : "\($0.flag) \($0.value)" }.joined(separator: " ")
    run.provenance.chain.append("finetune\(recipe.fromScratch ? " --from-scratch" : "") on \(inputs.count) images of \(lastComponent(data)) \(listed)")
    run.origin = start.origin
    run.saveSeconds = recipe.saveMinutes * 60
    run.stopAfter = recipe.stopAfter
    run.shield = { try Interruption.shielded($0) }
    if let test { run.accuracy = (recipe.testEvery, test.of) }
    let result = "\(folder)/\(FinetuneRun.modelName)"
    try run.lockFolder()
    if Output.exists("\(folder)/\(TrainingRun.checkpointName)") {
      if !recipe.resume { throw Failure(.usage, "\(folder) has a checkpoint of another run", hint: "add --resume to go on, or name another --output-dir") }
    } else {
      try Originals(model.map(Originals.files(of:)) ?? []).spare([result])
      try RunFolder.checkUnused(folder, model: FinetuneRun.modelName, resume: recipe.resume)
    }
    if recipe.resume {
      Terminal.note(try run.resume() ? "going on from step \(tuner.step) of \(tuner.count)" : "no checkpoint in \(folder) yet: starting anew")
    }
    Terminal.note("\(inputs.count) images of \(classes.count) classes, \(loader.stepsPerEpoch) steps of \(loader.batch) an epoch, \(tuner.count) steps, \(start.config.parameterCount) weights, \(tuner.threads) threads, \(tuner.instructionSet)")
    let last = try watch(run)
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("task", .string(task.rawValue)), .init("steps", .integer(tuner.step)), .init("classes", .array(classes.map { .string($0) })), .init("model", .string(result)),
      ] + (last.training.map { [.init("training_top1", .number(100 * $0))] } ?? []) + (last.test.map { [.init("test_top1", .number(100 * $0))] } ?? [])).text + "\n")
    } else {
      if let top1 = last.test { try Terminal.output("\(fixed(100 * top1, 2)) % of the test images after \(tuner.step) steps\n") }
      Terminal.note("\(result): the network with its classifier")
    }
    try TrainingRunOptions.conclude(unreadable: last.unreadable)
  }

  /// What training starts from.
  private struct Start {
    var config: ViTConfig
    var weights: [String: Tensor]
    var preprocessing: Preprocessing
    var size: Int
    var provenance: Provenance
    /// Which weights these are.
    var origin: String
  }

  private func start(_ classes: [String]) throws -> Start {
    let changes = try preprocessing.changes(), loaded = try model == nil ? nil : loadedModel()
    if let loaded, loaded.preprocessingIsAssumed && !changes.isComplete { Terminal.note("\(model ?? "") says nothing about preprocessing; assumed: \(try loaded.preparer(changes).summary)") }
    let record = try loaded?.preparedRecord(changes) ?? changes.applied(to: .imageNet)
    let size = try cropSide(record)
    var config = try loaded?.checkpoint.config ?? namedConfiguration(size: size)
    guard config.inChannels == 3 else { throw Failure(.unavailable, "fine-tuning reads photographs of 3 channels; this network reads \(config.inChannels)") }
    config.head = .classifier(classes: classes.count)
    if recipe.fromScratch, model != nil { (config.nativeRows, config.nativeColumns) = (size / config.patchSize, size / config.patchSize) }
    var weights: [String: Tensor] = [:]
    do { weights = Dictionary(uniqueKeysWithValues: try WeightInitializer.tensors(config: config, seed: recipe.seed).map { ($0.name, $0.tensor) }) } catch { throw Failure(.usage, DinoError(error).message) }
    guard let source = loaded, !recipe.fromScratch else {
      return Start(config: config, weights: weights, preprocessing: record, size: size, provenance: Provenance(tool: toolName, chain: []), origin: "from scratch")
    }
    let checkpoint = source.checkpoint
    for (name, tensor) in try checkpoint.weights() where !name.hasPrefix("head.") && !name.hasPrefix("probe.") { weights[name] = tensor }
    if let head = try checkpoint.classifierHead(), head.isPartOfNetwork, head.names == classes {
      (weights["head.weight"], weights["head.bias"]) = (head.weight, head.bias)
      Terminal.note("the classifier starts from the one of \(model ?? "")")
    }
    if case .probe(let probe)? = checkpoint.config.head { Terminal.note("the classifier of \(model ?? "") reads \(probe.text) and is left out: fine-tuning learns one of the class token") }
    if try checkpoint.segmentationHead() != nil { Terminal.note("the segmentation head of \(model ?? "") is left out: it belongs to the features as they were") }
    let earlier = checkpoint.record?.provenance
    return Start(config: config, weights: weights, preprocessing: record, size: size,
                 provenance: Provenance(tool: toolName, source: try checkpoint.sourceDigest().map { .init(file: $0.file, sha256: $0.sha256) }, training: earlier?.training, chain: earlier?.chain ?? []),
                 origin: try source.backboneDigest())
  }

  private func cropSide(_ record: Preprocessing) throws -> Int {
    if let crop = record.crop { return crop }
    if case .exact(let height, let width)? = record.resize, height == width { return height }
    throw Failure(.usage, "crops for training are squares, which this preprocessing does not give", hint: "give their side with --image-size S")
  }

  private func namedConfiguration(size: Int) throws -> ViTConfig {
    let named = checkpoint.arch.flatMap(Registry.publishedModel(named:))?.patchSize, patch = recipe.patchSize ?? named ?? 16
    do {
      guard checkpoint.arch == nil, let width = recipe.width, let depth = recipe.depth, let heads = checkpoint.heads else {
        guard let name = checkpoint.arch, recipe.width == nil, recipe.depth == nil else { throw Failure(.usage, "--from-scratch needs --model, --arch, or --width, --depth and --heads") }
        return try Registry.configuration(name, patchSize: patch, imageSize: size, head: nil)
      }
      return ViTConfig(patchSize: patch, embedDim: width, depth: depth, numHeads: heads, nativeRows: size / patch, nativeColumns: size / patch)
    } catch let error as ModelError { throw Failure(.usage, DinoError(error).message) }
  }

  private func labelled(_ path: String) throws -> [ClassedInput] {
    let inputs = try ClassedInput.expand([path])
    if let first = inputs.first(where: { $0.className == nil }) { throw Failure(.data, "\(first.input.name) is in no folder of \(path), so it has no class", hint: "put the images of each class into a folder of its own") }
    return inputs
  }

  private func watch(_ run: FinetuneRun) throws -> (training: Double?, test: Double?, unreadable: Int) {
    let tuner = run.tuner, total = min(tuner.count, recipe.stopAfter ?? .max), batch = run.loader.batch
    var progress = ProgressBar(total: total * batch, unit: "images", before: tuner.step * batch), told: Set<String> = []
    let start = Terminal.now(), first = tuner.step
    Interruption.setFarewell("interrupted; the same command with --resume goes on from the last checkpoint")
    let last = try run.run(workers: recipe.workers) { event in
      switch event {
      case .step: progress.advance(by: batch)
      case .replaced(let name, let reason):
        if reading.strict { throw Failure(.data, "\(name): \(reason)", hint: "without --strict another image takes its place") }
        if told.insert(name).inserted { Terminal.say("\(name): \(reason); another image takes its place") }
      case .epoch(let epoch, let loss, let training, let test):
        let rate = Double((tuner.step - first) * batch) / max(Terminal.now() - start, 1e-9)
        Terminal.note("epoch \(epoch): loss \(fixed(loss, 4)), \(fixed(100 * training, 2)) % of its crops, " + (test.map { "\(fixed(100 * $0, 2)) % of the test images, " } ?? "")
          + "\(fixed(rate, 1)) images/s, \(fixed(Double((total - tuner.step) * batch) / rate / 60, 0)) min left")
      }
    }
    progress.finish()
    Interruption.setFarewell(nil)
    return (last.training, last.test, told.count)
  }
}
