// dinoctl video: the object of a video's first frame in all others, or what the network attends to, frame by frame.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoModels
internal import DinoSegmentation
internal import Safetensors

struct Video: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Masks of a video from one of its first frame, or its attention, frame by frame.",
    discussion: """
      FRAMES are a video's frames, in the order of their names: numbers need leading zeros. With --mask, a mask of the first frame is carried through all: label propagation as \
      eval_video_segmentation.py does it for DAVIS, without training. A mask is grey, each level but 0 an object (DAVIS 2016: 255), or has the colours of DAVIS 2017, where void (255) is background. \(MaskSet.help) OUT gets \
      X.png for each frame X, labels written as the mask has them, and X_overlay.png. All frames must be readable and of one size, and OUT is not within their folder. Where MASK lies among the frames, it is none of them.
      Without --mask OUT gets X.png, the mean attention of the heads of the last block as video_generation.py draws it: each patch a square, colours from least to \
      greatest (inferno). Frames that cannot be read are named and skipped.
      """)

  @Argument(help: ArgumentHelp("A folder or a tar archive of frames, frames, or a list of them, which is taken in its own order.", valueName: "frames"), completion: .file())
  var inputs: [String]

  @Option(help: ArgumentHelp("The mask of the first frame.", valueName: "mask.png"), completion: .file())
  var mask: String?

  @Flag(help: "With --mask: no overlays, only masks.")
  var noOverlay = false

  @Option(name: .shortAndLong, help: ArgumentHelp("Folder for the results; made where it is not there.", valueName: "out"), completion: .directory)
  var output: String

  @OptionGroup var propagation: PropagationOptions
  @OptionGroup var model: ModelOptions<PictureHelp>
  @OptionGroup var statistics: StatisticsOptions
  @OptionGroup var running: RunningOptions<PictureHelp>

  func validate() throws {
    guard mask == nil else { return }
    let unread = ["--last-frames", "--neighbourhood", "--top-k", "--temperature", "--no-overlay"]
    if let flag = GivenFlags.all().first(where: { unread.contains($0) }) { throw ValidationError("\(flag) goes with --mask") }
  }

  func run() throws {
    let frames = try self.frames()
    VideoRun.noteOrder(frames)
    var names = ResultNames(files: files(of:))
    let stems = frames.map { names.name(for: $0) }
    let originals = Originals(frames.compactMap(\.path) + (mask.map { [$0] } ?? []) + Originals.files(of: model.path))
    for stem in stems { try originals.spare(files(of: stem).map { "\(output)/\($0)" }) }
    try Originals.keepApart(output, from: inputs + Set(frames.compactMap(\.path).map(Originals.parent(of:))).sorted())
    let masks = try mask.map { try MaskSet([$0]) }
    if let note = masks?.note { Terminal.note(note) }
    let first: (labels: LabelMap, colours: LabelMap.Colours, name: String)?
    if let masks, let mask { first = (try masks.objects(mask), masks.colours, mask) } else { first = nil }
    let dino = try model.load(running.settings)
    // What is assumed of a file that says nothing is what the official program of each kind assumes.
    let video = try VideoRun(dino, propagation, statistics, deviation: first == nil ? nil : VideoPreparer.officialDeviation, threads: running.threads)
    let results = try ResultFolder(output)
    var progress = ProgressBar(total: frames.count, unit: "frames"), skipped = SkippedInputs()
    if let first {
      try video.labels(frames, first: first.labels, name: first.name) { i, frame, labels in
        try Interruption.shielded {
          try labels.write(first.colours, to: results.place(of: "\(stems[i]).png"))
          if !noOverlay { try Drawing.writePNG(overlay(labels, on: frame), to: results.place(of: "\(stems[i])_overlay.png")) }
        }
        progress.advance()
      }
    } else {
      try video.attention(frames, skipped: &skipped) { i, maps in
        if let maps {
          let mean = maps.mean, patch = maps.geometry.patch
          let picture = HeatMap(width: mean.columns, height: mean.rows, values: mean.values).resized(width: mean.columns * patch, height: mean.rows * patch, .nearest).image(.inferno)
          try Interruption.shielded { try Drawing.writePNG(picture, to: results.place(of: "\(stems[i]).png")) }
        }
        progress.advance()
      }
    }
    progress.finish()
    let written = frames.count - skipped.count
    guard written > 0 else { throw Failure(.data, "none of the \(frames.count) frames could be read") }
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("frames", .integer(written)), .init("output", .string(output)), .init("labels", .array((first?.labels.labels ?? []).map { .integer(Int($0)) })),
        .init("random_weights", .bool(dino.hasRandomWeights)), .init("skipped", skipped.json),
      ]).text + "\n")
    } else {
      Terminal.note("\(written) frames in \(output)")
    }
    try skipped.conclude(of: frames.count, canTurn: false)
  }

  /// The frames, but for the mask where it lies among them, as in folders that hold a video and its first annotation.
  private func frames() throws -> [ImageInput] {
    let frames = try VideoRun.frames(inputs)
    guard let mask, let place = Originals.Place(existing: mask) else { return frames }
    let others = frames.filter { $0.path.flatMap { Originals.Place(existing: $0) } != place }
    if others.count < frames.count { Terminal.note("\(mask) is the mask, and no frame") }
    guard !others.isEmpty else { throw Failure(.usage, "\(mask) is the only frame, and the mask", hint: "name the folder of the frames") }
    return others
  }

  /// What a frame called `name` leaves in the folder.
  private func files(of name: String) -> [String] { ["\(name).png"] + (mask != nil && !noOverlay ? ["\(name)_overlay.png"] : []) }

  private func overlay(_ labels: LabelMap, on frame: Image) -> Image {
    let found = labels.labels
    if found.count == 1 { return frame.overlaying(labels.mask(of: found[0])) }
    return found.reduce(frame) { $0.overlaying(labels.mask(of: $1), color: LabelMap.palette[Int($1)]) }
  }
}
