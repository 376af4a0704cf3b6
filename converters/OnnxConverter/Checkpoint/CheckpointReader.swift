// An ONNX file back to a checkpoint: the graph is made for an image size that the file takes, recognised, read block by block; positions are looked at at several
// sizes where the file takes several.

internal import DinoGraph
public import DinoModels
internal import DinoTensor
internal import ONNXFormat

public enum CheckpointReader {
  /// Rules that put together what a checkpoint keeps apart are left out.
  private static let disabled: Set<String> = ["registers"]

  /// - Throws: `RecoveryError` where the network is none that a checkpoint can hold; `OnnxImportError` where it cannot even be imported.
  public static func read(_ importer: OnnxImporter) throws -> RecoveredCheckpoint {
    let (reader, input, dims, first, tensors) = try structure(importer)
    var checkpoint = try assemble(reader, importer)
    checkpoint.losses += QuantizationLosses(importer.file.model).sentences
    if let angles = reader.angles {
      try rotary(&checkpoint, angles, reader, importer, input, dims, first: first, tensors: tensors)
    } else {
      try positions(&checkpoint, reader, importer, input, dims, first: first, tensors: tensors)
      takeApart(&checkpoint, importer, tensors)
    }
    return checkpoint
  }

  /// The network without a look at its positions' rule: what can be told of a file whose weights are absent.
  public static func outline(_ importer: OnnxImporter) throws -> (config: ViTConfig, outputs: [String: String]) {
    let reader = try structure(importer).reader
    let checkpoint = try assemble(reader, importer)
    return (checkpoint.config, checkpoint.outputs)
  }

  private static func structure(_ importer: OnnxImporter) throws
    -> (reader: NetworkReader, input: OnnxInput, dims: [Dimension], first: (height: Int, width: Int), tensors: [(name: String, tensor: Tensor)]) {
    guard importer.inputs.count == 1, let input = importer.inputs.first, let dims = input.dims, dims.count == 4 else {
      throw RecoveryError("its inputs are \(importer.inputs.map { "'\(printable($0.name))' \($0.dimsText)" }.joined(separator: ", ")), and a vision transformer has one, an image of four axes")
    }
    guard input.dtype == .f32 else { throw RecoveryError("its input '\(printable(input.name))' has elements of type \(input.dtype.rawValue), and images are read as F32") }
    let tensors = floatTensors(importer)
    let sizes = try candidateSizes(importer, dims)
    var reader: NetworkReader?, first: (height: Int, width: Int)?, failure: (any Error)?
    for size in sizes {
      do {
        reader = try read(importer, input, dims, size)
        first = size
        break
      } catch {
        failure = failure ?? error
      }
    }
    guard let reader, let first else { throw failure ?? RecoveryError("no image size was found that the file takes") }
    return (reader, input, dims, first, tensors)
  }

  /// Image sizes that the file may take, likely ones first, for a look at its graph: few, as each costs a walk through it.
  public static func probeSizes(_ importer: OnnxImporter) -> [(height: Int, width: Int)] {
    guard let dims = importer.inputs.first?.dims, dims.count == 4, let sizes = try? candidateSizes(importer, dims) else { return [(224, 224)] }
    return Array(sizes.prefix(4))
  }

  private static func read(_ importer: OnnxImporter, _ input: OnnxInput, _ dims: [Dimension], _ size: (height: Int, width: Int), embeddingOnly: Bool = false) throws -> NetworkReader {
    let wanted = [1, 3, size.height, size.width]
    let shape = Shape(zip(dims, wanted).map { dimension, n in if case .fixed(let m) = dimension { m } else { n } })
    let graph = Recognition.run(try importer.graph(shapes: [input.name: shape]), disabled: disabled, rounding: .leftOut).graph.graph
    var reader = NetworkReader(graph)
    if embeddingOnly { try reader.readEmbedding() } else { try reader.read() }
    return reader
  }

  /// Floating-point tensors of the file: initializers and constants of nodes.
  private static func floatTensors(_ importer: OnnxImporter) -> [(name: String, tensor: Tensor)] {
    importer.file.model.tensors.compactMap { tensor in
      guard tensor.dims.count >= 2, let value = try? importer.tensor(tensor), [.f32, .f16, .bf16].contains(value.dtype) else { return nil }
      return (tensor.name, value)
    }
  }

