// Features for the commands that compare them: of the images of a folder, made now, or of a bank, made before. Classes are the folders that images are in.

internal import Dino
internal import DinoKernels
internal import DinoRuntime
internal import DinoTasks

/// An image and the class that its folder stands for.
struct ClassedInput {
  var input: ImageInput
  var className: String?

  /// Expands arguments. Within a folder or an archive the class is the first folder below it, as torchvision's ImageFolder has it; of a file or a line of a list it
  /// is the folder that holds the file.
  static func expand(_ arguments: [String]) throws -> [ClassedInput] {
    var result: [ClassedInput] = []
    for argument in arguments {
      for input in try ReadingOptions.expand([argument]) {
        let parts = ImageInputs.path(input.name, below: argument).map(ImageInputs.parts(of:))
        let name = parts.map { $0.count < 2 ? nil : $0.first.map(String.init) } ?? folderClass(of: input.name)
        result.append(ClassedInput(input: input, className: name))
      }
    }
    return result
  }
}

extension ClassedInput {
  /// The class of a file that is named by itself: the folder that holds it.
  static func folderClass(of path: String) -> String? {
    let parts = ImageInputs.parts(of: path)
    return parts.count < 2 ? nil : String(parts[parts.count - 2])
  }
}

/// A model that makes features of one kind.
struct FeatureMaker {
  let model: DinoModel
  let preparer: ImagePreparer
  /// Rows of a batch, as the network gives them.
  let rows: ([PreparedImage]) throws -> [[Float]]
  let width: Int
  private let tokens: String, layers: Int
  let batchSize: Int
  let workers: Int

  init(model: DinoModel, preparer: ImagePreparer, settings: FeatureSettings, running: RunSettings) throws {
    precondition(settings.tokens != .patch && !settings.normalized)
    let extractor = try FeatureExtractor(model: model, settings: settings)
    try self.init(model: model, preparer: preparer, running: running, width: extractor.rowShape(patches: 1)[0], tokens: settings.tokens.rawValue, layers: settings.layers) {
      try extractor.rows($0)
    }
  }

  init(model: DinoModel, preparer: ImagePreparer, running: RunSettings, width: Int, tokens: String, layers: Int = 1, rows: @escaping ([PreparedImage]) throws -> [[Float]]) throws {
    self.model = model
    self.preparer = preparer
    self.rows = rows
    self.width = width
    self.tokens = tokens
    self.layers = layers
    batchSize = running.imagesAtOnce(of: .max, by: preparer, in: model.precision)
    workers = running.threads
  }

  /// What a bank of these rows says of them. It takes the digest of all weights: to be asked for where there is a bank.
  func record() throws -> BankRecord {
    BankRecord(model: lastComponent(model.checkpoint.path), modelDigest: try model.backboneDigest(), preprocessing: preparer.summary, tokens: tokens,
               layers: layers, precision: model.precision.rawValue)
  }

  /// Calls `body` with each image's row, in order; unreadable images are named and skipped.
  func forEach(_ inputs: [ImageInput], strict: Bool, skipped: inout SkippedInputs, progress: inout ProgressBar, _ body: (Int, [Float]) throws -> Void) throws {
    try ImageStream(preparer: preparer, batchSize: min(batchSize, max(1, inputs.count)), workers: workers).forEach(inputs) { part in
      switch part {
      case .batch(let indices, let images):
        for (index, row) in zip(indices, try rows(images)) { try body(index, row) }
        progress.advance(by: images.count)
      case .unreadable(let index, let reason):
        try skipped.add(inputs[index].name, reason, strict: strict)
        progress.advance()
      }
    }
  }

  /// All rows of the inputs in memory.
  func labelledRows(_ inputs: [ClassedInput], strict: Bool, skipped: inout SkippedInputs) throws -> LabelledRows {
    var features: [[Float]] = [], kept: [Int] = []
    var progress = ProgressBar(total: inputs.count, unit: "images")
    try forEach(inputs.map(\.input), strict: strict, skipped: &skipped, progress: &progress) { index, row in
      features.append(row)
      kept.append(index)
    }
    progress.finish()
    guard !features.isEmpty else { throw Failure(.data, "none of the \(inputs.count) inputs could be read") }
    return try LabelledRows(features: features, names: kept.map { inputs[$0].input.name }, classNames: kept.map { inputs[$0].className })
  }
}

/// Where a command gets features from, and what was left out on the way.
struct FeatureSources {
  /// Nil where no model was named: then only banks will do.
  let maker: FeatureMaker?
  /// What the maker makes.
  private(set) var settings = FeatureSettings()
  let strict: Bool
  var skipped = SkippedInputs()
  private(set) var inputCount = 0
  /// What the features so far are of; all must agree.
  private var record: (record: BankRecord, name: String)?
  /// What was asked for by name: without a model banks must have been made so.
  private var asked: (tokens: BankTokens?, layers: Int?) = (nil, nil)
  /// What is known of the paths before any image is decoded: the images, or the rows of a bank.
  private var found: [String: Found] = [:]

