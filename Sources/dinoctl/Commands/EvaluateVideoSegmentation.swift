// dinoctl evaluate video-segmentation: label propagation over folders laid out as DAVIS, and the challenge's measures.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoModels
internal import DinoSegmentation
internal import Safetensors
#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

struct EvaluateVideoSegmentation: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "video-segmentation",
    abstract: "Video object segmentation: J, F and J&F, as on DAVIS.",
    discussion: """
      DIR has JPEGImages/SEQUENCE and Annotations/SEQUENCE (or both with 480p between), an annotation for each frame by name. Where it has ImageSets/2017/val.txt, or ImageSets/480p/val.txt \
      as DAVIS 2016, the sequences are those listed there, unless --sequences names others. The first annotation is carried through the \
      video as `dinoctl video` does; J is the intersection over union of regions, F the agreement of outlines within 0.8 % of the diagonal. As in the challenge the first and the \
      last frame do not count, and means are over frames for each object, then over objects. Recall is the share of frames above a half, decay how much worse the last quarter of the frames is than the first. Void (255 in DAVIS 2017's palette) is background, as in davis2017-evaluation. \
      \(MaskSet.help)
      -o keeps the masks, a folder a sequence, as davis2017-evaluation reads them.
      """)

  @Argument(help: ArgumentHelp("The folder of the data set.", valueName: "dir"), completion: .directory)
  var folder: String

  @Option(help: ArgumentHelp("Only these sequences, by comma, or those in a file of names (.txt).", valueName: "a,b|file.txt"), completion: .file())
  var sequences: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("Keep the masks in this folder.", valueName: "out"), completion: .directory)
  var output: String?

  @OptionGroup var propagation: PropagationOptions
  @OptionGroup var model: ModelOptions<PictureHelp>
  @OptionGroup var statistics: StatisticsOptions
  @OptionGroup var running: RunningOptions<PictureHelp>

  /// A sequence's files.
  private struct Files {
    var name: String
    var frames: [ImageInput]
    var annotations: [String]
  }

  private struct Sequence {
    var files: Files
    var masks: MaskSet
    /// The first annotation's objects.
    var first: LabelMap
  }

  private struct Result {
    var name: String
    var frames: Int
    var scores: VideoScores
  }

  func run() throws {
    let files = try list()
    if let output {
      // The masks have the names of the annotations.
      let originals = Originals(files.flatMap { $0.frames.compactMap(\.path) + $0.annotations } + Originals.files(of: model.path))
      try originals.spare(files.flatMap { sequence in sequence.frames.map { "\(output)/\(sequence.name)/\($0.stem).png" } })
    }
    let all = try read(files)
    let dino = try model.load(running.settings)
    let video = try VideoRun(dino, propagation, statistics, threads: running.threads)
    if let output { try Output.makeFolder(output) }
    var results: [Result] = []
    var progress = ProgressBar(total: files.reduce(0) { $0 + $1.frames.count }, unit: "frames")
    let start = Terminal.now()
    for sequence in all {
      do { results.append(Result(name: sequence.files.name, frames: sequence.files.frames.count, scores: try measure(sequence, video, &progress))) } catch {
        // What was measured may have taken hours; results of all there are not.
        progress.finish()
        for result in results { Terminal.say("finished before this failed: \(line(of: result))") }
        throw error
      }
    }
    progress.finish()
    try tell(results, seconds: Terminal.now() - start)
  }

  private func measure(_ sequence: Sequence, _ video: VideoRun, _ progress: inout ProgressBar) throws -> VideoScores {
    let folder = output.map { "\($0)/\(sequence.files.name)" }
    if let folder { try Output.makeFolder(folder) }
    let labels = sequence.first.labels, frames = sequence.files.frames, annotations = sequence.files.annotations
    var scores = VideoScores(objects: labels.count)
    try video.labels(frames, first: sequence.first, name: annotations[0]) { i, _, found in
      let truth = try sequence.masks.objects(annotations[i])
      guard truth.width == found.width && truth.height == found.height else { throw Self.wrongSize(annotations[i], (truth.width, truth.height), of: found) }
      if i > 0 && i < frames.count - 1 { scores.add(found: found, truth: truth, labels: labels) }
      if let folder { try Interruption.shielded { try found.write(sequence.masks.colours, to: "\(folder)/\(frames[i].stem).png") } }
      progress.advance()
    }
    return scores
  }

  private func percent(_ v: Double) -> String { fixed(100 * v, 1) }

  private func line(of result: Result) -> String {
    let objects = result.scores.objects, mean = objects.mean
    return "\(printable(result.name)): J&F \(percent((mean.j + mean.f) / 2)), J \(percent(mean.j)), F \(percent(mean.f)) (\(objects.count) object\(objects.count == 1 ? "" : "s"), \(result.frames) frames)"
  }

  private func tell(_ results: [Result], seconds: Double) throws {
    let objects = results.flatMap(\.scores.objects), frames = results.reduce(0) { $0 + $1.frames }
    let mean = objects.mean
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("sequences", .array(results.map { r in
          .object([.init("name", .string(r.name)), .init("frames", .integer(r.frames)),
                   .init("objects", .array(r.scores.objects.map { object in .object(Self.statistics.map { .init($0.name, .number(100 * object[keyPath: $0.value])) }) }))])
        })),
        .init("jf", .number(50 * (mean.j + mean.f))),
      ] + Self.statistics.map { statistic in .init(statistic.name, .number(100 * mean[keyPath: statistic.value])) } + [
        .init("seconds_per_frame", .number(seconds / Double(frames))),
      ]).text + "\n")
      return
    }
    var text = ""
    for result in results { text += line(of: result) + "\n" }
    text += "\(results.count) sequences, \(objects.count) objects: J&F \(percent((mean.j + mean.f) / 2)), J \(percent(mean.j)), F \(percent(mean.f)); \(fixed(seconds / Double(frames), 3)) s a frame\n"
    text += "J recall \(percent(mean.jRecall)), decay \(percent(mean.jDecay)); F recall \(percent(mean.fRecall)), decay \(percent(mean.fDecay))\n"
    try Terminal.output(text)
  }

  /// What is told of an object, and as a mean over objects of all.
  private static var statistics: [(name: String, value: KeyPath<VideoScores.Object, Double>)] {
    [("j", \.j), ("f", \.f), ("j_recall", \.jRecall), ("f_recall", \.fRecall), ("j_decay", \.jDecay), ("f_decay", \.fDecay)]
  }

  // MARK: What is in the folder

  private func list() throws -> [Files] {
    let images = try child("JPEGImages"), annotations = try child("Annotations")
    return try names(images, annotations).map { name in
      let frames = try ReadingOptions.expand(["\(images)/\(name)"])
      guard frames.count >= 3 else { throw Failure(.data, "\(images)/\(name): \(frames.count) frames, where the protocol needs at least 3") }
      VideoRun.noteOrder(frames)
      // Masks are kept by these names.
      guard Set(frames.map { Array($0.stem.utf8) }).count == frames.count else { throw Failure(.data, "\(images)/\(name): several frames have one name", hint: "a sequence is one folder of frames") }
      let named = try FilesByName("\(annotations)/\(name)")
      let paths = try frames.map { frame in
        guard let path = try named.file(frame.pathBelow("\(images)/\(name)"))?.name else { throw Failure(.notFound, "\(annotations)/\(name): no annotation for the frame \(frame.stem)") }
        return path
      }
      let used = Set(paths.map { Array($0.utf8) })
      if let extra = named.all.first(where: { !used.contains(Array($0.name.utf8)) }) {
        throw Failure(.data, "\(extra.name): the annotation is of no frame in \(images)/\(name), and the sequence would be measured without it", hint: "frames and annotations have one name, but for the ending")
      }
      return Files(name: name, frames: frames, annotations: paths)
    }
  }

  /// Reads the annotations. With `list` it tells everything that can be known to be wrong before the first sequence runs.
  private func read(_ files: [Files]) throws -> [Sequence] {
    var told: Set<MaskSet.Reading> = []
    return try files.map { sequence in
      let annotations = sequence.annotations, masks = try MaskSet(annotations), first = try masks.objects(annotations[0])
      if let note = masks.note, told.insert(masks.reading).inserted { Terminal.note(note) }
      guard !first.labels.isEmpty else { throw Failure(.data, "\(annotations[0]): the mask of the first frame has no object in it") }
      try Self.checkSizes(sequence.frames, annotations, first)
      return Sequence(files: sequence, masks: masks, first: first)
    }
  }

  /// Sizes as headers tell them.
  private static func checkSizes(_ frames: [ImageInput], _ annotations: [String], _ first: LabelMap) throws {
    for (frame, annotation) in zip(frames, annotations) {
      let size: (width: Int, height: Int)
      do { size = try ImageDecoder.size(path: frame.name) } catch {
        throw Failure(.data, "\(frame.name): \(UnreadableInput(DinoError(error), of: frame).message)", hint: "a video cannot do without one of its frames")
      }
      guard size == (first.width, first.height) else {
        throw Failure(.data, "\(frame.name) has \(size.width)x\(size.height) pixels, the mask of the first frame \(first.width)x\(first.height)", hint: "all frames and the mask must have one size")
      }
      let mask: (width: Int, height: Int)
      do { mask = try ImageDecoder.size(path: annotation) } catch { throw DinoError(error) }
      guard mask == (first.width, first.height) else { throw wrongSize(annotation, mask, of: first) }
    }
  }

  private static func wrongSize(_ annotation: String, _ size: (width: Int, height: Int), of frame: LabelMap) -> Failure {
    Failure(.data, "\(annotation) has \(size.width)x\(size.height) pixels, its frame \(frame.width)x\(frame.height)")
  }

  /// The data sets' own lists of what is measured, from `ImageSets`: of DAVIS 2017, and of 2016.
  private static let lists = ["2017/val.txt", "480p/val.txt"]

  /// The sequences that are asked for, those of the data set's list, or all.
  private func names(_ images: String, _ annotations: String) throws -> [String] {
    let present = try folders(images)
    if let sequences {
      let isFile = sequences.lowercased().hasSuffix(".txt"), names = isFile ? try listed(sequences) : sequences.split(separator: ",").map(String.init)
      if names.isEmpty || Set(names).count != names.count { throw Failure(.usage, "--sequences '\(sequences)' names no sequence, or one twice") }
      return try chosen(names, of: present)
    }
    if let list = Self.lists.map({ "\(folder)/ImageSets/\($0)" }).first(where: Output.exists) {
      let names = try chosen(listed(list), of: present)
      guard !names.isEmpty else { throw Failure(.data, "\(list): the list names no sequence", hint: "--sequences names some") }
      Terminal.note("\(names.count) of \(present.count) sequences, as \(list) lists them; --sequences names others")
      return names
    }
    if let lost = try folders(annotations).first(where: { !present.contains($0) }) {
      throw Failure(.data, "\(annotations)/\(lost): the annotated sequence has no frames in \(images), and would be left out", hint: "--sequences names those to measure")
    }
    guard !present.isEmpty else { throw Failure(.data, "\(images): no folders of sequences") }
    return present
  }

  private func chosen(_ names: [String], of present: [String]) throws -> [String] {
    for name in names where !present.contains(name) { throw Failure(.notFound, "\(folder): there is no sequence \(name)", hint: "there are \(present.prefix(8).joined(separator: ", ")); --sequences names those to measure") }
    return names
  }

  /// The sequences in a file, each once: a name a line, or, as DAVIS 2016 lists them, the path of a frame and of its annotation.
  private func listed(_ path: String) throws -> [String] {
    guard let data = FileManager.default.contents(atPath: path) else { throw Failure(.notFound, "\(path): no such file, or it cannot be read") }
    var names: [String] = []
    for line in String(decoding: data, as: UTF8.self).split(whereSeparator: \.isNewline) {
      var name = String(line)
      while name.last?.isWhitespace == true { name.removeLast() }
      // DAVIS 2016 lists frames with their annotations: /JPEGImages/480p/cows/00000.jpg /Annotations/480p/cows/00000.png.
      if name.hasPrefix("/"), let frame = name.split(separator: " ").first {
        let parts = ImageInputs.parts(of: String(frame))
        if parts.count > 1 { name = String(parts[parts.count - 2]) }
      }
      if !name.isEmpty, !names.contains(name) { names.append(name) }
    }
    return names
  }

  /// A folder of the data set, or 480p in it.
  private func child(_ name: String) throws -> String {
    let path = "\(folder)/\(name)"
    var isFolder = false
    if FileManager.default.fileExists(atPath: "\(path)/480p", isDirectory: &isFolder), isFolder { return "\(path)/480p" }
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder else { throw Failure(.notFound, "\(path): no such folder; the data set has JPEGImages and Annotations") }
    return path
  }

  private func folders(_ path: String) throws -> [String] {
    guard let names = try? FileManager.default.contentsOfDirectory(atPath: path) else { throw Failure(.notFound, "\(path) cannot be read") }
    return names.filter { name in
      var isFolder = false
      return !name.hasPrefix(".") && FileManager.default.fileExists(atPath: "\(path)/\(name)", isDirectory: &isFolder) && isFolder
    }.sorted()
  }
}
