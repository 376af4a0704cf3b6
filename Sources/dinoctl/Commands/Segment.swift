// dinoctl segment: the object in a photograph, as a mask, without training. The method here is the attention mask of the DINO paper.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import Safetensors

struct Segment: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Mask the object in each photograph: PNG mask, overlay, boxes, COCO JSON.",
    discussion: """
      OUT is a folder. For a photograph X.jpg it gets X.png, the mask (0 or 255); X_overlay.png, the mask on the photograph; X.json, boxes and how they were made; \
      and coco.json for all. A stem that occurs again gets -2, -3, … appended.
      --method attention: the patches that hold the share --mass of a head's attention, as visualize_attention.py keeps them (480x480 bilinear unless --image-size or \
      --interpolation say otherwise), then the connected part that holds the most of it, unless --no-component. --size photo draws the mask at the photograph's own \
      size, each pixel taking the patch that its centre falls in; --size model at the network's, which gives the original's exact masks.
      --head best: the head whose kept mass lies most in one part that does not touch the border.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var input: InputOptions

  @Option(help: "How: attention. (lost, tokencut, maskcut, spectral, pca and kmeans are not in this version: 69.)")
  var method = MethodArgument.attention

  @Option(help: ArgumentHelp("The head, from 0; mean, of all; or best.", valueName: "k|mean|best"))
  var head = HeadArgument.best

  @Option(help: "Share of the head's attention that the mask holds, from 0 to 1.")
  var mass = 0.6

  @Flag(help: "Keep all parts of the mask, not only the strongest connected one.")
  var noComponent = false

  @Option(help: "Size of the mask: the photograph's own, or the model's.")
  var size = MaskSize.photo

  @Flag(help: "No overlays.")
  var noOverlay = false

  @Option(name: .shortAndLong, help: ArgumentHelp("Folder for the results; made where it is not there.", valueName: "out"))
  var output: String

  func validate() throws {
    guard (0...1).contains(mass) else { throw ValidationError("--mass must be from 0 to 1, not \(mass)") }
  }

  func run() throws {
    guard method == .attention else { throw Failure(.unavailable, "--method \(method.rawValue) is not in this version", hint: "--method attention is") }
    let inputs = try input.expand()
    let dino = try model.load()
    if case .head(let k) = head.choice, k >= dino.heads { throw Failure(.usage, "there is no head \(k): the model has \(dino.heads), counted from 0") }
    let preparer = try Preparing.attentionPreparer(dino, preprocessing.changes(), exifOrientation: input.exifOrientation)
    try Output.makeFolder(output)
    var skipped = SkippedInputs(), names = ResultNames(), coco = COCODocument(), reports: [JSONValue] = []
    var progress = ProgressBar(total: inputs.count, unit: "images")
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: 3, workers: inputs.count == 1 ? 0 : 1) { Photograph.read(inputs[$0], preparer) }
    for source in inputs {
      guard let next = prefetch.next() else { break }
      let name = names.name(for: source)
      switch next {
      case .failure(let reason): try skipped.add(source.name, reason.message, strict: input.strict)
      case .success(let photograph):
        let found = try segment(photograph, dino)
        try Interruption.shielded { try write(found, photograph, name: name, preparer: preparer) }
        coco.add(found.mask, file: source.name, score: found.share)
        reports.append(report(found, source: source.name, name: name, random: dino.hasRandomWeights))
        try Interruption.shielded { try writeWhole(reports[reports.count - 1].text + "\n", to: "\(output)/\(name).json") }
      }
      progress.advance()
    }
    progress.finish()
    if skipped.count == inputs.count { throw Failure(.data, "none of the \(inputs.count) inputs could be read") }
    try Interruption.shielded { try writeWhole(coco.text + "\n", to: "\(output)/coco.json") }
    if model.running.json {
      try Terminal.output(JSONValue.object([.init("images", .array(reports)), .init("random_weights", .bool(dino.hasRandomWeights))]).text + "\n")
    } else {
      Terminal.note("\(reports.count) masks in \(output)")
    }
    try skipped.conclude(of: inputs.count)
  }

  /// What was found in one photograph.
  private struct Found {
    var mask: PixelMask
    var head: Int?
    /// Of the head's mass, how much the mask holds.
    var share: Double
    /// Boxes of the mask's connected parts, the strongest first, in the mask's pixels.
    var boxes: [(x: Int, y: Int, width: Int, height: Int)]
  }

  private func segment(_ photograph: Photograph, _ dino: DinoModel) throws -> Found {
    let maps = try dino.attention(photograph.prepared)
    let (map, head) = try head.choice.map(of: maps, mass: mass)
    var mask = map.mask(holding: mass)
    if !noComponent { mask = mask.strongestComponent(of: map) }
    func sum(_ indices: [Int]) -> Double { indices.reduce(0) { $0 + Double(map.values[$1]) } }
    let parts = mask.components().sorted { sum($0) > sum($1) }
    let boxes = parts.compactMap { part -> (x: Int, y: Int, width: Int, height: Int)? in
      var alone = PatchMask(rows: mask.rows, columns: mask.columns, kept: [Bool](repeating: false, count: mask.kept.count))
      for i in part { alone.kept[i] = true }
      return pixels(alone, maps.geometry).box
    }
    let total = sum(Array(map.values.indices))
    return Found(mask: pixels(mask, maps.geometry), head: head, share: total > 0 ? parts.reduce(0) { $0 + sum($1) } / total : 0, boxes: boxes)
  }

  private func pixels(_ mask: PatchMask, _ g: PreparedImage.Geometry) -> PixelMask {
    if size == .model { return mask.pixels(patch: g.patch) }
    return mask.pixels(height: g.height, width: g.width, patch: g.patch, resized: (g.resizedHeight, g.resizedWidth), crop: (g.top, g.left))
  }

  private func write(_ found: Found, _ photograph: Photograph, name: String, preparer: ImagePreparer) throws {
    do {
      try Drawing.writePNG(Drawing.image(found.mask), to: "\(output)/\(name).png")
      if !noOverlay {
        let under = size == .model ? try preparer.seen(photograph.image) : photograph.image
        try Drawing.writePNG(Drawing.overlay(found.mask, on: under), to: "\(output)/\(name)_overlay.png")
      }
    } catch { throw Failure(DinoError(error)) }
  }

  private func report(_ found: Found, source: String, name: String, random: Bool) -> JSONValue {
    .object([
      .init("image", .string(source)), .init("mask", .string("\(name).png")), .init("width", .integer(found.mask.width)), .init("height", .integer(found.mask.height)),
      .init("method", .string(method.rawValue)), .init("head", found.head.map { .integer($0) } ?? .string("mean")), .init("mass", .number(mass)),
      .init("component", .bool(!noComponent)), .init("size", .string(size.rawValue)), .init("area", .integer(found.mask.area)), .init("share_of_attention", .number(found.share)),
      .init("boxes", .array(found.boxes.map { .array([.integer($0.x), .integer($0.y), .integer($0.width), .integer($0.height)]) })),
      .init("random_weights", .bool(random)),
    ])
  }
}

/// A decoded photograph with what the network reads of it.
private struct Photograph: Sendable {
  var image: Image
  var prepared: PreparedImage

  static func read(_ input: ImageInput, _ preparer: ImagePreparer) -> Result<Photograph, UnreadableInput> {
    do {
      let image = try preparer.decode(input)
      return .success(Photograph(image: image, prepared: try preparer.prepare(image)))
    } catch { return .failure(UnreadableInput(error, of: input)) }
  }
}

enum MethodArgument: String, ExpressibleByArgument, CaseIterable { case attention, lost, tokencut, maskcut, spectral, pca, kmeans }

enum MaskSize: String, ExpressibleByArgument, CaseIterable { case photo, model }

/// "best", "mean" or a number.
struct HeadArgument: ExpressibleByArgument {
  var choice: HeadChoice
  static let best = HeadArgument(choice: .best)
  init(choice: HeadChoice) { self.choice = choice }
  init?(argument: String) {
    switch argument {
    case "best": choice = .best
    case "mean": choice = .mean
    default:
      guard let k = Int(argument), k >= 0 else { return nil }
      choice = .head(k)
    }
  }
  var defaultValueDescription: String { "best" }
}

/// A COCO document of one category, growing.
private struct COCODocument {
  private var images: [JSONValue] = []
  private var annotations: [JSONValue] = []

  mutating func add(_ mask: PixelMask, file: String, score: Double) {
    let id = images.count + 1
    images.append(.object([.init("id", .integer(id)), .init("file_name", .string(file)), .init("height", .integer(mask.height)), .init("width", .integer(mask.width))]))
    guard let box = mask.box else { return }
    annotations.append(.object([
      .init("id", .integer(annotations.count + 1)), .init("image_id", .integer(id)), .init("category_id", .integer(1)),
      .init("segmentation", .object([.init("size", .array([.integer(mask.height), .integer(mask.width)])), .init("counts", .string(mask.compressedRunLengths))])),
      .init("area", .integer(mask.area)), .init("bbox", .array([.integer(box.x), .integer(box.y), .integer(box.width), .integer(box.height)])), .init("iscrowd", .integer(0)),
      .init("score", .number(score)),
    ]))
  }

  var text: String {
    JSONValue.object([
      .init("images", .array(images)), .init("categories", .array([.object([.init("id", .integer(1)), .init("name", .string("object"))])])),
      .init("annotations", .array(annotations)),
    ]).text
  }
}
