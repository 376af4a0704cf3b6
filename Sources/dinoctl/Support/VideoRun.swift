// A video frame by frame: its labels from those of its first frame, by reading, the network and propagation; or its attention. `video` and `evaluate video-segmentation` say what becomes of them.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoModels
internal import DinoSegmentation

/// Options of label propagation.
struct PropagationOptions: ParsableArguments {
  @Option(help: "Shorter side that frames are resized to; the longer becomes a multiple of 64.")
  var size = 480

  @Option(help: "How many frames before each frame to look at, besides the first.")
  var lastFrames = 7

  @Option(help: "How many patches away, in rows and columns, to look; 0 for everywhere.")
  var neighbourhood = 12

  @Option(help: "How many of the most similar patches count.")
  var topK = 5

  @Option(help: "Weights are exp(cosine / temperature).")
  var temperature = 0.1

  func validate() throws {
    if size < 1 || size > 65_536 { throw ValidationError("--size must be from 1 to 65536, not \(size)") }
    if lastFrames < 0 || lastFrames > 1000 { throw ValidationError("--last-frames must be from 0 to 1000, not \(lastFrames)") }
    if neighbourhood < 0 || neighbourhood > 65_536 { throw ValidationError("--neighbourhood must be from 0 to 65536, not \(neighbourhood)") }
    if topK < 1 || topK > 1000 { throw ValidationError("--top-k must be from 1 to 1000, not \(topK)") }
    if !(temperature >= 0.01 && temperature.isFinite) { throw ValidationError("--temperature must be at least 0.01, not \(temperature)") }
  }

  func settings(threads: Int) -> LabelPropagation.Settings {
    var settings = LabelPropagation.Settings()
    (settings.lastFrames, settings.neighbourhood, settings.topK, settings.temperature, settings.threads) = (lastFrames, neighbourhood, topK, Float(temperature), threads)
    return settings
  }
}

/// One network and how it reads videos.
struct VideoRun {
  let model: DinoModel
  let preparer: VideoPreparer
  let settings: LabelPropagation.Settings

  /// - Parameter deviation: what is assumed of a model that says nothing; nil for ImageNet's.
  init(_ model: DinoModel, _ options: PropagationOptions, _ statistics: StatisticsOptions, deviation: [Double]? = VideoPreparer.officialDeviation, threads: Int) throws {
    self.model = model
    preparer = try VideoPreparer(side: options.size, preprocessing: statistics.record(of: model, deviation: deviation), patch: model.config.patchSize)
    settings = options.settings(threads: threads)
  }

  private struct Frame: Sendable {
    var image: Image
    var prepared: PreparedImage
  }

  /// Carries `first` through the frames, and gives each frame with its labels, the first included, to `use`.
  func labels(_ frames: [ImageInput], first: LabelMap, name: String, use: (Int, Image, LabelMap) throws -> Void) throws {
    let labels = first.labels
    guard !labels.isEmpty else { throw Failure(.data, "\(name): the mask of the first frame has no object in it") }
    let preparer = preparer
    let prefetch = OrderedPrefetch(count: frames.count, ahead: 3, workers: 1) { i -> Result<Frame, UnreadableInput> in
      do throws(DinoError) {
        let image = try preparer.decode(frames[i])
        return .success(Frame(image: image, prepared: try preparer.prepare(image)))
      } catch { return .failure(UnreadableInput(error, of: frames[i])) }
    }
    var propagation: LabelPropagation?
    for (i, input) in frames.enumerated() {
      guard let next = prefetch.next() else { break }
      let frame: Frame
      switch next {
      case .success(let read): frame = read
      case .failure(let reason): throw Failure(.data, "\(input.name): \(reason.message)", hint: "a video cannot do without one of its frames")
      }
      guard frame.image.width == first.width && frame.image.height == first.height else {
        throw Failure(.data, "\(input.name) has \(frame.image.width)x\(frame.image.height) pixels, the mask of the first frame \(first.width)x\(first.height)", hint: "all frames and the mask must have one size")
      }
      let features = try model.patchFeatures(frame.prepared, .tokens)
      if i == 0 {
        try tellOfLost(labels, first, features, name: name)
        propagation = LabelPropagation(first: features, labels: try .init(first, labels: labels, rows: features.rows, columns: features.columns), settings: settings)
        try use(0, frame.image, first)
      } else if let found = propagation?.next(features) {
        try use(i, frame.image, try found.map(labels: labels, patch: preparer.patch, width: first.width, height: first.height))
      }
    }
  }

