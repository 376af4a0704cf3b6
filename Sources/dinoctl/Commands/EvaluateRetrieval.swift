// dinoctl evaluate retrieval: the landmark protocol of eval_image_retrieval.py, on revisited Oxford and Paris or on any folder whose images belong together.

internal import ArgumentParser
internal import Dino
internal import DinoModels
internal import DinoTasks
internal import DinoTensor
internal import Safetensors

struct EvaluateRetrieval: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "retrieval",
    abstract: "Image retrieval: mAP and mP@k, as on revisited Oxford and Paris.",
    discussion: """
      With --ground-truth: DIR has the images (jpg/NAME.jpg or NAME.jpg, NAME with or without its ending); the file has imlist, qimlist and gnd with easy, hard and junk, as JSON. The published file is a Python \
      pickle; this makes gnd.json of gnd.pkl:

      python3 - << END
      import json, pickle
      data = pickle.load(open("gnd.pkl", "rb"))
      out = open("gnd.json", "w")
      json.dump(data, out, default=lambda a: a.tolist())
      END

      Query images are not cut to their box, as in the official DINO evaluation. Without --ground-truth every image asks for the others of its class: the folder that it is in, \
      or with --by name the file name up to its first part that begins with a digit.
      An image is shrunk to fit --image-size (never enlarged) and keeps its shape. Average precision is by trapezoids, junk is taken out of the ranking; mP@k cuts k at the last \
      positive. --whiten learns PCA whitening from features of other images; --expand N asks again with the mean of a query and its N best answers.
      """)

  @Argument(help: ArgumentHelp("The folder of the images.", valueName: "dir"), completion: .directory)
  var folder: String

  @Option(help: ArgumentHelp("Ground truth of revisited Oxford or Paris, as JSON.", valueName: "gnd.json"), completion: .file())
  var groundTruth: String?

  @Option(help: "Without a ground truth: what decides which images belong together.")
  var by = Grouping.folder

  @Option(help: "Images are shrunk to fit a square of this side.")
  var imageSize = 224

  @Flag(help: "The mean of features at sizes 1, 1/√2 and 1/2.")
  var multiScale = false

  @Option(help: ArgumentHelp("Whiten with the features of these images.", valueName: "dir"), completion: .file())
  var whiten: String?

  @Option(help: "Ask again with the mean of a query and so many of its best answers.")
  var expand = 0

  @Option(help: "Weight an answer in that mean by its score to this power; 0 is the plain mean.")
  var alpha = 0.0

  @OptionGroup var model: ModelOptions<PictureHelp>
  @OptionGroup var preprocessing: StatisticsOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<PictureHelp>

  enum Grouping: String, ExpressibleByArgument, CaseIterable { case folder, name }
  private static let ks = [1, 5, 10]

  func validate() throws {
    if imageSize < 1 || imageSize > 65_536 { throw ValidationError("--image-size must be from 1 to 65536, not \(imageSize)") }
    if expand < 0 { throw ValidationError("--expand must be at least 0, not \(expand)") }
    if !(alpha >= 0 && alpha.isFinite) { throw ValidationError("--alpha must be at least 0, not \(alpha)") }
    let given = GivenFlags.all()
    if expand == 0 && given.contains("--alpha") { throw ValidationError("--alpha goes with --expand, whose answers it weights") }
    if groundTruth != nil && given.contains("--by") { throw ValidationError("--by goes without --ground-truth, which says what belongs together") }
  }

  func run() throws {
    let set = try images()
    let dino = try model.load(running.settings, manyImages: true)
    var preparer = ThumbnailPreparer(side: imageSize, preprocessing: try preprocessing.record(of: dino))
    preparer.followsOrientation = reading.exifOrientation
    var skipped = SkippedInputs(), total = set.database.count + set.queries.count
    var database = try features(set.database, dino, preparer, &skipped)
    var queries = set.queries.isEmpty ? database : try features(set.queries, dino, preparer, &skipped)
    guard skipped.count == 0 else { throw Failure(.data, "the protocol needs all of its images; \(skipped.count) could not be read") }
    if let whiten {
      let inputs = try ReadingOptions.expand([whiten]), rows = try features(inputs, dino, preparer, &skipped)
      guard !rows.isEmpty else { throw Failure(.data, "\(whiten): none of the \(inputs.count) inputs could be read") }
      total += inputs.count
      let whitening = try Whitening.learnt(rows, of: whiten)
      database = database.map { unitVector(whitening.apply($0)).values }
      queries = queries.map { unitVector(whitening.apply($0)).values }
    }
    let ranker = try Ranker(database, threads: searchThreads(running.threads))
    if expand > 0 { queries = ranker.expanded(queries, answers: expand, alpha: alpha, isItself: set.queries.isEmpty) }
    let settings: [RetrievalGroundTruth.Setting] = groundTruth == nil ? [.hard] : [.easy, .medium, .hard]
    var scores = settings.map { ($0, RetrievalScores(ks: Self.ks)) }, progress = ProgressBar(total: queries.count, unit: "queries")
    ranker.rankings(queries) { query, ranking in
      for s in scores.indices { scores[s].1.add(ranking, set.truth.truth(query, scores[s].0)) }
      progress.advance()
    }
    progress.finish()
    try tell(scores, set.truth)
    try skipped.conclude(of: total)
  }

  // MARK: What is asked

  private struct Images {
    var database: [ImageInput]
    /// Empty where every image of the database is a query.
    var queries: [ImageInput]
    var truth: RetrievalGroundTruth
  }

  private func images() throws -> Images {
    if let groundTruth {
      let truth = try RetrievalGroundTruth(path: groundTruth)
      let named = try FilesByName(folder)
      func input(_ name: String) throws -> ImageInput {
        guard let input = try named.file(name) else { throw Failure(.notFound, "\(folder): the image \(name) of the ground truth is not there") }
        return input
      }
      guard truth.queries.contains(where: { !$0.easy.isEmpty || !$0.hard.isEmpty }) else { throw Failure(.data, "\(groundTruth): no query has an easy or a hard image to be found") }
      return Images(database: try truth.images.map(input), queries: try truth.queryImages.map(input), truth: truth)
    }
    let inputs = try ClassedInput.expand([folder])
    let names = inputs.map { by == .folder ? $0.className : Self.leadingName($0.input.stem) }
    guard !names.contains(nil) else { throw Failure(.data, "\(folder): not every image is in the folder of a class", hint: "--by name takes the class from file names") }
    let classes = Set(names.compactMap { $0 }).sorted()
    let index = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1, $0) })
    let truth = RetrievalGroundTruth(classesOf: names.compactMap { $0.flatMap { index[$0] } }, names: inputs.map(\.input.name))
    guard classes.count < names.count else { throw Failure(.data, "\(folder): no two images are of one class") }
    return Images(database: inputs.map(\.input), queries: [], truth: truth)
  }

  /// "sacre_coeur_03903474_1471" → "sacre_coeur"
  static func leadingName(_ stem: String) -> String {
    var name = ""
    for part in stem.split(separator: "_", omittingEmptySubsequences: false) {
      if !name.isEmpty, part.first?.isNumber ?? true { break }
      name += (name.isEmpty ? "" : "_") + part
    }
    return name
  }

  private func features(_ inputs: [ImageInput], _ dino: DinoModel, _ preparer: ThumbnailPreparer, _ skipped: inout SkippedInputs) throws -> [[Float]] {
    var progress = ProgressBar(total: inputs.count, unit: "images"), rows: [[Float]] = []
    let threads = searchThreads(running.threads)
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: 2 * threads, workers: inputs.count == 1 ? 0 : threads) { preparer.prepare(inputs[$0]) }
    for input in inputs {
      guard let next = prefetch.next() else { break }
      switch next {
      case .success(let image):
        if dino.holdsPatch(image.tensor, multiScale: multiScale) {
          rows.append(unitVector(try dino.retrievalFeature(image.tensor, multiScale: multiScale)).values)
        } else {
          let size = "\(image.tensor.shape[3])x\(image.tensor.shape[2])", scale = multiScale ? " at half its size" : ""
          try skipped.add(input.name, "its \(size) pixels\(scale) are smaller than one patch of \(dino.config.patchSize)", strict: reading.strict)
        }
      case .failure(let reason): try skipped.add(input.name, reason.message, strict: reading.strict)
      }
      progress.advance()
    }
    progress.finish()
    return rows
  }

  private func tell(_ scores: [(RetrievalGroundTruth.Setting, RetrievalScores)], _ truth: RetrievalGroundTruth) throws {
    // Of a setting in which no query has anything to be found there is no mean.
    func percent(_ v: Double) -> String { v.isNaN ? "-" : fixed(100 * v, 2) }
    func number(_ v: Double) -> JSONValue { v.isNaN ? .null : .number(100 * v) }
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("images", .integer(truth.images.count)), .init("queries", .integer(truth.queries.count)), .init("multi_scale", .bool(multiScale)), .init("image_size", .integer(imageSize)),
        .init("results", .array(scores.map { setting, s in
          .object([.init("setting", .string(groundTruth == nil ? "all" : setting.rawValue)), .init("map", number(s.meanAveragePrecision)),
                   .init("mp", .object(zip(Self.ks, s.precisions).map { .init("\($0)", number($1)) }))])
        })),
      ]).text + "\n")
      return
    }
    var text = "\(truth.queries.count) queries, \(truth.images.count) images\(multiScale ? ", three scales" : "")\(whiten == nil ? "" : ", whitened")\(expand > 0 ? ", \(expand) answers expand the query" : "")\n"
    for (setting, s) in scores {
      let name = groundTruth == nil ? "all" : setting.rawValue
      text += "\(name): mAP \(percent(s.meanAveragePrecision)), " + zip(Self.ks, s.precisions).map { "mP@\($0) \(percent($1))" }.joined(separator: ", ") + "\n"
    }
    try Terminal.output(text)
  }
}
