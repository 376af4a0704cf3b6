// dinoctl index: a bank of features and its upkeep. Rows become safe in segments, so an interrupted run goes on behind the last of them.

internal import ArgumentParser
internal import Dino
internal import DinoTasks
internal import DinoTensor
internal import NumPyArrays
internal import Safetensors

enum IndexHelp: SharedHelp {
  static var model: String { "The checkpoint that makes the features of images: \(checkpoints) Needed to add images, and only then." }
}

struct Index: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A bank of features of images, for search, knn, linear and duplicates.",
    discussion: """
      BANK is a folder: safetensors segments, which never change, and bank.json, a list of them, which is replaced as a whole. It remembers which model and preprocessing its features are \
      of, and refuses others.
        make a bank, or add what is new:
          dinoctl index --model M -o BANK photos/
        make the bank what the folder is now:
          dinoctl index --model M -o BANK --update photos/
        remove rows, and write the others anew:
          dinoctl index -o BANK --remove photos/old --compact
        add rows from elsewhere, with names from features.paths.txt:
          dinoctl index -o BANK --import features.npy
        build a graph for search --approximate, and measure what it finds:
          dinoctl index -o BANK --approximate
        write the rows, [rows, D] of unit length, and names in bank.paths.txt:
          dinoctl index -o BANK --export bank.npy
        write a file for COPY, and bank.sql (a pgvector table, loading, a query):
          dinoctl index -o BANK --export-postgres bank.copy

      Images that are in the bank already are passed over, whatever path or directory leads to the file. So the same command adds what is new, and goes on after an interruption. \
      Rows that are passed over keep their class and feature. Where their file has changed since, has another class or is gone, a note says so; --update \
      makes such rows anew, each old row going as its successor comes, and removes those of files that are gone. A changed file that cannot be read keeps its row, \
      and so does what is below a link or folder that cannot be looked into, as when a disk is not there.
      The class of an image is the first folder below the folder that was named. For a file, a line of a list or a path of --import it is the folder that holds the file.
      One command removes first, then adds, then compacts, then builds the graph, then exports. Where adding fails or is interrupted, it removes nothing.
      Exported rows have unit length. dinoctl linear learns from features at their own length, from a bank too; dinoctl features writes them so.

      --approximate (hnswlib) is for banks beyond about a million rows. approximate.safetensors in BANK holds links from each row to near ones, about 150 bytes a row whatever its width. \
      A measurement follows: --samples rows of the bank each ask for their ten nearest others, at growing breadths, and search uses the first breadth that finds the share --recall. \
      Answers leave out rows that are removed later. After adding or compacting, the graph is refused until it is built anew; while it is built nothing else changes the bank. Several threads put rows in as they come, so two builds differ a little.
      """)

  @Argument(help: "Images, folders (recursive, sorted by name), list files (.txt, one path a line), tar shards (.tar), or - for standard input.", completion: .file())
  var inputs: [String] = []

  @Option(name: .shortAndLong, help: ArgumentHelp("The folder of the bank.", valueName: "bank"), completion: .directory)
  var output: String

  @Option(help: "How rows of a new bank are stored; int8 has a scale for each row. Default: f32.")
  var dtype: BankElementArgument?

  @Option(help: "Which tokens; see features --help.")
  var tokens = BankTokens.cls

  @Option(help: "The last so many blocks, beside each other.")
  var layers = 1

  @Option(name: .customLong("import"), help: ArgumentHelp("Add the rows of an array [rows, D]. STEM.paths.txt beside it gives each row a name of its own (\\n in it spells a line break, as --export writes it), and the folder in that path is its class. Without that file the names are numbers, which go on behind those in the bank.", valueName: "file.npy"), completion: .file())
  var importFile: String?

  @Option(help: ArgumentHelp("Remove the rows of these images, or of all images below these folders. May be repeated. Where no row has one of the paths, that path is named and the exit code is 1; it is 66 where no row has any of them and the command has nothing else to do.", valueName: "path"), completion: .file())
  var remove: [String] = []

  @Flag(help: "Make rows anew whose file has changed (size or time) or has another class now, and remove rows whose file is gone from the folders, archives and lists named, and rows that stand for a file beside another row.")
  var update = false

  @Flag(help: "Write all rows anew in few segments, without the removed ones.")
  var compact = false

  @Option(name: .customLong("export"), help: ArgumentHelp("Write the rows as an array.", valueName: "file.npy"), completion: .file())
  var exportFile: String?

  @Option(help: ArgumentHelp("Write the rows for PostgreSQL with pgvector; the statements go to STEM.sql.", valueName: "file"), completion: .file())
  var exportPostgres: String?

  @Option(help: ArgumentHelp("The table in those statements.", valueName: "name"))
  var table = "photographs"

  @Flag(help: "Build the graph for approximate search, and measure it.")
  var approximate = false

  @Option(help: "approximate: links of a row, M of hnswlib.")
  var links = 16

  @Option(help: "approximate: how many candidates to look at for each row, ef_construction of hnswlib.")
  var buildBreadth = 200

  @Option(help: "approximate: the share of its ten nearest that a search should find.")
  var recall = 0.95

  @Option(help: "approximate: how many rows ask in this measurement.")
  var samples = 200

  @OptionGroup var model: OptionalModelOptions<IndexHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<IndexHelp>

  func validate() throws {
    if links < 2 || links > 64 { throw ValidationError("--links must be from 2 to 64, not \(links)") }
    if buildBreadth < 1 || buildBreadth > 100_000 { throw ValidationError("--build-breadth must be from 1 to 100000, not \(buildBreadth)") }
    if !(recall > 0 && recall <= 1) { throw ValidationError("--recall must be above 0 and at most 1, not \(recall)") }
    if samples < 1 || samples > 1_000_000 { throw ValidationError("--samples must be from 1 to 1000000, not \(samples)") }
    if layers < 1 { throw ValidationError("--layers must be at least 1, not \(layers)") }
    if inputs.isEmpty && importFile == nil && remove.isEmpty && !compact && exportFile == nil && exportPostgres == nil && !approximate {
      throw ValidationError("nothing to do: name images, or --import, --remove, --compact, --approximate, --export or --export-postgres")
    }
    try GivenFlags.refuse(GivenFlags.ofImages.union(["--tokens", "--layers", "--update"]), unless: !inputs.isEmpty, "images to add")
    try GivenFlags.refuse(["--dtype"], unless: !inputs.isEmpty || importFile != nil, "images to add, or --import")
    try GivenFlags.refuse(["--links", "--build-breadth", "--recall", "--samples"], unless: approximate, "--approximate")
    try GivenFlags.refuse(["--table"], unless: exportPostgres != nil, "--export-postgres")
    if !inputs.isEmpty && model.path == nil { throw ValidationError("--model is needed to make features of images") }
    if !inputs.isEmpty && importFile != nil { throw ValidationError("rows of --import and of images cannot be in one bank") }
    if let exportFile, !exportFile.hasSuffix(".npy") { throw ValidationError("--export writes a file that ends in .npy, not \(exportFile)") }
    if let exportPostgres, stem(exportPostgres) + ".sql" == exportPostgres {
      throw ValidationError("--export-postgres names the file of rows, and the statements go to \(exportPostgres) beside it: give the rows another ending, such as .copy")
    }
    let isIdentifier = table.utf8.allSatisfy { ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x5F } && !(table.utf8.first.map { $0 < 0x40 } ?? true)
    if !isIdentifier { throw ValidationError("--table must be of the letters a-z, digits and _, not \(table)") }
  }

  func run() throws {
    running.apply()
    for file in [exportFile, exportPostgres].compactMap({ $0 }) { try Output.check(file: file) }
    let exports = (exportFile.map { [$0, FeatureFile.pathsFile(of: $0)] } ?? []) + (exportPostgres.map { [$0, stem($0) + ".sql"] } ?? [])
    try Originals.tellApart(exports)
    let reads = Originals.files(ofBank: output) + (model.path.map(Originals.files(of:)) ?? []) + (importFile.map { [$0, FeatureFile.pathsFile(of: $0)] } ?? []) + inputs
    var skipped = SkippedInputs(), changes = Changes()
    // What is to be added is looked at before anything is removed.
    let expanded = inputs.isEmpty ? [] : try ClassedInput.expand(inputs)
    try Originals(reads + expanded.compactMap(\.input.path)).spare(exports)
    if let exportFile { try Output.check(namesOf: exportFile) }
    let maker = inputs.isEmpty ? nil : try maker(), imported = try importFile.map { try ImportedRows($0) }
    if !remove.isEmpty || maker != nil || imported != nil { changes = try change(expanded, maker, imported, &skipped) }
    if compact {
      let writer = try BankWriter(existing: output)
      try long(try FeatureBank(path: output).liveCount) { try writer.compact(goesOn: $0) }
    }
    let built = approximate ? try buildGraph() : nil, bank = try FeatureBank(path: output)
    if built == nil, changes.added > 0 || compact, Output.exists("\(output)/\(ApproximateIndex.fileName)") {
      Terminal.note("the graph for approximate search is of the bank as it was; dinoctl index -o \(output) --approximate makes it anew")
    }
    if let exportFile { try long(bank.liveCount) { try bank.exportNumPy(to: exportFile, names: FeatureFile.pathsFile(of: exportFile), goesOn: $0) } }
    if let exportPostgres {
      try long(bank.liveCount) { try bank.exportPostgres(to: exportPostgres, sql: stem(exportPostgres) + ".sql", table: table, goesOn: $0) }
    }
    if running.json {
      let notRemoved = changes.unmatched.map { JSONValue.string($0) }
      let members: [JSONValue.Member] = [
        .init("bank", .string(output)), .init("rows", .integer(bank.liveCount)), .init("width", .integer(bank.width)), .init("dtype", .string(bank.element.rawValue)),
        .init("segments", .integer(bank.segmentCount)), .init("added", .integer(changes.added)), .init("already_there", .integer(changes.passedOver)), .init("removed", .integer(changes.removed)), .init("not_removed", .array(notRemoved)),
        .init("skipped", .integer(skipped.count)), .init("model_digest", .string(bank.record.modelDigest)),
      ]
      let ofGraph: [JSONValue.Member] = built.map { [JSONValue.Member("approximate", $0.json)] } ?? []
      try Terminal.output(JSONValue.object(members + ofGraph).text + "\n")
    } else {
      if let built { try Terminal.output(built.text) }
      Terminal.note("\(output): \(bank.liveCount) rows of \(bank.width) numbers; \(changes.added) added, \(changes.passedOver) were there, \(changes.removed) removed")
    }
    try skipped.conclude(of: expanded.count)
    if !changes.unmatched.isEmpty { throw Failure(.someSkipped) }
  }

  /// Numbers of rows. One object, at which the thread that takes signals looks too.
  final class Changes {
    var removed = 0, added = 0, passedOver = 0
    /// Paths of --remove that no row has.
    var unmatched: [String] = []
    /// Whether what is done so far is taken back should the rest not come: rows that are removed for others, and an array that is imported whole.
    var isOne: Bool
    init(isOne: Bool = false) { self.isOne = isOne }
  }

  /// Whether nothing but --remove is asked for.
  private var removesOnly: Bool { inputs.isEmpty && importFile == nil && !compact && !approximate && exportFile == nil && exportPostgres == nil }

  /// Removes and adds by one writer: where adding fails or is interrupted, what was removed comes back.
  private func change(_ inputs: [ClassedInput], _ maker: FeatureMaker?, _ imported: ImportedRows?, _ skipped: inout SkippedInputs) throws -> Changes {
    let writer = try writer(maker, imported)
    let changes = Changes(isOne: imported != nil), output = self.output
    Interruption.setLastWork {
      if changes.isOne {
        guard (try? writer.rollBack()) != nil else { return "interrupted; \(output) could not be made what it was before" }
        return "interrupted; \(output) is as it was before"
      }
      guard (try? writer.flush()) != nil else { return "interrupted; the last rows could not be written to \(output)" }
      writer.abandonIfEmpty()
      return changes.added == 0 ? "interrupted" : "interrupted; \(changes.added) rows more are in \(output), and the same command goes on behind them"
    }
    defer { Interruption.setLastWork(nil) }
    do {
      if !remove.isEmpty {
        var unmatched: [String] = []
        try Interruption.shielded {
          changes.removed = try writer.remove(paths: remove) { unmatched.append($0) }
          if changes.removed > 0 { changes.isOne = true }
        }
        changes.unmatched = unmatched
        let lacks = "the bank \(output) has no row of that path or below it"
        // Where more is asked for, an earlier run that was stopped may have removed them.
        if unmatched.count == remove.count, removesOnly {
          throw Failure(.notFound, "\(unmatched.joined(separator: ", ")): \(lacks)", hint: "dinoctl index -o \(output) --export FILE.npy writes the names of all rows beside it")
        }
        for path in unmatched { Terminal.say("\(path): \(lacks)") }
      }
      if let maker { try addImages(inputs, maker, writer, changes, &skipped) }
      if let imported { try addRows(imported, writer, changes) }
    } catch {
      // Of images alone the rows that are safe stay: the same command goes on behind them.
      if changes.isOne { try Interruption.shielded { try writer.rollBack() } } else { writer.abandonIfEmpty() }
      throw error
    }
    try Interruption.shielded {
      try writer.commit()
      changes.isOne = false
    }
    return changes
  }

  /// The bank, or a new one; refused where what is to be added does not fit it. Rows are removed from a bank only that is there.
  private func writer(_ maker: FeatureMaker?, _ imported: ImportedRows?) throws -> BankWriter {
    let width = maker?.width ?? imported?.width, record = try maker?.record() ?? imported?.record
    if remove.isEmpty, let width, let record { return try BankWriter(path: output, width: width, element: dtype?.element, record: record) }
    let bank = try FeatureBank(path: output)
    return try BankWriter(path: output, width: width ?? bank.width, element: dtype?.element, record: record ?? bank.record)
  }

  private func maker() throws -> FeatureMaker {
    guard let dino = try model.load(running.settings, manyImages: true) else { throw Failure(.usage, "--model is needed to make features of images") }
    let preparer = try Preparing.preparer(dino, preprocessing.changes(), exifOrientation: reading.exifOrientation)
    return try FeatureMaker(model: dino, preparer: preparer, settings: FeatureSettings(tokens: tokens.choice, layers: layers), running: running.settings)
  }

  /// Runs what writes all rows: with a bar, and ended by signals without anything left of it.
  private func long(_ rows: Int, _ body: ((Int) -> Bool) throws -> Void) throws {
    var progress = ProgressBar(total: rows, unit: "rows"), shown = 0
    try Interruption.cooperatively {
      try body { done in
        if done - shown >= 1024 || done == rows {
          progress.advance(by: done - shown)
          shown = done
        }
        return !Interruption.shouldStop
      }
    }
    progress.finish()
  }

  private func stem(_ path: String) -> String {
    let last = lastComponent(path)
    guard let dot = last.lastIndex(of: "."), dot != last.startIndex else { return path }
    return String(path.dropLast(last.distance(from: dot, to: last.endIndex)))
  }
}

enum BankElementArgument: String, ExpressibleByArgument, CaseIterable {
  case f32, f16, int8
  var element: BankElement {
    switch self {
    case .f32: .f32
    case .f16: .f16
    case .int8: .int8
    }
  }
}

/// Tokens that make one row an image.
enum BankTokens: String, ExpressibleByArgument, CaseIterable {
  case cls, mean
  case clsAndMean = "cls+mean"
  case clsAndLastMean = "cls+last-mean"
  var choice: TokenChoice {
    switch self {
    case .cls: .cls
    case .mean: .mean
    case .clsAndMean: .clsAndMean
    case .clsAndLastMean: .clsAndLastMean
    }
  }
}
