// dinoctl classify: photographs to classes, with the classifier that a checkpoint carries.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTasks
internal import DinoTensor
internal import Safetensors

struct Classify: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What photographs show, by the classifier in a checkpoint.",
    discussion: """
        dinoctl classify --model classifier.safetensors --top 3 photos/

      Without --classifier it is one that dinoctl linear or finetune wrote, the head.weight and head.bias of any supported file, the linear_head.* of DINOv2's own classifiers, or that of \
      transformers' and timm's folders, with the tokens that it reads there. One line an image and answer: path, class, probability. \
      Classes without names in the file are numbers, from 0.
      """)

  @Option(help: "How many classes to tell of each image, the most probable first.")
  var top = 1

  @Option(help: ArgumentHelp("A classifier beside the model: the original's dino_*_linearweights.pth, or a checkpoint.pth.tar of its eval_linear.py.", valueName: "file"), completion: .file())
  var classifier: String?

  @Option(name: long("avgpool-patchtokens"), help: ArgumentHelp("Whether --classifier reads the last block's class token and the mean of its patch tokens (true or false). Default: where its features are twice the model's width, as the original's ViT-B; others read the class tokens of as many blocks as its width says.", valueName: "true-or-false"))
  var avgpoolPatchtokens: OfficialBool?

  @OptionGroup var model: ModelOptions<FeatureHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var running: RunningOptions<FeatureHelp>

  func validate() throws {
    if classifier == nil && avgpoolPatchtokens != nil { throw ValidationError("--avgpool-patchtokens goes with --classifier") }
    if top < 1 { throw ValidationError("--top must be at least 1, not \(top)") }
  }

  func run() throws {
    let images = try input.expand()
    let dino = try model.load(running.settings, manyImages: true)
    let head = try self.head(of: dino)
    let preparer = try Preparing.preparer(dino, preprocessing.changes(), exifOrientation: input.exifOrientation)
    let extractor = try FeatureExtractor(model: dino, settings: head.settings)
    let layer = try head.classifier(of: classifier ?? model.path)
    let stream = ImageStream(preparer: preparer, batchSize: running.settings.imagesAtOnce(of: images.count, by: preparer, in: dino.precision), workers: running.threads)
    var skipped = SkippedInputs(), results: [JSONValue] = []
    var progress = ProgressBar(total: images.count, unit: "images")
    try stream.forEach(images) { part in
      switch part {
      case .unreadable(let index, let reason):
        try skipped.add(images[index].name, reason, strict: input.strict)
        progress.advance()
      case .batch(let indices, let prepared):
        var text = ""
        for (index, feature) in zip(indices, try extractor.rows(prepared)) {
          let logits = layer.logits(feature), probabilities = head.probabilities(logits)
          let answers = LinearClassifier.ranking(logits, count: top).map { (name: head.name($0), probability: probabilities[$0]) }
          if running.json {
            results.append(.object([.init("path", .string(images[index].name)), .init("answers", .array(answers.map {
              .object([.init("class", .string($0.name)), .init("probability", .number(Double($0.probability)))])
            }))]))
          } else {
            for answer in answers { text += "\(printable(images[index].name))\t\(printable(answer.name))\t\(fixed(Double(answer.probability), 4))\n" }
          }
        }
        progress.advance(by: prepared.count)
        if !text.isEmpty {
          ProgressBar.clearLine()
          try Terminal.output(text)
        }
      }
    }
    progress.finish()
    if skipped.count == images.count { throw Failure(.data, "none of the \(images.count) inputs could be read") }
    if running.json {
      try Terminal.output(JSONValue.object([.init("model", .string(model.path)), .init("classes", .integer(head.classes)), .init("images", .array(results)), .init("skipped", skipped.json)]).text + "\n")
    }
    try skipped.conclude(of: images.count)
  }

  private func head(of dino: DinoModel) throws -> ClassifierHead {
    if let classifier {
      let official = try OfficialClassifier(path: classifier), head = try official.head(for: dino.config, withMean: avgpoolPatchtokens?.value)
      let guess = avgpoolPatchtokens == nil ? ", as its width says" + (head.settings.tokens == .cls ? "" : "; --avgpool-patchtokens false is for two blocks") : ""
      Terminal.note("\(classifier): taken to read \(official.text(of: head))\(guess)")
      return head
    }
    guard let head = try dino.checkpoint.classifierHead() else {
      throw Failure(.data, "\(model.path) has no classifier (head.weight and head.bias)", hint: "dinoctl linear --train DIR --model \(model.path) -o OUT.safetensors makes one; --classifier takes the original's dino_*_linearweights.pth")
    }
    return head
  }
}