  /// Image sizes to try: the declared one, or those of grids that the file's tensors could be, then common ones.
  private static func candidateSizes(_ importer: OnnxImporter, _ dims: [Dimension]) throws(RecoveryError) -> [(height: Int, width: Int)] {
    func fixed(_ axis: Int) -> Int? { if case .fixed(let n) = dims[axis] { n } else { nil } }
    if let height = fixed(2), let width = fixed(3) { return [(height, width)] }
    let model = importer.file.model
    let all = Dictionary(model.tensors.map { ($0.name, $0.dims) }, uniquingKeysWith: { first, _ in first })
    guard let shape = patchWeightDims(model, all), let patch = Int(exactly: shape[2]), patch > 0, patch <= 1024 else {
      throw RecoveryError("no convolution with a constant weight cuts the image into patches")
    }
    var sides: [Int] = []
    for tensor in model.tensors where tensor.dims.count == 3 && tensor.dims[0] == 1 && tensor.dims[2] == shape[0] {
      let side = Int(Double(max(tensor.dims[1], 0)).squareRoot())
      if side > 1, side <= 4096, !sides.contains(side) { sides.append(side) }
    }
    return (sides + [14, 16, 37, 28, 4]).map { (fixed(2) ?? $0 * patch, fixed(3) ?? $0 * patch) }
  }

  /// The four extents of the first convolution's weight, float or quantized, in whatever form it is stored: what widens or moves it is looked through.
  private static func patchWeightDims(_ model: OnnxModel, _ all: [String: [Int64]]) -> [Int64]? {
    let position = ["Conv": 1, "ConvInteger": 1, "QLinearConv": 3], forms: Set = ["DequantizeLinear", "Cast", "Identity", "Transpose"]
    guard let node = model.graph.nodes.first(where: { (position[$0.operatorType] ?? Int.max) < $0.inputs.count }), let i = position[node.operatorType] else { return nil }
    var name = node.inputs[i], order = [0, 1, 2, 3]
    // A file can go round in a circle.
    for _ in 0..<8 {
      guard let form = model.graph.nodes.first(where: { $0.outputs.first == name && forms.contains($0.operatorType) }), let source = form.inputs.first else { break }
      name = source
      guard form.operatorType == "Transpose" else { continue }
      var axes: [Int64] = [3, 2, 1, 0]
      if case .ints(let given)? = form.attribute("perm") { axes = given }
      guard axes.sorted() == [0, 1, 2, 3] else { return nil }
      order = order.map { Int(axes[$0]) }
    }
    guard let dims = all[name], dims.count == 4 else { return nil }
    return order.map { dims[$0] }
  }

  private static func assemble(_ r: NetworkReader, _ importer: OnnxImporter) throws(RecoveryError) -> RecoveredCheckpoint {
    guard let shared = r.shared, let epsilon = r.epsilon else { throw RecoveryError("no block was recognised") }
    // What our exporter wrote says how deep the network was: of some outputs (keys, those of an inner block) not all of it is in the file.
    if let written = written(importer), written.depth > r.depth {
      throw RecoveryError("of the \(written.depth) blocks of the network that it was written from it holds \(r.depth)")
    }
    let ratio = Double(shared.hidden) / Double(r.width)
    var config = ViTConfig(
      patchSize: r.patch, inChannels: r.channels, embedDim: r.width, depth: r.depth, numHeads: shared.heads, mlpRatio: ratio, qkvBias: shared.qkvBias,
      feedForward: shared.feedForward, registerTokens: r.registers, layerScale: shared.layerScale, normEpsilon: epsilon, activation: shared.activation, nativeRows: 1, nativeColumns: 1,
      positionResize: .official(registerTokens: r.registers), head: r.head)
    if r.angles != nil { config = config.rotary(base: written(importer)?.rotaryBase ?? ViTConfig.officialRotaryBase) }
    return RecoveredCheckpoint(config: config, tensors: r.tensors, losses: r.losses, notes: r.notes, outputs: r.outputs)
  }

  /// The configuration that our exporter wrote.
  private static func written(_ importer: OnnxImporter) -> ViTConfig? {
    importer.file.model.metadata.first { $0.key == ModelRecord.Key.config }.flatMap { try? ViTConfig(json: $0.value) }
  }

  // MARK: Positions

  /// Rotary positions, looked at in two sizes where the file takes several.
  private static func rotary(_ c: inout RecoveredCheckpoint, _ angles: RotaryAnglesFound, _ r: NetworkReader, _ importer: OnnxImporter, _ input: OnnxInput, _ dims: [Dimension],
                             first: (height: Int, width: Int), tensors: [(name: String, tensor: Tensor)]) throws {
    let special = c.config.specialTokens
    var samples = [(rows: first.height / r.patch, columns: first.width / r.patch, angles: angles)]
    func isFixed(_ axis: Int) -> Bool { if case .fixed = dims[axis] { true } else { false } }
    let other = (height: first.height + r.patch, width: first.width * 2)
    if !isFixed(2), !isFixed(3), let found = try? read(importer, input, dims, other).angles { samples.append((other.height / r.patch, other.width / r.patch, found)) }
    let reader = RotaryReader(special: special, samples: samples), noted = importer.file.model.metadata.first { $0.key == RotaryReader.periodsKey }?.value
    guard let found = reader.find(in: tensors, noted: noted, config: c.config, base: written(importer)?.rotaryBase) else {
      throw RecoveryError("its rotary positions follow no known rule at \(samples.map { "\($0.rows * r.patch)x\($0.columns * r.patch)" }.joined(separator: ", "))")
    }
    c.config = c.config.rotary(base: found.base)
    c.tensors["rope_embed.periods"] = found.periods
    if let note = found.note { c.notes.append(note) }
    if samples.count == 1 { c.notes.append("the file takes images of \(first.height)x\(first.width) only, and the original's rule is taken for other sizes") }
  }

