// What `segment` leaves behind: masks, overlays and a report for each photograph, coco.json for all.

internal import Dino
internal import DinoImaging
internal import DinoSegmentation
internal import Safetensors

struct SegmentResults {
  private let command: Segment
  private let preparer: ImagePreparer
  private let hasRandomWeights: Bool
  private let folder: ResultFolder
  private var coco = COCODocument()
  /// For --json.
  private var reports: [JSONValue] = []
  private var count = 0

  init(command: Segment, preparer: ImagePreparer, hasRandomWeights: Bool) throws {
    self.command = command
    folder = try ResultFolder(command.output)
    // A run that ends early leaves none, rather than that of other masks.
    Output.remove("\(command.output)/coco.json")
    self.preparer = preparer
    self.hasRandomWeights = hasRandomWeights
  }

  /// A photograph's masks as drawn.
  private struct Drawn {
    /// Nil where a mask has no patch: of a head's many classes few are in a photograph.
    var masks: [PixelMask?]
    /// All of them as one.
    var union: PixelMask
    /// Boxes of connected parts, the strongest first; of maskcut one a mask.
    var boxes: [(x: Int, y: Int, width: Int, height: Int)]
    /// With --refine: whether each mask was moved.
    var refined: [Bool]?
    /// attention: of the head's mass, how much the mask holds.
    var share: Double
  }

  mutating func add(_ found: Segmenter.Found, _ photograph: Photograph, source: String, name: String) throws {
    let seen = command.size == .model ? try preparer.seen(photograph.image) : photograph.image
    let drawn = draw(found, photograph.prepared.geometry, seen)
    let report = self.report(drawn, found, source: source, name: name)
    try Interruption.shielded {
      try write(drawn, found, photograph.prepared.geometry, on: seen, name: name)
      try writeWhole(report.text + "\n", to: folder.place(of: "\(name).json"))
    }
    coco.add(drawn.masks, found.labels?.map { Int($0) }, width: drawn.union.width, height: drawn.union.height, file: source, score: drawn.share)
    count += 1
    if command.running.json { reports.append(report) }
  }

  mutating func finish(skipped: SkippedInputs, json: Bool) throws {
    try Interruption.shielded { try writeWhole(coco.text + "\n", to: folder.place(of: "coco.json")) }
    if json {
      try Terminal.output(JSONValue.object([.init("images", .array(reports)), .init("random_weights", .bool(hasRandomWeights)), .init("skipped", skipped.json)]).text + "\n")
    } else {
      Terminal.note("\(count) masks in \(command.output)")
    }
  }

  // MARK: From patches to pixels

  private func draw(_ found: Segmenter.Found, _ g: PreparedImage.Geometry, _ seen: Image) -> Drawn {
    let present = found.masks.indices.filter { found.masks[$0].kept.contains(true) }
    var drawn = present.map { pixels(found.masks[$0], g) }, refined: [Bool]?
    if command.refine == .bilateral {
      let results = found.labels == nil ? Refinement.bilateral(drawn, on: seen) : Refinement.bilateral(classes: drawn, on: seen)
      drawn = results.map(\.mask)
      var moved = [Bool](repeating: false, count: found.masks.count)
      for (k, result) in zip(present, results) { moved[k] = result.isAccepted }
      refined = moved
    }
    var masks = [PixelMask?](repeating: nil, count: found.masks.count)
    for (k, mask) in zip(present, drawn) { masks[k] = mask }
    var union = drawn.first ?? pixels(PatchMask(rows: g.rows, columns: g.columns, kept: [Bool](repeating: false, count: g.rows * g.columns)), g)
    for mask in drawn.dropFirst() {
      for i in mask.values.indices where mask.values[i] > 0 { union.values[i] = 255 }
    }
    let boxes: [(x: Int, y: Int, width: Int, height: Int)]
    if found.masks.count > 1 {
      boxes = drawn.compactMap(\.box)
    } else if refined == [true], let moved = drawn.first {
      boxes = partBoxes(moved)
    } else {
      boxes = partBoxes(found, g)
    }
    return Drawn(masks: masks, union: union, boxes: boxes, refined: refined, share: share(found))
  }

