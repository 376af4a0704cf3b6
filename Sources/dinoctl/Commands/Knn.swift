// dinoctl knn: how well features tell classes apart, by the paper's weighted vote of nearest neighbours.

internal import ArgumentParser
internal import Dino
internal import DinoTasks
internal import Safetensors

struct Knn: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "k-nearest-neighbour classification, as the official eval_knn.py.",
    discussion: """
      To classify a test image, the k training images nearest to it vote for their classes, each with the weight exp(cosine / temperature). TRAIN and TEST are folders, archives or lists with one folder a class, \
      or banks, with any number of classes and images. Without --test each training image is classified by all others; a note says where a picture is there twice.
      With several numbers k there is an accuracy for each; the table of true and voted classes, --wrong and --predictions are for the first. With more than 1,000 classes \
      --json has confusion_cells, [true class, voted class, count] of what is not 0, in place of confusion.
        dinoctl knn --model M --train photos/train --test photos/test
        dinoctl knn --train BANK -k 10,20
      """)

  @Option(help: ArgumentHelp("Images whose classes are known, or a bank of them.", valueName: "dir-or-bank"), completion: .file())
  var train: String

  @Option(help: ArgumentHelp("Images to classify, or a bank of them. Default: the training images, each by all others.", valueName: "dir-or-bank"), completion: .file())
  var test: String?

  @Option(name: .customShort("k"), help: ArgumentHelp("Numbers of neighbours, by comma.", valueName: "k,…"))
  var neighbours = Numbers(values: WeightedVote.officialNeighbours)

  @Option(help: "The temperature of the votes.")
  var temperature = WeightedVote.officialTemperature

  @Option(help: "Which tokens. Default: cls, or what banks were made of.")
  var tokens: BankTokens?

  @Option(help: "The last so many blocks, beside each other. Default: 1, or what banks were made of.")
  var layers: Int?

  @Flag(help: "List the test images whose votes named another class.")
  var wrong = false

  @Option(help: ArgumentHelp("Write a line for each test image, with fields by tab: the image, its class, and the classes with the most votes at the first k, at most five.", valueName: "file.tsv"), completion: .file())
  var predictions: String?

  @OptionGroup var model: OptionalModelOptions<BankHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<BankHelp>

  func validate() throws {
    if !(temperature > 0 && temperature.isFinite) { throw ValidationError("--temperature must be above 0, not \(temperature)") }
    if let layers, layers < 1 { throw ValidationError("--layers must be at least 1, not \(layers)") }
  }

  func run() throws {
    if let predictions {
      try Output.check(file: predictions)
      try Originals((model.path.map(Originals.files(of:)) ?? []) + ([train] + (test.map { [$0] } ?? [])).flatMap(Originals.files(ofRows:))).spare([predictions])
    }
    var sources = try FeatureSources(model: model, preprocessing: preprocessing, reading: reading, running: running.settings, tokens: tokens, layers: layers, paths: [train] + (test.map { [$0] } ?? []))
    try sources.requireClasses(of: train)
    let trainRows = try sources.load(train)
    let testRows = try test.map { try sources.load($0) } ?? trainRows
    let isLeaveOneOut = test == nil
    if isLeaveOneOut && trainRows.rows.count < 2 { throw Failure(.data, "\(train): leaving one out needs at least 2 images") }
    if Set(trainRows.rows.map { trainRows.labels[$0] }).count == 1 {
      Terminal.note("all images of \(train) are in one class, so the accuracy says nothing; classes are the folders at the top")
    }
    testRows.noteClasses(missingFrom: trainRows.classes)
    if isLeaveOneOut, let (count, row, earlier) = trainRows.repeated() {
      Terminal.note("\(count) images of \(train) have the very feature of another, the first \(trainRows.name(row)) that of \(trainRows.name(earlier)): pictures that are there twice answer for each other, so the accuracy is too high; dinoctl duplicates lists them")
    }
    var progress = ProgressBar(total: testRows.rows.count, unit: "questions")
    let reports = try WeightedVote.classify(testRows, by: trainRows, neighbours: neighbours.values, temperature: temperature, leaveOneOut: isLeaveOneOut,
                                            threads: searchThreads(running.threads)) { progress.advance(by: $0) }
    progress.finish()
    for asked in neighbours.values {
      let voting = WeightedVote.voters(of: trainRows, neighbours: asked, leaveOneOut: isLeaveOneOut)
      if asked > voting { Terminal.note("k = \(asked): there are \(voting) neighbours, all of them vote") }
    }
    if let predictions { try Interruption.shielded { try writeWhole(reports[0].predictionText(testRows), to: predictions) } }
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("train", .string(train)), .init("test", test.map { .string($0) } ?? .null), .init("train_images", .integer(trainRows.rows.count)),
        .init("temperature", .number(temperature)),
        .init("results", .array(zip(neighbours.values, reports).map { k, report in
          .object([.init("k", .integer(k)), .init("top1", .number(100 * report.top1)), .init("top5", .number(100 * report.top5))])
        })),
        .init("first", reports[0].json(testRows)),
      ]).text + "\n")
    } else {
      var text = "\(testRows.rows.count) images\(isLeaveOneOut ? ", each left out for its own question" : ""), \(trainRows.rows.count) training images, \(trainRows.classes.count) classes\n"
      for (k, report) in zip(neighbours.values, reports) { text += "k = \(k): \(report.accuracyText)\n" }
      if trainRows.classes.count <= 40 { text += "\n" + reports[0].confusionText }
      if wrong { text += "\n" + reports[0].wrongText(testRows) }
      try Terminal.output(text)
    }
    try sources.skipped.conclude(of: sources.inputCount)
  }
}

/// Positive numbers by comma.
struct Numbers: ExpressibleByArgument, CustomStringConvertible {
  var values: [Int]
  init(values: [Int]) { self.values = values }
  init?(argument: String) {
    let numbers = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    guard !numbers.isEmpty, numbers.allSatisfy({ $0 != nil && $0! >= 1 && $0! <= 1_000_000 }) else { return nil }
    values = numbers.compactMap { $0 }
  }
  var description: String { values.map(String.init).joined(separator: ",") }
  var defaultValueDescription: String { description }
}