  private static func positions(_ c: inout RecoveredCheckpoint, _ r: NetworkReader, _ importer: OnnxImporter, _ input: OnnxInput, _ dims: [Dimension],
                                first: (height: Int, width: Int), tensors: [(name: String, tensor: Tensor)]) throws {
    guard let found = r.positions, let here = withSpecial(found, r) else { throw RecoveryError("the positions that are added to the tokens are not constant") }
    let rows = first.height / r.patch, columns = first.width / r.patch
    var samples = [PositionReader.Sample(height: first.height, width: first.width, positions: here, special: r.special)]
    for size in [(first.height + 2 * r.patch, first.width + 2 * r.patch), (first.height - r.patch, first.width + r.patch), (first.height, first.width * 2)] {
      func isFixed(_ axis: Int) -> Bool { if case .fixed = dims[axis] { true } else { false } }
      guard !isFixed(2), !isFixed(3), size.0 >= r.patch, let other = try? read(importer, input, dims, size, embeddingOnly: true), let positions = other.positions, let full = withSpecial(positions, other) else { continue }
      samples.append(.init(height: size.0, width: size.1, positions: full, special: r.special))
    }
    if samples.count == 1 {
      // One size only: what is added is the grid itself, at that size.
      c.tensors["pos_embed"] = here
      (c.config.nativeRows, c.config.nativeColumns) = (rows, columns)
      if let original = PositionReader(special: r.special, width: r.width, patch: r.patch, samples: samples).find(in: tensors), original.rows * original.columns != rows * columns {
        c.config.nativeRows = original.rows
        c.config.nativeColumns = original.columns
        c.config.positionResize = original.resize
        c.tensors["pos_embed"] = original.tensor
      } else if rows != columns {
        c.losses.append("the position embedding is baked for images of \(first.height)x\(first.width), and positions are learned on a square grid")
      } else {
        c.notes.append("the file takes images of \(first.height)x\(first.width) only, so that is taken for the size that its positions were learned at, and the original's rule for other sizes")
      }
      return
    }
    let reader = PositionReader(special: r.special, width: r.width, patch: r.patch, samples: samples)
    guard let result = reader.find(in: tensors) else {
      throw RecoveryError("its positions follow none of the known rules at \(samples.map { "\($0.height)x\($0.width)" }.joined(separator: ", "))")
    }
    c.tensors["pos_embed"] = result.tensor
    (c.config.nativeRows, c.config.nativeColumns) = (result.rows, result.columns)
    c.config.positionResize = result.resize
    let rule = PositionReader.rules.first { $0.resize == result.resize }?.name ?? ""
    c.notes.append("positions are resampled by \(rule) rule (largest difference \(result.difference) at \(samples.count) sizes)")
  }

  /// With registers the network reads the class token and its position as one sum. A file that our exporter wrote has both, under official names.
  private static func takeApart(_ c: inout RecoveredCheckpoint, _ importer: OnnxImporter, _ tensors: [(name: String, tensor: Tensor)]) {
    func values(_ name: String) -> [Float]? { tensors.first { $0.name == name }?.tensor.floats() }
    let width = c.config.embedDim
    guard c.config.registerTokens > 0, importer.file.model.metadata.contains(where: { $0.key == ModelRecord.Key.config }), let sum = c.tensors["cls_token"], let positions = c.tensors["pos_embed"],
      let cls = values("cls_token"), let position = values("pos_embed.special") ?? values("pos_embed"), cls.count == width, position.count >= width,
      zip(cls, position).map(+) == sum.floats()
    else { return }
    c.tensors["cls_token"] = Tensor(cls, shape: sum.shape)
    c.tensors["pos_embed"] = Tensor(Array(position[..<width]) + positions.floats()[width...], shape: positions.shape)
  }

  /// Positions of all tokens: where the file adds them to the patches alone, the class token's are zeros.
  private static func withSpecial(_ positions: Tensor, _ r: NetworkReader) -> Tensor? {
    guard positions.shape.rank == 3, positions.shape[0] == 1, positions.shape[2] == r.width else { return nil }
    guard r.positionsWithoutSpecial else { return positions }
    return Tensor([Float](repeating: 0, count: r.special * r.width) + positions.floats(), shape: [1, r.special + positions.shape[1], r.width])
  }
}
