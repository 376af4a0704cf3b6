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
      DIR has JPEGImages/SEQUENCE and Annotations/SEQUENCE (or both with 480p between), an annotation for each frame by name. The first annotation is carried through the \
      video as `dinoctl video` does; J is the intersection over union of regions, F the agreement of outlines within 0.8 % of the diagonal. As in the challenge the first and the \
      last frame do not count, and means are over frames for each object, then over objects. Void (255 in DAVIS 2017's palette) is background, as in davis2017-evaluation. \
      \(MaskSet.help)
      -o keeps the masks, a folder a sequence, as davis2017-evaluation reads them.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var statistics: StatisticsOptions
  @OptionGroup var propagation: PropagationOptions

  @Argument(help: ArgumentHelp("The folder of the data set.", valueName: "dir"), completion: .directory)
  var folder: String

  @Option(help: ArgumentHelp("Only these sequences, by comma.", valueName: "a,b"))
  var sequences: String?

  @Option(name: .shortAndLong, help: ArgumentHelp("Keep the masks in this folder.", valueName: "out"), completion: .directory)
  var output: String?

  private struct Sequence {
    var name: String
    var frames: [ImageInput]
    var annotations: [String]
  }

  func validate() throws { try model.running.refuseBatchSize(of: "evaluate video-segmentation") }

  func run() throws {
    let all = try read()
    let dino = try model.load()
    let video = try VideoRun(dino, propagation, statistics, threads: model.running.threads)
    if let output {
      // The masks have the names of the annotations.
      let originals = Originals(all.flatMap { $0.frames.compactMap(\.path) + $0.annotations } + Originals.files(of: model.path))
      try originals.spare(all.flatMap { sequence in sequence.frames.map { "\(output)/\(sequence.name)/\($0.stem).png" } })
      try Output.makeFolder(output)
    }
    var results: [(name: String, frames: Int, scores: VideoScores)] = []
    var progress = ProgressBar(total: all.reduce(0) { $0 + $1.frames.count }, unit: "frames")
    let start = Terminal.now()
    var hasNoted = false
    for sequence in all {
      let masks = try MaskSet(sequence.annotations), first = try masks.objects(sequence.annotations[0]), labels = first.labels
      if let note = masks.note, !hasNoted {
        Terminal.note(note)
        hasNoted = true
      }
      if let output { try Output.makeFolder("\(output)/\(sequence.name)") }
      var scores = VideoScores(objects: labels.count)
      try video.labels(sequence.frames, first: first, name: sequence.annotations[0]) { i, _, found in
        let truth = try masks.objects(sequence.annotations[i])
        guard truth.width == found.width && truth.height == found.height else {
          throw Failure(.data, "\(sequence.annotations[i]) has \(truth.width)x\(truth.height) pixels, its frame \(found.width)x\(found.height)")
        }
        if i > 0 && i < sequence.frames.count - 1 { scores.add(found: found, truth: truth, labels: labels) }
        if let output { try Interruption.shielded { try found.write(masks.colours, to: "\(output)/\(sequence.name)/\(sequence.frames[i].stem).png") } }
        progress.advance()
      }
      results.append((sequence.name, sequence.frames.count, scores))
    }
    progress.finish()
    try tell(results, seconds: Terminal.now() - start)
  }

  private func tell(_ results: [(name: String, frames: Int, scores: VideoScores)], seconds: Double) throws {
    func percent(_ v: Double) -> String { fixed(100 * v, 1) }
    let objects = results.flatMap(\.scores.objects), frames = results.reduce(0) { $0 + $1.frames }
    let (j, f) = (objects.mean.j, objects.mean.f)
    if model.running.json {
      try Terminal.output(JSONValue.object([
        .init("sequences", .array(results.map { r in
          .object([.init("name", .string(r.name)), .init("frames", .integer(r.frames)),
                   .init("objects", .array(r.scores.objects.map { .object([.init("j", .number(100 * $0.j)), .init("f", .number(100 * $0.f))]) }))])
        })),
        .init("j", .number(100 * j)), .init("f", .number(100 * f)), .init("jf", .number(50 * (j + f))), .init("seconds_per_frame", .number(seconds / Double(frames))),
      ]).text + "\n")
      return
    }
    var text = ""
    for r in results {
      let (j, f) = (r.scores.objects.mean.j, r.scores.objects.mean.f)
      text += "\(printable(r.name)): J&F \(percent((j + f) / 2)), J \(percent(j)), F \(percent(f)) (\(r.scores.objects.count) object\(r.scores.objects.count == 1 ? "" : "s"), \(r.frames) frames)\n"
    }
    text += "\(results.count) sequences, \(objects.count) objects: J&F \(percent((j + f) / 2)), J \(percent(j)), F \(percent(f)); \(fixed(seconds / Double(frames), 3)) s a frame\n"
    try Terminal.output(text)
  }

  // MARK: What is in the folder

  private func read() throws -> [Sequence] {
    let images = try child("JPEGImages"), annotations = try child("Annotations")
    let present = try folders(images)
    let wanted = sequences.map { $0.split(separator: ",").map(String.init) }
    if let wanted, wanted.isEmpty || Set(wanted).count != wanted.count { throw Failure(.usage, "--sequences '\(sequences ?? "")' names no sequence, or one twice") }
    let names = try wanted.map { try chosen($0, of: present) } ?? present
    guard !names.isEmpty else { throw Failure(.data, "\(images): no folders of sequences") }
    return try names.map { name in
      let frames = try ReadingOptions.expand(["\(images)/\(name)"])
      guard frames.count >= 3 else { throw Failure(.data, "\(images)/\(name): \(frames.count) frames, where the protocol needs at least 3") }
      VideoRun.noteOrder(frames)
      // Masks are kept by these names.
      guard Set(frames.map { Array($0.stem.utf8) }).count == frames.count else { throw Failure(.data, "\(images)/\(name): several frames have one name", hint: "a sequence is one folder of frames") }
      let named = try FilesByName("\(annotations)/\(name)")
      return Sequence(name: name, frames: frames, annotations: try frames.map { frame in
        guard let path = try named.file(frame.pathBelow("\(images)/\(name)"))?.name else { throw Failure(.notFound, "\(annotations)/\(name): no annotation for the frame \(frame.stem)") }
        return path
      })
    }
  }

  private func chosen(_ names: [String], of present: [String]) throws -> [String] {
    for name in names where !present.contains(name) { throw Failure(.notFound, "\(folder): there is no sequence \(name)", hint: "there are \(present.prefix(8).joined(separator: ", "))") }
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