  private enum Found {
    case images([ClassedInput])
    case rows(LabelledRows)
  }

  init(maker: FeatureMaker?, strict: Bool) {
    self.maker = maker
    self.strict = strict
  }

  /// The sources of a command with the usual options. All paths are looked into and banks held against the model here: features of many images take hours, which one wrong name must not cost. Of `paths`, which are to be loaded, the first bank says which tokens and layers, where they are not asked for.
  init(model: OptionalModelOptions<some SharedHelp>, preprocessing: PreprocessingOptions, reading: ReadingOptions, running: RunSettings, tokens: BankTokens?, layers: Int? = nil, paths: [String]) throws {
    try GivenFlags.refuse(GivenFlags.ofImages, unless: model.path != nil, "--model: the rows of a bank are made already")
    var images: [String: Found] = [:]
    for path in paths where !FeatureBank.isBank(path) {
      guard model.path != nil else { throw Self.needsModel(path) }
      images[path] = .images(try ClassedInput.expand([path]))
    }
    let bank: BankRecord? = try model.path == nil ? nil : paths.first { FeatureBank.isBank($0) }.map { try FeatureBank(path: $0).record }
    let chosen: BankTokens = tokens ?? bank.flatMap { BankTokens(rawValue: $0.tokens) } ?? .cls
    let settings = FeatureSettings(tokens: chosen.choice, layers: layers ?? bank?.layers ?? 1)
    let maker = try model.load(running, manyImages: true).map { dino in
      try FeatureMaker(model: dino, preparer: try Preparing.preparer(dino, preprocessing.changes(), exifOrientation: reading.exifOrientation), settings: settings, running: running)
    }
    self.init(maker: maker, strict: reading.strict)
    self.settings = settings
    if maker == nil { asked = (tokens, layers) }
    found = images
    for path in paths where found[path] == nil { found[path] = .rows(try rows(ofBank: path)) }
  }

  /// Fails where an image of a path has no class, or there are fewer classes: before its features are made. Images that cannot be read may still take the last one of a class with them.
  func requireClasses(of path: String, atLeast least: Int = 1) throws {
    switch found[path] {
    case .images(let inputs):
      if let input = inputs.first(where: { $0.className == nil }) { throw TaskError.noLabels(name: path, example: input.input.name) }
      let count = Set(inputs.compactMap(\.className)).count
      if count < least { throw TaskError.tooFewClasses(name: path, count: count) }
    case .rows(let rows):
      try rows.requireClasses(name: path)
      if rows.classes.count < least { throw TaskError.tooFewClasses(name: path, count: rows.classes.count) }
    case nil: throw Failure(.bug, "\(path) was not looked into")
    }
  }

  /// Features of a bank, or of all images in a folder, an archive or a list.
  mutating func load(_ path: String) throws -> LabelledRows {
    switch found[path] {
    case .rows(let rows): return rows
    case .images(let inputs):
      guard let maker else { throw Self.needsModel(path) }
      inputCount += inputs.count
      return try maker.labelledRows(inputs, strict: strict, skipped: &skipped)
    case nil: throw Failure(.bug, "\(path) was not looked into")
    }
  }

  private static func needsModel(_ path: String) -> Failure { Failure(.usage, "\(path) is no feature bank, so --model is needed to make features of its images") }

  private mutating func rows(ofBank path: String) throws -> LabelledRows {
    let bank = try FeatureBank(path: path)
    if record == nil { record = try maker.map { (try $0.record(), "--model") } }
    if let record { try bank.check(record.record, name: record.name == "--model" ? path : "\(path), beside \(record.name),") }
    var wanted = bank.record
    if let tokens = asked.tokens { wanted.tokens = tokens.choice.rawValue }
    if let layers = asked.layers { wanted.layers = layers }
    try bank.record.check(wanted, bank: path)
    record = record ?? (bank.record, path)
    guard bank.liveCount > 0 else { throw Failure(.data, "\(path): the bank has no rows") }
    return LabelledRows(bank)
  }
}

extension FeatureBank {
  /// Refuses features that are not of the bank's kind; says where they are in another precision. `name` is what a sentence calls the bank.
  func check(_ other: BankRecord, name: String) throws {
    try record.check(other, bank: name)
    guard record.precision != other.precision, !record.precision.isEmpty, !other.precision.isEmpty else { return }
    Terminal.note("\(name) was made in \(record.precision), the other features are in \(other.precision): scores differ slightly")
  }
}

/// Threads of a search: those asked for, or, with 0, the cores there are.
func searchThreads(_ asked: Int) -> Int { asked > 0 ? asked : availableCores() }
