// dinoctl attention: what each head looks at, as pictures and numbers: visualize_attention.py of facebookresearch/dino.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoTensor
internal import NumPyArrays
internal import Safetensors

struct Attention: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Heat map of each attention head, attention.npy, and masks with --mass.",
    discussion: """
      The class token's attention in the last block, as visualize_attention.py shows it: photographs resized to 480x480 bilinear unless --image-size, \
      --interpolation or --preprocessing say otherwise. For one image, files go into the output folder itself; for several, into a folder each, named after the photograph. The output folder must not be within a folder of photographs that is read.
      attn-headK.png: heat map of head K, each patch a square; attn-mean.png: of the mean; attention.npy: [heads, rows, columns], softmax values of the patches. \
      With --mass M also mask-headK.png: the patches that hold the share M of the head's mass.
      """)

  @Option(help: "Folder for the results; made where it is not there.", completion: .directory)
  var outputDir: String

  @Option(help: "Also masks of the patches that hold this share of a head's mass, from 0 to 1; 0.6 in the paper.")
  var mass: Double?

  @OptionGroup var model: ModelOptions<PictureHelp>
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var input: InputOptions
  @OptionGroup var running: RunningOptions<PictureHelp>

  func validate() throws {
    if let mass, !(0...1).contains(mass) { throw ValidationError("--mass must be from 0 to 1, not \(mass)") }
  }

  func run() throws {
    let inputs = try input.expand()
    let dino = try model.load(running.settings)
    var names = ResultNames { [$0] }
    let folders = inputs.map { names.name(for: $0) }.map { inputs.count == 1 ? "" : "\($0)/" }
    let originals = Originals(inputs.compactMap(\.path) + Originals.files(of: model.path)), wanted = files(heads: dino.heads)
    for folder in folders { try originals.spare(wanted.map { "\(outputDir)/\(folder)\($0)" }) }
    try Originals.keepApart(outputDir, from: input.inputs)
    let preparer = try Preparing.attentionPreparer(dino, preprocessing.changes(), exifOrientation: input.exifOrientation)
    let results = try ResultFolder(outputDir)
    var skipped = SkippedInputs(), reports: [JSONValue] = []
    var progress = ProgressBar(total: inputs.count, unit: "images")
    let prefetch = OrderedPrefetch(count: inputs.count, ahead: 4, workers: inputs.count == 1 ? 0 : 1) { preparer.prepareOrExplain(inputs[$0]) }
    for (source, folder) in zip(inputs, folders) {
      guard let next = prefetch.next() else { break }
      switch next {
      case .failure(let reason): try skipped.add(source.name, reason.message, strict: input.strict)
      case .success(let image):
        let maps = try dino.attention(image)
        try Interruption.shielded { try write(maps, in: folder, of: results) }
        reports.append(.object([
          .init("image", .string(source.name)), .init("folder", .string(folder.isEmpty ? outputDir : "\(outputDir)/\(folder.dropLast())")), .init("heads", .integer(maps.heads.count)),
          .init("rows", .integer(image.geometry.rows)), .init("columns", .integer(image.geometry.columns)),
        ]))
      }
      progress.advance()
    }
    progress.finish()
    if skipped.count == inputs.count { throw Failure(.data, "none of the \(inputs.count) inputs could be read") }
    if running.json {
      try Terminal.output(JSONValue.object([.init("images", .array(reports)), .init("random_weights", .bool(dino.hasRandomWeights)), .init("skipped", skipped.json)]).text + "\n")
    }
    try skipped.conclude(of: inputs.count)
  }

  /// What an image leaves in its folder.
  private func files(heads: Int) -> [String] {
    let ofHeads = (0..<heads).flatMap { k in ["attn-head\(k).png"] + (mass == nil ? [] : ["mask-head\(k).png"]) }
    return ofHeads + ["attn-mean.png", "attention.npy"]
  }

  private func write(_ maps: AttentionMaps, in folder: String, of results: ResultFolder) throws {
    let patch = maps.geometry.patch
    for (k, map) in maps.heads.enumerated() {
      try Drawing.writePNG(Drawing.heatMap(map, patch: patch), to: results.place(of: "\(folder)attn-head\(k).png"))
      if let mass { try Drawing.writePNG(Drawing.image(map.mask(holding: mass).pixels(patch: patch)), to: results.place(of: "\(folder)mask-head\(k).png")) }
    }
    try Drawing.writePNG(Drawing.heatMap(maps.mean, patch: patch), to: results.place(of: "\(folder)attn-mean.png"))
    let values = maps.heads.flatMap(\.values)
    let numbers = try results.place(of: "\(folder)attention.npy")
    do { try NumPyArray.write(Tensor(values, shape: [maps.heads.count, maps.geometry.rows, maps.geometry.columns]), to: numbers) } catch { throw Failure(DinoError(error)) }
  }
}