  /// Boxes of the connected parts of a mask that follows the photograph's edges, the largest first.
  private func partBoxes(_ mask: PixelMask) -> [(x: Int, y: Int, width: Int, height: Int)] {
    let parts = Mask(width: mask.width, height: mask.height, values: mask.values), areas = parts.components().areas
    return zip(areas, parts.componentBoxes()).sorted { $0.0 > $1.0 }.map { ($0.1.x, $0.1.y, $0.1.width, $0.1.height) }
  }

  /// Boxes of the connected parts of the mask, the one with the most attention first, or the most patches.
  private func partBoxes(_ found: Segmenter.Found, _ g: PreparedImage.Geometry) -> [(x: Int, y: Int, width: Int, height: Int)] {
    guard let mask = found.masks.first else { return [] }
    let values = command.methodName == "attention" ? found.map?.values : nil
    func weight(_ part: [Int]) -> Double {
      guard let values else { return Double(part.count) }
      return part.reduce(0) { $0 + Double(values[$1]) }
    }
    return mask.components().sorted { weight($0) > weight($1) }.compactMap { part in
      var alone = PatchMask(rows: mask.rows, columns: mask.columns, kept: [Bool](repeating: false, count: mask.kept.count))
      for i in part { alone.kept[i] = true }
      return pixels(alone, g).box
    }
  }

  private func share(_ found: Segmenter.Found) -> Double {
    guard command.methodName == "attention", let map = found.map, let mask = found.masks.first else { return 1 }
    var inside = 0.0, all = 0.0
    for (i, v) in map.values.enumerated() {
      all += Double(v)
      if mask.kept[i] { inside += Double(v) }
    }
    return all > 0 ? inside / all : 0
  }

  private func pixels(_ mask: PatchMask, _ g: PreparedImage.Geometry) -> PixelMask {
    if command.size == .model { return mask.pixels(patch: g.patch) }
    return mask.pixels(height: g.height, width: g.width, patch: g.patch, resized: (g.resizedHeight, g.resizedWidth), crop: (g.top, g.left))
  }

  // MARK: Files

  private mutating func write(_ drawn: Drawn, _ found: Segmenter.Found, _ g: PreparedImage.Geometry, on seen: Image, name: String) throws {
    try Drawing.writePNG(Drawing.image(drawn.union), to: folder.place(of: "\(name).png"))
    if command.methodName == "maskcut" {
      for (k, mask) in drawn.masks.enumerated() { if let mask { try Drawing.writePNG(Drawing.image(mask), to: folder.place(of: "\(name)_\(k + 1).png")) } }
    }
    if let labels = found.labels {
      var map = LabelMap(width: drawn.union.width, height: drawn.union.height, values: [UInt8](repeating: 0, count: drawn.union.values.count))
      for case (let mask?, let label) in zip(drawn.masks, labels) { for i in mask.values.indices where mask.values[i] > 0 { map.values[i] = label } }
      try map.write(.grey, to: folder.place(of: "\(name)_labels.png"))
    }
    if let colours = found.colours {
      let small = Image(width: g.columns, height: g.rows, channels: 3, pixels: colours)
      let large: Image
      do { large = try Resampler.resize(small, width: g.columns * g.patch, height: g.rows * g.patch, interpolation: .nearest) } catch { throw DinoError(error) }
      try Drawing.writePNG(large, to: folder.place(of: "\(name)_pca.png"))
    }
    if !command.noOverlay { try Drawing.writePNG(Drawing.overlay(drawn.masks, on: seen), to: folder.place(of: "\(name)_overlay.png")) }
  }