  /// Says which objects are nowhere on the grid of patches, where each patch has the label under its centre.
  private func tellOfLost(_ labels: [UInt8], _ first: LabelMap, _ features: PatchFeatures, name: String) throws {
    let kept = try first.resized(width: features.columns, height: features.rows).labels, lost = labels.filter { !kept.contains($0) }
    guard !lost.isEmpty else { return }
    let (objects, verb) = lost.count == 1 ? ("object", "is") : ("objects", "are")
    Terminal.note("\(name): \(objects) \(lost.map { "\($0)" }.joined(separator: ", ")) \(verb) under no patch of the first frame and cannot be followed; a larger --size may help")
  }

  /// The frames that `arguments` name: those of a folder or an archive in the order of their names, whatever order the archive has them in; those of a list in the list's.
  static func frames(_ arguments: [String]) throws -> [ImageInput] {
    func archive(_ frame: ImageInput) -> ObjectIdentifier? {
      if case .member(let storage, _) = frame.place { return ObjectIdentifier(storage) }
      return nil
    }
    var frames = try ReadingOptions.expand(arguments), start = 0
    while start < frames.count {
      let own = archive(frames[start]), end = own == nil ? start + 1 : frames[start...].firstIndex { archive($0) != own } ?? frames.count
      frames[start..<end].sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
      start = end
    }
    return frames
  }

  /// Says where frames follow each other against the order of the numbers at the end of their names, as those do that are not padded with zeros, or in a list that is not in order.
  static func noteOrder(_ frames: [ImageInput]) {
    guard let (before, after) = outOfOrder(frames) else { return }
    Terminal.note("the frame \(before) is taken before \(after): frames of a folder or an archive come in the order of their names, not of numbers, and those of a list in its own; pad numbers with zeros (ffmpeg: %05d), or list the frames in order")
  }

  private static func outOfOrder(_ frames: [ImageInput]) -> (before: String, after: String)? {
    func parts(_ frame: ImageInput) -> (text: Substring, digits: Substring) {
      let name = frame.name.dropLast(lastComponent(frame.name).count - frame.stem.count)
      let start = name.lastIndex(where: { !("0"..."9").contains($0) }).map { name.index(after: $0) } ?? name.startIndex
      return (name[..<start], name[start...])
    }
    for (frame, next) in zip(frames, frames.dropFirst()) {
      let a = parts(frame), b = parts(next)
      guard a.text == b.text, !a.digits.isEmpty, !b.digits.isEmpty else { continue }
      let x = String(a.digits.drop(while: { $0 == "0" })), y = String(b.digits.drop(while: { $0 == "0" }))
      if (x.count, x) > (y.count, y) { return (frame.name, next.name) }
    }
    return nil
  }

  /// Gives each frame's attention to `use`; nil of one that cannot be read, which is named.
  func attention(_ frames: [ImageInput], skipped: inout SkippedInputs, use: (Int, AttentionMaps?) throws -> Void) throws {
    let preparer = preparer
    let prefetch = OrderedPrefetch(count: frames.count, ahead: 3, workers: frames.count == 1 ? 0 : 1) { i -> Result<PreparedImage, UnreadableInput> in
      do throws(DinoError) { return .success(try preparer.prepare(preparer.decode(frames[i]))) } catch { return .failure(UnreadableInput(error, of: frames[i])) }
    }
    for (i, input) in frames.enumerated() {
      guard let next = prefetch.next() else { break }
      switch next {
      case .success(let image): try use(i, try model.attention(image))
      case .failure(let reason):
        try skipped.add(input.name, reason.message, strict: false)
        try use(i, nil)
      }
    }
  }
}
