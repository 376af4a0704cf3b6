// dinoctl linear: a linear classifier on frozen features, and the checkpoint that carries it.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTasks
internal import DinoTensor
internal import Safetensors

struct Linear: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a linear classifier on frozen features.",
    discussion: """
      TRAIN and TEST have one folder a class, or are banks. With more than 1,000 classes --json has confusion_cells, [true class, named class, count] of what is not 0, in place of confusion.
        dinoctl linear --model M --train train/ --test test/ -o new.safetensors
        dinoctl linear --train BANK --test OTHER_BANK

      --method logistic: multinomial logistic regression with L2, the minimum that scikit-learn's LogisticRegression looks for; exact and fast.
      --method sgd: the official eval_linear.py: SGD with momentum 0.9, no decay, rate lr · batch / 256 on a cosine, 100 epochs. Its features are --layers 4 for small networks, \
      --tokens cls+mean for ViT-B, and of DINOv2 --tokens cls+last-mean with --layers 1 or 4.
      Features are made once, of the evaluation's crop (the official code crops anew each epoch). A bank keeps them for the next time: \
      dinoctl index --tokens T --layers N, then --train BANK.
      -o writes the checkpoint with its classifier and the names of the classes in our format; dinoctl classify uses it. A classifier on the last class token alone is the network's \
      own head (head.weight, head.bias; output logits). One on other features is kept beside it (probe.weight, probe.bias; output logits too).
      """)

  @Option(help: ArgumentHelp("Images whose classes are known, or a bank of them.", valueName: "dir-or-bank"), completion: .file())
  var train: String

  @Option(help: ArgumentHelp("Images to hold the classifier against, or a bank of them.", valueName: "dir-or-bank"), completion: .file())
  var test: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("Write the model with its classifier.", valueName: "file.safetensors"), completion: .file())
  var output: String?

  @Option(help: "How to learn; see above.")
  var method = Method.logistic

  @Option(help: "Which tokens. Default: cls, or what banks were made of.")
  var tokens: BankTokens?

  @Option(help: "The last so many blocks, beside each other. Default: 1, or what banks were made of.")
  var layers: Int?

  @Option(name: .customLong("c"), help: "logistic: the inverse of the regularisation, scikit-learn's C.")
  var inverseRegularization = 1.0

  @Option(help: "sgd: how many times all images are gone through.")
  var epochs = 100

  @Option(name: .customLong("lr"), help: "sgd: the learning rate for a batch of 256.")
  var learningRate = 0.001

  @Option(help: "sgd: images in a step.")
  var sgdBatch = 256

  @Option(help: "sgd: decides the first weights and the order of the images.")
  var seed: UInt64 = 0

  @Flag(help: "List the test images that were taken for another class.")
  var wrong = false

  @OptionGroup var model: OptionalModelOptions<BankHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<BankHelp>

  enum Method: String, ExpressibleByArgument, CaseIterable { case logistic, sgd }

  func validate() throws {
    let unread = method == .logistic ? ["--epochs", "--lr", "--sgd-batch", "--seed"] : ["--c"]
    if let flag = GivenFlags.all().first(where: unread.contains) { throw ValidationError("\(flag) goes with --method \(method == .logistic ? "sgd" : "logistic")") }
    if wrong && test == nil { throw ValidationError("--wrong goes with --test") }
    if let layers, layers < 1 { throw ValidationError("--layers must be at least 1, not \(layers)") }
    if !(inverseRegularization > 0 && inverseRegularization.isFinite) { throw ValidationError("--c must be above 0, not \(inverseRegularization)") }
    if epochs < 1 || epochs > 100_000 { throw ValidationError("--epochs must be from 1 to 100000, not \(epochs)") }
    if !(learningRate > 0 && learningRate.isFinite) { throw ValidationError("--lr must be above 0, not \(learningRate)") }
    if sgdBatch < 1 { throw ValidationError("--sgd-batch must be at least 1, not \(sgdBatch)") }
    if output != nil && model.path == nil { throw ValidationError("-o writes the model with its classifier, so --model is needed") }
    if output == nil && test == nil { throw ValidationError("nothing to do: --test holds the classifier against images, -o writes it") }
    if let output, !output.hasSuffix(".safetensors") { throw ValidationError("-o writes a file that ends in .safetensors, not \(output)") }
  }

  func run() throws {
    if let output {
      try Output.check(file: output)
      try Originals((model.path.map(Originals.files(of:)) ?? []) + ([train] + (test.map { [$0] } ?? [])).flatMap(Originals.files(ofRows:))).spare([output])
    }
    var sources = try FeatureSources(model: model, preprocessing: preprocessing, reading: reading, running: running.settings, tokens: tokens, layers: layers, paths: [train] + (test.map { [$0] } ?? []))
    try sources.requireClasses(of: train, atLeast: 2)
    let set = try TrainingSet(try sources.load(train), name: train)
    let testRows = try test.map { try sources.load($0) }
    let (classifier, how) = try learn(set)
    testRows?.noteClasses(missingFrom: set.classes)
    let report = testRows.map { rows in
      var progress = ProgressBar(total: rows.rows.count, unit: "test images")
      let report = classifier.evaluate(rows, classes: set.classes, threads: searchThreads(running.threads)) { progress.advance(by: $0) }
      progress.finish()
      return report
    }
    if let output, let maker = sources.maker { try write(classifier, set, sources.settings, maker, to: output) }
    if running.json {
      var members: [JSONValue.Member] = [
        .init("method", .string(method.rawValue)), .init("train_images", .integer(set.count)), .init("features", .integer(set.width)), .init("fit", how.json),
        .init("output", output.map { .string($0) } ?? .null),
      ]
      if let report, let testRows { members.append(.init("test", report.json(testRows))) }
      try Terminal.output(JSONValue.object(members).text + "\n")
    } else {
      var text = "\(set.count) training images, \(set.classes.count) classes, features of \(set.width) numbers: \(how.text)\n"
      if let report, let testRows {
        text += "\(report.images.count) test images: \(report.accuracyText)\n"
        if set.classes.count <= 40 { text += "\n" + report.confusionText }
        if wrong { text += "\n" + report.wrongText(testRows) }
      }
      try Terminal.output(text)
      if let output { Terminal.note("\(output): the model with its classifier of \(set.classes.count) classes") }
    }
    try sources.skipped.conclude(of: sources.inputCount)
  }

  /// What is told of the learning.
  private struct Learned {
    var text: String
    var json: JSONValue
  }

  private func learn(_ set: TrainingSet) throws -> (LinearClassifier, Learned) {
    let threads = searchThreads(running.threads)
    switch method {
    case .logistic:
      var regression = LogisticRegression()
      regression.inverseRegularization = inverseRegularization
      let fit = try regression.showingFit(set, threads: threads)
      return (fit.classifier, Learned(text: "logistic regression, C = \(inverseRegularization), \(fit.iterations) of Newton's steps, objective \(fixed(fit.objective, 6))",
                                      json: .object([.init("c", .number(inverseRegularization)), .init("iterations", .integer(fit.iterations)), .init("objective", .number(fit.objective)),
                                                     .init("gradient", .number(fit.gradient)), .init("converged", .bool(fit.isConverged))])))
    case .sgd:
      var probe = LinearProbe()
      probe.epochs = epochs
      probe.learningRate = learningRate
      probe.batchSize = sgdBatch
      probe.seed = seed
      var progress = ProgressBar(total: epochs, unit: "epochs")
      let classifier = try probe.fit(set, threads: threads) { _ in progress.advance() }
      progress.finish()
      guard (classifier.weights + classifier.bias).allSatisfy(\.isFinite) else { throw Failure(.data, "SGD diverged: the classifier has values that are not finite", hint: "lower --lr (\(learningRate))") }
      return (classifier, Learned(text: "SGD, \(epochs) epochs, rate \(learningRate) · \(sgdBatch) / 256",
                                  json: .object([.init("epochs", .integer(epochs)), .init("lr", .number(learningRate)), .init("batch", .integer(sgdBatch)), .init("seed", .string("\(seed)"))])))
    }
  }

  private func write(_ classifier: LinearClassifier, _ set: TrainingSet, _ settings: FeatureSettings, _ maker: FeatureMaker, to output: String) throws {
    let checkpoint = maker.model.checkpoint, earlier = checkpoint.record?.provenance
    let chain = (earlier?.chain ?? []) + ["linear --method \(method.rawValue) --tokens \(settings.tokens.rawValue) --layers \(settings.layers) on \(lastComponent(train))"]
    let provenance = Provenance(tool: toolName, source: try checkpoint.sourceDigest().map { .init(file: $0.file, sha256: $0.sha256) }, randomWeights: checkpoint.hasRandomWeights,
                                training: earlier?.training, chain: chain)
    var writer = ModelWriter(config: checkpoint.config, weights: try checkpoint.weights(), preprocessing: maker.preparer.preprocessing, provenance: provenance)
    writer.setClassifier(ClassifierHead(names: set.classes, settings: settings, weight: Tensor(classifier.weights, shape: [set.classes.count, set.width]),
                                        bias: Tensor(classifier.bias, shape: [set.classes.count])))
    if let head = try checkpoint.segmentationHead() { writer.setSegmentationHead(head) }
    try Interruption.shielded { try writer.write(.dino, to: output) }
  }
}