  private func report(_ drawn: Drawn, _ found: Segmenter.Found, source: String, name: String) -> JSONValue {
    func box(_ b: (x: Int, y: Int, width: Int, height: Int)) -> JSONValue { .array([.integer(b.x), .integer(b.y), .integer(b.width), .integer(b.height)]) }
    var members: [JSONValue.Member] = [
      .init("image", .string(source)), .init("mask", .string("\(name).png")), .init("width", .integer(drawn.union.width)), .init("height", .integer(drawn.union.height)),
      .init("method", .string(command.methodName)),
    ]
    switch command.methodName {
    case "attention":
      members += [.init("head", found.head.map { .integer($0) } ?? .string("mean")), .init("mass", .number(command.mass)), .init("component", .bool(!command.noComponent))]
    case "spectral": members.append(.init("component", .bool(!command.noComponent)))
    case "tokencut", "maskcut": members.append(.init("tau", .number(command.tau ?? (command.methodName == "tokencut" ? 0.2 : 0.15))))
    default: break
    }
    members += [.init("size", .string(command.size.rawValue)), .init("area", .integer(drawn.union.area))]
    if command.methodName == "attention" { members.append(.init("share_of_attention", .number(drawn.share))) }
    members.append(.init("boxes", .array(drawn.boxes.map(box))))
    if command.methodName == "maskcut" { members.append(.init("masks", .array(drawn.masks.indices.map { .string("\(name)_\($0 + 1).png") }))) }
    if let labels = found.labels { members.append(.init("labels", .array(labels.map { .integer(Int($0)) }))) }
    if command.polygons {
      members.append(.init("polygons", .array(drawn.masks.map { mask in
        .array((mask?.polygons() ?? []).map { ring in .array(ring.flatMap { [.integer($0.x), .integer($0.y)] }) })
      })))
    }
    if let refined = drawn.refined {
      let ofSome = zip(drawn.masks, refined).filter { ($0.0?.area ?? 0) > 0 }.map { $0.1 }
      members.append(.init("refined", .bool(!ofSome.isEmpty && ofSome.allSatisfy { $0 })))
      if let labels = found.labels { members.append(.init("refined_labels", .array(zip(labels, refined).filter { $0.1 }.map { .integer(Int($0.0)) }))) }
    }
    members.append(.init("random_weights", .bool(hasRandomWeights)))
    return .object(members)
  }
}

/// A COCO document, growing. The category of methods that do not know any is 1, "object"; a head's are its labels.
private struct COCODocument {
  private var images: [JSONValue] = []
  private var annotations: [JSONValue] = []
  private var categories: Set<Int> = []
  private var hasLabels = false

  /// - Parameters:
  ///   - masks: nil for what is nowhere in the photograph.
  ///   - labels: of each mask; nil of a method that knows none.
  mutating func add(_ masks: [PixelMask?], _ labels: [Int]?, width: Int, height: Int, file: String, score: Double) {
    let id = images.count + 1
    images.append(.object([.init("id", .integer(id)), .init("file_name", .string(file)), .init("height", .integer(height)), .init("width", .integer(width))]))
    let categories = labels ?? masks.map { _ in 1 }
    hasLabels = hasLabels || labels != nil
    self.categories.formUnion(categories)
    for (mask, category) in zip(masks, categories) {
      guard let mask, let box = mask.box else { continue }
      annotations.append(.object([
        .init("id", .integer(annotations.count + 1)), .init("image_id", .integer(id)), .init("category_id", .integer(category)),
        .init("segmentation", .object([.init("size", .array([.integer(mask.height), .integer(mask.width)])), .init("counts", .string(mask.compressedRunLengths))])),
        .init("area", .integer(mask.area)), .init("bbox", .array([.integer(box.x), .integer(box.y), .integer(box.width), .integer(box.height)])), .init("iscrowd", .integer(0)),
        .init("score", .number(score)),
      ]))
    }
  }

  var text: String {
    JSONValue.object([
      .init("images", .array(images)), .init("categories", .array((hasLabels ? categories.sorted() : [1]).map { .object([.init("id", .integer($0)), .init("name", .string(hasLabels ? "label \($0)" : "object"))]) })),
      .init("annotations", .array(annotations)),
    ]).text
  }
}
