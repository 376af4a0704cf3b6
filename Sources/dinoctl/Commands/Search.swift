// dinoctl search: the photographs of a bank that are most like the ones given, with their scores, and as a sheet of small pictures.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoKernels
internal import DinoTasks
internal import DinoTensor
internal import Safetensors

enum SearchHelp: SharedHelp {
  static var model: String { "The checkpoint that the bank was made with: \(checkpoints) Needed for query images; --like asks without." }
}

struct Search: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The nearest photographs of a bank, with scores.",
    discussion: """
      Each answer is one line: the query (where there are several), the score and the path. A score is the cosine of two features: 1 for the same picture.
        dinoctl search --model M --bank BANK -k 5 question.jpg
        dinoctl search --bank BANK --like photos/cat.jpg --contact-sheet cat.png

      The model and the preprocessing must be those that the bank was made with. --like asks with a row of the bank itself and needs no model.
      The search is exact: it compares every row of the bank. --approximate instead walks the graph that dinoctl index --approximate built. It looks at as many candidates as were needed to find the share \
      of the ten nearest that the graph was built for; --breadth says another number.
      """)

  @Argument(help: "Query images, folders, list files, tar shards, or - for standard input.", completion: .file())
  var inputs: [String] = []

  @Option(help: ArgumentHelp("The bank, as dinoctl index makes it.", valueName: "bank"), completion: .directory)
  var bank: String

  @Option(help: ArgumentHelp("Ask with the image that the bank has under this path; it is left out of its own answers. May be repeated.", valueName: "path"), completion: .file())
  var like: [String] = []

  @Option(name: .customShort("k"), help: "How many answers to each query.")
  var count = 10

  @Option(help: ArgumentHelp("Answers below this score are left out.", valueName: "score"))
  var threshold: Float?

  @Option(help: ArgumentHelp("Write small pictures as a PNG: each query and, in its row, its answers. Where a picture is not there any more, a grey square stands for it, a line names it, and the exit code is 1.", valueName: "file.png"), completion: .file())
  var contactSheet: String?

  @Flag(help: "Search by the bank's graph instead of all rows.")
  var approximate = false

  @Option(help: "approximate: how many candidates to look at; more find more, and take longer.")
  var breadth: Int?

  @Option(help: ArgumentHelp("Also search this many times, and print how fast the bank was read and how fast this machine reads memory at best.", valueName: "times"))
  var measure: Int?

  @OptionGroup var model: OptionalModelOptions<SearchHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<SearchHelp>

  func validate() throws {
    if inputs.isEmpty && like.isEmpty { throw ValidationError("name a query image, or a row of the bank with --like") }
    try GivenFlags.refuse(GivenFlags.ofImages, unless: !inputs.isEmpty, "query images: --like asks with rows that are made already")
    if !inputs.isEmpty && model.path == nil { throw ValidationError("--model is needed to make features of query images") }
    if count < 1 || count > 100_000 { throw ValidationError("-k must be from 1 to 100000, not \(count)") }
    if let threshold, !(threshold >= -1 && threshold <= 1) { throw ValidationError("--threshold must be from -1 to 1, not \(threshold)") }
    if let breadth, breadth < 1 || breadth > 1 << 20 { throw ValidationError("--breadth must be from 1 to \(1 << 20), not \(breadth)") }
    if breadth != nil && !approximate { throw ValidationError("--breadth goes with --approximate") }
    if measure != nil && approximate { throw ValidationError("--measure is of exact search; dinoctl index --approximate measures the graph") }
    if let measure, measure < 1 { throw ValidationError("--measure must be at least 1, not \(measure)") }
  }

  /// A question: its name, its feature, and the row that it is itself.
  private struct Query {
    var name: String
    var feature: [Float]
    var row: Int?
    /// What was read; nil of a row of the bank.
    var input: ImageInput?
  }

  func run() throws {
    running.apply()
    if let contactSheet {
      try Output.check(file: contactSheet)
      try Originals(Originals.files(ofBank: self.bank) + (model.path.map(Originals.files(of:)) ?? [])).spare([contactSheet])
      guard contactSheet.lowercased().hasSuffix(".png") else { throw Failure(.usage, "\(contactSheet): a contact sheet is a PNG picture, so its name must end in .png") }
    }
    let began = Terminal.now()
    let bank = try FeatureBank(path: self.bank)
    let opening = Terminal.now() - began
    guard bank.liveCount > 0 else { throw Failure(.data, "\(self.bank): the bank has no rows") }
    var skipped = SkippedInputs(), total = 0
    let queries = try rowQueries(bank) + imageQueries(bank, &skipped, &total)
    let threads = searchThreads(running.threads)
    let graph = approximate ? try self.graph(of: bank) : nil, wanted = min(bank.rowCount, count + 1), features = queries.map(\.feature)
    let start = Terminal.now()
    var answers = try graph?.nearest(to: features, k: wanted, breadth: breadth, threads: threads) ?? bank.nearest(to: features, k: wanted, threads: threads)
    let seconds = Terminal.now() - start
    for (i, query) in queries.enumerated() {
      answers[i].removeAll { $0.row == query.row || $0.score < threshold ?? -.infinity }
      answers[i] = Array(answers[i].prefix(count))
    }
    let missing = try contactSheet.map { try draw(queries, answers, bank, to: $0) } ?? []
    let speed = try measure.map { try measured(bank, queries[0].feature, threads: threads, times: $0) }
    if running.json {
      var members: [JSONValue.Member] = [
        .init("bank", .string(self.bank)), .init("rows", .integer(bank.liveCount)), .init("open_seconds", .number(opening)), .init("seconds", .number(seconds)),
        .init("queries", .array(zip(queries, answers).map { query, found in
          .object([.init("query", .string(query.name)), .init("answers", .array(found.map {
            .object([.init("path", .string(bank.path($0.row))), .init("score", .number(Double($0.score))), .init("class", bank.label($0.row).map { .string(bank.classes[$0]) } ?? .null)])
          }))])
        })),
      ]
      if let speed { members.append(.init("measured", speed.json)) }
      try Terminal.output(JSONValue.object(members).text + "\n")
    } else {
      var text = ""
      for (query, found) in zip(queries, answers) {
        for answer in found { text += (queries.count > 1 ? printable(query.name) + "\t" : "") + "\(fixed(Double(answer.score), 4))\t\(printable(bank.path(answer.row)))\n" }
      }
      if let speed { text += speed.text }
      try Terminal.output(text)
    }
    for name in missing { Terminal.say("\(name): the picture is not there or cannot be read; a grey square stands for it on the sheet") }
    try skipped.conclude(of: total)
    if !missing.isEmpty { throw Failure(.someSkipped, hint: "names of rows lead from the folder in which they were indexed, or, where that is gone, from here; dinoctl index --update FOLDER removes rows whose files are gone from it, --remove FOLDER those of a folder that is gone itself") }
  }

  private func graph(of bank: FeatureBank) throws -> ApproximateIndex {
    let hint = "dinoctl index -o \(self.bank) --approximate makes one"
    do {
      guard let graph = try ApproximateIndex(of: bank) else { throw Failure(.notFound, "\(self.bank) has no graph for approximate search", hint: hint) }
      Terminal.note("approximate: recall@10 was \(fixed(graph.chosen.recall, 4)) at a breadth of \(graph.chosen.breadth) when the graph was built")
      return graph
    } catch let error as TaskError { throw Failure(ExitStatus(DinoError(error).kind), error.description, hint: hint) }
  }

  private func rowQueries(_ bank: FeatureBank) throws -> [Query] {
    guard !like.isEmpty else { return [] }
    var places = FilePlaces(), found: [FilePlaces.Place: Int] = [:]
    let wanted = Set(like.map { places.place($0) })
    for row in bank.liveRows where found.count < wanted.count {
      let place = places.place(bank.path(row))
      if wanted.contains(place) { found[place] = row }
    }
    return try like.map { path in
      guard let row = found[places.place(path)] else { throw Failure(.notFound, "\(path): the bank \(self.bank) has no row of that path") }
      return Query(name: path, feature: bank.unit(row), row: row)
    }
  }

  private func imageQueries(_ bank: FeatureBank, _ skipped: inout SkippedInputs, _ total: inout Int) throws -> [Query] {
    guard !inputs.isEmpty, let dino = try model.load(running.settings, manyImages: true) else { return [] }
    let images = try ReadingOptions.expand(inputs)
    total = images.count
    let preparer = try Preparing.preparer(dino, preprocessing.changes(), exifOrientation: reading.exifOrientation)
    guard let tokens = TokenChoice(rawValue: bank.record.tokens), tokens != .patch else {
      throw Failure(.data, "\(self.bank): its features (\(bank.record.tokens)) are not made of images by this command", hint: "--like asks with a row of the bank")
    }
    let maker = try FeatureMaker(model: dino, preparer: preparer, settings: FeatureSettings(tokens: tokens, layers: bank.record.layers), running: running.settings)
    try bank.check(maker.record(), name: self.bank)
    var queries: [Query] = []
    var progress = ProgressBar(total: images.count, unit: "images")
    try maker.forEach(images, strict: reading.strict, skipped: &skipped, progress: &progress) { index, row in queries.append(Query(name: images[index].name, feature: row, input: images[index])) }
    progress.finish()
    guard !queries.isEmpty else { throw Failure(.data, "none of the \(images.count) inputs could be read") }
    return queries
  }

  // MARK: Pictures

  /// Names of the pictures that could not be drawn.
  private func draw(_ queries: [Query], _ answers: [[FoundRow]], _ bank: FeatureBank, to path: String) throws -> [String] {
    let columns = 1 + (answers.map(\.count).max() ?? 0)
    var pictures: [Image] = [], labels: [String] = [], images = NamedImages(), missing: [String] = []
    func small(_ input: ImageInput?, _ name: String) -> Image {
      if let image = input?.picture(isTurned: reading.exifOrientation) { return Self.small(image) }
      if !missing.contains(name) { missing.append(name) }
      return Image(width: Self.side, height: Self.side, color: [192, 192, 192])
    }
    try Originals(queries.map(\.name) + answers.flatMap { found in found.map { bank.path($0.row) } }).spare([path])
    for (query, found) in zip(queries, answers) {
      pictures.append(small(query.input ?? images.input(query.name), query.name))
      labels.append("query")
      for i in 0..<columns - 1 {
        guard i < found.count else {
          pictures.append(Image(width: Self.side, height: Self.side, color: [255, 255, 255]))
          labels.append("")
          continue
        }
        let name = bank.path(found[i].row)
        pictures.append(small(images.input(name), name))
        labels.append(fixed(Double(found[i].score), 3))
      }
    }
    let sheet: Image
    do { sheet = try ContactSheet.make(pictures, labels: labels, columns: columns) } catch { throw DinoError(error) }
    try Interruption.shielded { try Drawing.writePNG(sheet, to: path) }
    return missing
  }

  private static let side = 128

  /// A photograph within a square, keeping its shape.
  private static func small(_ picture: Image) -> Image {
    let image = picture.rgb(), scale = Double(side) / Double(max(image.width, image.height))
    let width = max(1, Int((Double(image.width) * scale).rounded())), height = max(1, Int((Double(image.height) * scale).rounded()))
    return (try? Resampler.resize(image, width: width, height: height, interpolation: .bilinear)) ?? image
  }

  // MARK: Speed

  private struct Speed {
    var milliseconds: Double
    var bytes: Int
    var searchRate: Double
    var machineRate: Double

    var json: JSONValue {
      .object([
        .init("milliseconds", .number(milliseconds)), .init("bytes", .integer(bytes)), .init("bytes_per_second", .number(searchRate)),
        .init("machine_bytes_per_second", .number(machineRate)), .init("share", .number(searchRate / machineRate)),
      ])
    }
    var text: String {
      "\(fixed(milliseconds, 2)) ms a query over \(readable(bytes: bytes)): \(fixed(searchRate / 1e9, 1)) GB/s, \(fixed(100 * searchRate / machineRate, 0)) % of the \(fixed(machineRate / 1e9, 1)) GB/s that this machine reads\n"
    }
  }

  /// The median search, beside the median of plain reads of as many bytes of the same pages, in turn.
  private func measured(_ bank: FeatureBank, _ query: [Float], threads: Int, times: Int) throws -> Speed {
    let parts = bank.parts
    let bytes = parts.reduce(0) { $0 + $1.rows.byteCount + ($1.scales?.byteCount ?? 0) }
    var searches: [Double] = [], reads: [Double] = []
    for _ in 0..<times {
      var start = Terminal.now()
      _ = try bank.nearest(to: [query], k: count, threads: threads)
      searches.append(Terminal.now() - start)
      start = Terminal.now()
      RowSearch.read(parts, team: .shared(threads))
      reads.append(Terminal.now() - start)
    }
    func median(_ v: [Double]) -> Double { v.sorted()[v.count / 2] }
    return Speed(milliseconds: 1e3 * median(searches), bytes: bytes, searchRate: Double(bytes) / median(searches), machineRate: Double(bytes) / median(reads))
  }
}
