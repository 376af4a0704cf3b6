// What most people want of a model: numbers and maps from photographs and camera frames, in one call. Folders, other tokens and layers: FeatureExtractor.swift.

public import DinoImaging
public import DinoModels
public import DinoTensor
internal import Synchronization

extension DinoModel {
  /// The class token of an image file: D numbers, not normalised.
  public func features(ofImageAt path: String) throws(DinoError) -> [Float] { try features(Self.image(at: path)) }

  /// What each head attends to in an image file.
  public func attention(ofImageAt path: String) throws(DinoError) -> AttentionMaps { try attention(Self.image(at: path)) }

  /// Reads an image file (PNG, JPEG, WebP, TIFF, PNM) as RGB.
  public static func image(at path: String, limits: DecodeOptions = DecodeOptions()) throws(DinoError) -> Image {
    do { return try ImageDecoder.decode(path: path, options: limits) } catch { throw DinoError(error, path: nil) }
  }

  /// Reads an image file's bytes as RGB. Who takes pictures from strangers bounds `limits`: a file of a few kB can promise 179 million pixels.
  public static func image(bytes: [UInt8], name: String = "the image", limits: DecodeOptions = DecodeOptions()) throws(DinoError) -> Image {
    do { return try ImageDecoder.decode(bytes: bytes, name: name, options: limits) } catch { throw DinoError(error, path: nil) }
  }

  /// A picture of a camera's memory: `layout` is the order of its channels, which `Preprocessing.channelOrder` is not (that is the network's).
  ///
  /// - Parameter bytesPerRow: from the start of one row to the next; nil where rows follow each other without a rest.
  public static func image(width: Int, height: Int, bytesPerRow: Int? = nil, layout: PixelLayout, bytes: Span<UInt8>) throws(DinoError) -> Image {
    do { return try Image(width: width, height: height, bytesPerRow: bytesPerRow, layout: layout, bytes: bytes) } catch { throw DinoError(error, path: nil) }
  }

  /// The preprocessing that the model's files state; without one, that of the official evaluation.
  public var preprocessing: Preprocessing { checkpoint.preprocessing ?? .imageNet }

  /// Whether `preprocessing` is assumed: no file said it.
  public var preprocessingIsAssumed: Bool { checkpoint.preprocessing == nil }

  /// The model's preprocessing with changes over it.
  public func preparedRecord(_ changes: PreprocessingChanges) throws(DinoError) -> Preprocessing { try changes.applied(to: preprocessing) }

  /// What turns photographs into the network's input. `changes` go over `record`, or the model's own preprocessing.
  public func preparer(_ changes: PreprocessingChanges = PreprocessingChanges(), over record: Preprocessing? = nil) throws(DinoError) -> ImagePreparer {
    guard config.inChannels == 3 else {
      throw DinoError(.usage, "the model reads images of \(config.inChannels) channels; photographs have 3", hint: "dinoctl run takes raw tensors")
    }
    return try ImagePreparer(changes.applied(to: record ?? preprocessing), patch: config.patchSize)
  }

  /// The class token after the last norm: D numbers, not normalised.
  public func features(_ image: Image) throws(DinoError) -> [Float] { try output("cls", preparer().prepare(image)).floats() }

  /// The class tokens of pictures, in their order. Those that follow each other and have one size after the preprocessing run together, at most `batch` at once; it does not matter to the numbers.
  public func features(_ images: [Image], batch: Int = 4) throws(DinoError) -> [[Float]] {
    guard batch >= 1 else { throw DinoError(.usage, "a batch is at least one image, not \(batch)") }
    let extractor = try FeatureExtractor(model: self, settings: FeatureSettings()), preparer = try preparer()
    var rows: [[Float]] = [], waiting: [PreparedImage] = []
    for image in images {
      let prepared = try preparer.prepare(image)
      if let first = waiting.first, waiting.count == batch || first.shape != prepared.shape {
        rows += try extractor.rows(waiting)
        waiting = []
      }
      waiting.append(prepared)
    }
    return try rows + extractor.rows(waiting)
  }

  /// All tokens after the last norm: [special + patches, D]: the class token, registers, patches.
  public func tokens(_ image: Image) throws(DinoError) -> Tensor {
    let tokens = try output("tokens", preparer().prepare(image))
    return tokens.reshaped([tokens.shape[1], tokens.shape[2]])
  }

  /// What each head of the last block attends to, seen from the class token.
  public func attention(_ image: Image) throws(DinoError) -> AttentionMaps { try attention(preparer().prepare(image)) }

  /// The same of a prepared image.
  public func attention(_ image: PreparedImage) throws(DinoError) -> AttentionMaps {
    // Attention of values that are not finite can look like any other, so the first time the end of the network is looked at too.
    let isFirst = isKnownFinite.withLock { !$0 }
    let results = try run([Self.inputName: image.tensor], outputs: isFirst ? ["attention_cls", "cls"] : ["attention_cls"])
    for (name, tensor) in results.sorted(by: { $0.key < $1.key }) where !tensor.floats().allSatisfy(\.isFinite) { throw notFinite(name) }
    isKnownFinite.withLock { $0 = true }
    guard let values = results["attention_cls"]?.floats() else { throw DinoError(.bug, "the network gave no 'attention_cls'") }
    let g = image.geometry, special = config.specialTokens, tokens = special + image.patches
    guard values.count == config.numHeads * tokens else { throw DinoError(.bug, "attention_cls has \(values.count) values for \(config.numHeads) heads of \(tokens) tokens") }
    let heads = (0..<config.numHeads).map { h in
      PatchMap(rows: g.rows, columns: g.columns, values: Array(values[h * tokens + special..<(h + 1) * tokens]))
    }
    return AttentionMaps(heads: heads, geometry: g)
  }

  /// Photographs are finite numbers, so values that are not come from the weights (or from a deviation near zero).
  func notFinite(_ output: String) -> DinoError {
    DinoError(.data, "\(checkpoint.path): the network's '\(output)' has values that are not finite, so weights are damaged",
              hint: "dinoctl inspect names the tensors; --std near zero does the same")
  }

  private func output(_ name: String, _ image: PreparedImage) throws(DinoError) -> Tensor {
    guard let tensor = try run([Self.inputName: image.tensor], outputs: [name])[name] else { throw DinoError(.bug, "the network gave no '\(name)'") }
    guard tensor.floats().allSatisfy(\.isFinite) else { throw notFinite(name) }
    return tensor
  }
}
