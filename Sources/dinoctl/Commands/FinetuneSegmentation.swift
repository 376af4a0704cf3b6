// dinoctl finetune --task segmentation: a linear layer on patch tokens, learnt from a folder of masks; the backbone stays as it is.

internal import Dino
internal import DinoImaging
internal import DinoModels
internal import DinoSegmentation
internal import DinoTasks
internal import DinoTensor
internal import Safetensors

extension Finetune {
  func runSegmentation(masks: String, output: String) throws {
    try Output.check(file: output)
    try Originals(model.map(Originals.files(of:)) ?? []).spare([output])
    let pairs = try MaskedPhotographs(photographs: data, masks: masks)
    let dino = try loadedModel()
    let preparer = try Preparing.attentionPreparer(dino, preprocessing.changes(), exifOrientation: reading.exifOrientation)
    var skipped = SkippedInputs()
    let (set, labels) = try learnt(pairs, masks, dino, preparer, &skipped)
    var regression = LogisticRegression()
    regression.inverseRegularization = inverseRegularization
    let fit = try regression.showingFit(set, threads: searchThreads(running.threads))
    var head = SegmentationHead(labels: labels, weight: Tensor(fit.classifier.weights, shape: [labels.count, set.width]), bias: Tensor(fit.classifier.bias, shape: [labels.count]))
    head.preprocessing = preparer.preprocessing
    let correct = zip(head.classes(set.values), set.labels).count { $0 == $1 }
    try write(head, dino, preparer, to: output)
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("task", .string(task.rawValue)), .init("photographs", .integer(pairs.photographs.count - skipped.count)), .init("patches", .integer(set.count)),
        .init("labels", .array(labels.map { .integer(Int($0)) })), .init("iterations", .integer(fit.iterations)), .init("objective", .number(fit.objective)), .init("converged", .bool(fit.isConverged)),
        .init("training_accuracy", .number(100 * Double(correct) / Double(set.count))), .init("output", .string(output)),
      ]).text + "\n")
    } else {
      try Terminal.output("\(set.count) patches of \(pairs.photographs.count - skipped.count) photographs, classes \(labels.map { "\($0)" }.joined(separator: ", ")): \(fixed(100 * Double(correct) / Double(set.count), 2)) % of these patches right, \(fit.iterations) of Newton's steps, objective \(fixed(fit.objective, 6))\n")
      Terminal.note("\(output): the model with its segmentation head")
    }
    try skipped.conclude(of: pairs.photographs.count)
  }

  /// The patches that are learnt from, with their classes, and what those are called in masks.
  private func learnt(_ pairs: MaskedPhotographs, _ masks: String, _ dino: DinoModel, _ preparer: ImagePreparer, _ skipped: inout SkippedInputs) throws -> (TrainingSet, [UInt8]) {
    let inputs = pairs.photographs, written = try MaskSet(pairs.masks)
    if let note = written.note { Terminal.note(note) }
    var values: [Float] = [], found: [UInt8] = [], seen = 0, masksOf: [UInt8: Int] = [:]
    var progress = ProgressBar(total: inputs.count, unit: "images")
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: 3, workers: inputs.count == 1 ? 0 : 1) { Photograph.read(inputs[$0], preparer) }
    for (i, input) in inputs.enumerated() {
      guard let next = prefetch.next() else { break }
      switch next {
      case .failure(let reason): try skipped.add(input.name, reason.message, strict: reading.strict)
      case .success(let photograph):
        let mask = try written.labels(pairs.masks[i]), g = photograph.prepared.geometry
        try MaskedPhotographs.check(pairs.masks[i], width: mask.width, height: mask.height, of: photograph.image, isTurned: reading.exifOrientation)
        let features = try dino.patchFeatures(photograph.prepared, .tokens)
        for label in mask.labels where label != written.void { masksOf[label, default: 0] += 1 }
        // Each photograph gives an equal part of what is still wanted, however many patches it has, or all where it has fewer; the others make up for it.
        let keep = min(1, Double(patches - found.count) / (Double(g.rows * g.columns) * Double(inputs.count - i)))
        for (patch, label) in mask.labels(under: g).enumerated() {
          guard let label, label != written.void else { continue }
          // Steps of the golden ratio spread evenly, and never fall in with the columns of the grid.
          let place = Double(seen) * 0.618_033_988_749_894_9
          seen += 1
          guard place - place.rounded(.down) < keep, found.count < patches else { continue }
          values += features.row(patch)
          found.append(label)
        }
      }
      progress.advance()
    }
    progress.finish()
    let labels = Set(found).sorted(), index = Dictionary(uniqueKeysWithValues: labels.enumerated().map { ($1, $0) })
    guard skipped.count < inputs.count else { throw Failure(.data, "none of the \(inputs.count) photographs could be read") }
    guard !labels.isEmpty else { throw Failure(.data, "\(masks): no patch has a class to learn from: all are void, or outside their photographs") }
    guard labels.count >= 2 else { throw Failure(.data, "\(masks): all patches have the one class \(labels[0]), where at least 2 are needed", hint: "masks are grey, 0 outside and another level inside") }
    let missed = masksOf.filter { !labels.contains($0.key) }.sorted { $0.key < $1.key }
    if !missed.isEmpty {
      let classes = missed.map { "class \($0.key) is in \($0.value) \($0.value == 1 ? "mask" : "masks")" }.joined(separator: ", ")
      Terminal.note("\(classes), but in no patch that was learnt from; a larger --image-size or more --patches may help")
    }
    return (TrainingSet(width: values.count / found.count, classes: labels.map { "\($0)" }, values: values, labels: found.map { index[$0] ?? 0 }), labels)
  }

  private func write(_ head: SegmentationHead, _ dino: DinoModel, _ preparer: ImagePreparer, to output: String) throws {
    let checkpoint = dino.checkpoint, earlier = checkpoint.record?.provenance
    let chain = (earlier?.chain ?? []) + ["finetune --task \(task.rawValue) on \(lastComponent(data))"]
    let provenance = Provenance(tool: toolName, source: try checkpoint.sourceDigest().map { .init(file: $0.file, sha256: $0.sha256) }, randomWeights: checkpoint.hasRandomWeights,
                                training: earlier?.training, chain: chain)
    // The record keeps the preprocessing of features; the head has its own, whose mean and deviation are both's.
    var record = dino.preprocessing
    (record.mean, record.std, record.channelOrder) = (preparer.preprocessing.mean, preparer.preprocessing.std, preparer.preprocessing.channelOrder)
    var writer = ModelWriter(config: checkpoint.config, weights: try checkpoint.weights(), preprocessing: record, provenance: provenance)
    if let classifier = try checkpoint.classifierHead(), !classifier.names.isEmpty { writer.setClassifier(classifier) }
    writer.setSegmentationHead(head)
    try Interruption.shielded { try writer.write(.dino, to: output) }
  }
}
