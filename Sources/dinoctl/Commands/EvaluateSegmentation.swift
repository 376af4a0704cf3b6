// dinoctl evaluate segmentation: the methods of `segment` against true masks, in the published measures.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoModels
internal import DinoSegmentation
internal import Safetensors

struct EvaluateSegmentation: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "segmentation",
    abstract: "Unsupervised segmentation against true masks: Jaccard, IoU, maxF, accuracy, CorLoc.",
    discussion: """
      Each photograph of --images has a mask of the same path (any ending) below --masks, or of the same name where only one has it, read as one set. Grey: levels above 127 are the object, or all but 0 where \
      no mask of the set has such a level. In the colours of DAVIS and PASCAL VOC: all but the background and void (255). Void, which 255 is beside small grey labels too, does not count. \
      Black and one other colour: that one. Found masks are compared at the photograph's size.
      IoU and accuracy: means over photographs. maxF: F with β² = 0.3, the greatest over 255 thresholds of its mean (TokenCut's metric); with --refine from the solver's \
      values. CorLoc: share of photographs where the box around the mask and the true box have an IoU of at least a half (LOST's). Jaccard, of attention only: the greatest \
      IoU of any head's patches that hold 60 % of its attention, all parts of them, as the DINO paper's figure 4. \
      Of head also: mIoU, the mean over classes of their IoU in all photographs together, and the share of pixels whose class is right. Seconds an image: the network, and the method after it; of \
      kmeans, which sees all photographs before it has a mask, everything counts as network.
      All methods read the photographs at 480x480 bilinear, and head alone as it was trained, unless --image-size, --interpolation or --preprocessing say otherwise.
      """)

  @Option(help: ArgumentHelp("The photographs.", valueName: "dir"), completion: .file())
  var images: String

  @Option(help: ArgumentHelp("Their masks.", valueName: "dir"), completion: .directory)
  var masks: String

  @Option(name: .customLong("methods"), help: ArgumentHelp("Of attention, lost, tokencut, maskcut, spectral, pca, kmeans, and head, the checkpoint's segmentation head, by comma.", valueName: "a,b"))
  var chosen = MethodList(methods: MethodArgument.allCases.filter { $0 != .head })

  @Option(help: "Move masks to the photograph's edges.")
  var refine = RefinementArgument.none

  @OptionGroup var model: ModelOptions<PictureHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions
  @OptionGroup var running: RunningOptions<PictureHelp>

  /// A true mask.
  private struct Truth {
    var object: Mask
    var labels: LabelMap
    /// Pixels that do not count.
    var void: Mask?

    /// The true classes in a head's numbers: of a head that knows one object all that is an object is it, whatever level that has here.
    func labels(of head: SegmentationHead) -> LabelMap {
      let objects = head.labels.filter { $0 != 0 }
      guard objects.count == 1 else { return labels }
      return LabelMap(width: labels.width, height: labels.height, values: object.values.map { $0 == 0 ? 0 : objects[0] })
    }
    var isAllVoid: Bool { void.map { $0.area == $0.values.count } ?? false }
  }

  /// One line of the table.
  private struct Row {
    var method: MethodArgument
    /// The segmentation head, where that is the method, and the measures of its classes.
    var head: SegmentationHead?
    var classes = ClassScores()
    var scores = SegmentationScores()
    var network = 0.0
    var after = 0.0
  }

  private static let mass = 0.6

  func run() throws {
    let pairs = try MaskedPhotographs(photographs: images, masks: masks), inputs = pairs.photographs, written = try MaskSet(pairs.masks, oneObject: true)
    if let note = written.note { Terminal.note(note) }
    guard written.hasObject else { throw Failure(.data, "\(masks): no mask has an object in it", hint: "the object is white on black, or a label other than 0") }
    let dino = try model.load(running.settings)
    let trained = chosen.methods.contains(.head) ? try dino.checkpoint.segmentationHead() : nil, isAlone = chosen.methods.count == 1
    let preparer = try Preparing.attentionPreparer(dino, preprocessing.changes(), head: isAlone ? trained : nil, exifOrientation: reading.exifOrientation)
    if !isAlone, !preprocessing.isGiven, let own = trained?.preprocessing, own != preparer.preprocessing {
      Terminal.note("the segmentation head was trained on photographs that were read otherwise; here it sees what the other methods see, and with --methods head alone what it was trained on")
    }
    var rows = chosen.methods.map { Row(method: $0, head: $0 == .head ? trained : nil) }, empty: [String] = [], void: [String] = []
    var together: [PatchMask?] = [], togetherSeconds = 0.0
    if chosen.methods.contains(.kmeans) {
      let start = Terminal.now()
      together = try CoSegmenting.masks(inputs, dino, preparer, threads: running.threads)
      togetherSeconds = (Terminal.now() - start) / Double(inputs.count)
    }
    var skipped = SkippedInputs()
    var progress = ProgressBar(total: inputs.count, unit: "images")
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: 3, workers: inputs.count == 1 ? 0 : 1) { Photograph.read(inputs[$0], preparer) }
    for (i, input) in inputs.enumerated() {
      guard let next = prefetch.next() else { break }
      switch next {
      case .failure(let reason): try skipped.add(input.name, reason.message, strict: reading.strict)
      case .success(let photograph):
        let truth = try self.truth(pairs.masks[i], written, photograph.image)
        if truth.isAllVoid {
          void.append(pairs.masks[i])
          break
        }
        if truth.object.area == 0 { empty.append(pairs.masks[i]) }
        for r in rows.indices { try measure(&rows[r], photograph, truth, dino, together.isEmpty ? nil : together[i], togetherSeconds) }
      }
      progress.advance()
    }
    progress.finish()
    if skipped.count == inputs.count { throw Failure(.data, "none of the \(inputs.count) photographs could be read") }
    if rows[0].scores.count == 0 { throw Failure(.data, "\(masks): the masks of all photographs that could be read are void everywhere, which leaves nothing to measure") }
    if let first = void.first { Terminal.note("\(void.count) of \(inputs.count) masks are void everywhere, the first is \(first); their photographs are left out of all means") }
    if let first = empty.first { Terminal.say("warning: \(empty.count) of \(inputs.count) masks have no object in them, the first is \(first)") }
    try tell(rows)
    try skipped.conclude(of: inputs.count)
  }

  private func truth(_ path: String, _ written: MaskSet, _ photograph: Image) throws -> Truth {
    let map = try written.labels(path)
    try MaskedPhotographs.check(path, width: map.width, height: map.height, of: photograph, isTurned: reading.exifOrientation)
    let object = Mask(width: map.width, height: map.height, values: map.values.map { written.isObject($0) ? 1 : 0 })
    return Truth(object: object, labels: map, void: written.void.map(map.mask(of:)))
  }

  private func measure(_ row: inout Row, _ photograph: Photograph, _ truth: Truth, _ dino: DinoModel, _ together: PatchMask?, _ togetherSeconds: Double) throws {
    let g = photograph.prepared.geometry
    var found: [PatchMask], heads: [Mask]?, labels: [UInt8] = []
    let start = Terminal.now()
    var networkDone = start
    if let method = row.method.single {
      var settings = Segmenter.Settings()
      (settings.mass, settings.threads) = (Self.mass, running.threads)
      let segmenter = Segmenter(dino, method: method, settings: settings), read = try segmenter.read(photograph.prepared)
      networkDone = Terminal.now()
      let result = try segmenter.find(read)
      (found, labels) = (result.masks, result.labels ?? [])
      if case .attention(let maps) = read { heads = maps.heads.map { pixels($0.mask(holding: Self.mass), g) } }
    } else {
      found = together.map { [$0] } ?? []
    }
    if found.isEmpty { found = [PatchMask(rows: g.rows, columns: g.columns, kept: [Bool](repeating: false, count: g.rows * g.columns))] }
    // One object, for these measures: all masks of maskcut, and all classes of a head, together.
    var union = found[0]
    for mask in found.dropFirst() { for i in mask.kept.indices where mask.kept[i] { union.kept[i] = true } }
    var mask = pixels(union, g), soft: [Float]?
    if refine == .bilateral {
      let refined = Refinement.bilateral(pixelMask(union, g), on: photograph.image)
      if refined.isAccepted {
        mask = Mask(width: g.width, height: g.height, values: refined.mask.values)
        soft = refined.soft.map { min(max($0, 0), 1) }
      }
    }
    row.network += row.method.single == nil ? togetherSeconds : networkDone - start
    row.after += Terminal.now() - networkDone
    if let head = row.head { row.classes.add(classMap(found, labels, photograph), truth: truth.labels(of: head), void: truth.void) }
    row.scores.add(mask, truth: truth.object, soft: soft, heads: heads, void: truth.void)
  }

  /// The class of each pixel, 0 where none was found.
  private func classMap(_ found: [PatchMask], _ labels: [UInt8], _ photograph: Photograph) -> LabelMap {
    let g = photograph.prepared.geometry, present = zip(found, labels).filter { $0.0.kept.contains(true) }
    var masks = present.map { pixelMask($0.0, g) }
    if refine == .bilateral { masks = Refinement.bilateral(classes: masks, on: photograph.image).map(\.mask) }
    var map = LabelMap(width: g.width, height: g.height, values: [UInt8](repeating: 0, count: g.width * g.height))
    for (mask, label) in zip(masks, present.map { $0.1 }) { for i in mask.values.indices where mask.values[i] > 0 { map.values[i] = label } }
    return map
  }

  private func pixelMask(_ mask: PatchMask, _ g: PreparedImage.Geometry) -> PixelMask {
    mask.pixels(height: g.height, width: g.width, patch: g.patch, resized: (g.resizedHeight, g.resizedWidth), crop: (g.top, g.left))
  }

  private func pixels(_ mask: PatchMask, _ g: PreparedImage.Geometry) -> Mask { Mask(width: g.width, height: g.height, values: pixelMask(mask, g).values) }

  private func tell(_ rows: [Row]) throws {
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("images", .integer(rows[0].scores.count)), .init("refine", .string(refine.rawValue)),
        .init("methods", .array(rows.map { row in
          let s = row.scores, n = Double(s.count)
          let members: [JSONValue.Member] = [
            .init("method", .string(row.method.rawValue)), .init("jaccard", s.jaccard.map { .number(100 * $0) } ?? .null), .init("iou", .number(100 * s.iou)), .init("max_f", .number(100 * s.maxF)),
            .init("accuracy", .number(100 * s.accuracy)), .init("corloc", .number(100 * s.corLoc)), .init("network_seconds", .number(row.network / n)),
            .init("method_seconds", .number(row.after / n)),
          ]
          return .object(row.head == nil ? members : members + [
            .init("miou", .number(100 * row.classes.meanIoU)), .init("pixel_accuracy", .number(100 * row.classes.accuracy)),
            .init("classes", .array(row.classes.classes.map { .object([.init("label", .integer(Int($0.label))), .init("iou", .number(100 * $0.iou))]) })),
          ])
        })),
      ]).text + "\n")
      return
    }
    func cell(_ v: Double?) -> String {
      let text = v.map { fixed(100 * $0, 1) } ?? "-"
      return String(repeating: " ", count: max(0, 9 - text.count)) + text
    }
    func seconds(_ v: Double) -> String { String(repeating: " ", count: 3) + fixed(v, 4) }
    var text = "\(rows[0].scores.count) photographs\(refine == .none ? "" : ", refined to edges")\n"
    text += "method      Jaccard      IoU     maxF accuracy   CorLoc   network    after (s an image)\n"
    for row in rows {
      let s = row.scores, n = Double(s.count), name = row.method.rawValue
      text += name + String(repeating: " ", count: 10 - name.count) + cell(s.jaccard) + cell(s.iou) + cell(s.maxF) + cell(s.accuracy) + cell(s.corLoc) + seconds(row.network / n) + seconds(row.after / n) + "\n"
    }
    for row in rows where row.head != nil {
      let classes = row.classes.classes
      text += "head: mIoU \(fixed(100 * row.classes.meanIoU, 1)) of \(classes.count) classes, pixel accuracy \(fixed(100 * row.classes.accuracy, 1)); IoU of class "
      text += classes.map { "\($0.label) \(fixed(100 * $0.iou, 1))" }.joined(separator: ", ") + "\n"
    }
    try Terminal.output(text)
  }
}

/// Methods by comma, each once.
struct MethodList: ExpressibleByArgument {
  var methods: [MethodArgument]
  init(methods: [MethodArgument]) { self.methods = methods }
  init?(argument: String) {
    let found = argument.split(separator: ",", omittingEmptySubsequences: false).map { MethodArgument(rawValue: String($0)) }
    guard !found.isEmpty, found.allSatisfy({ $0 != nil }) else { return nil }
    methods = found.compactMap { $0 }
    if Set(methods).count != methods.count { return nil }
  }
  var defaultValueDescription: String { methods.map(\.rawValue).joined(separator: ",") }
}
