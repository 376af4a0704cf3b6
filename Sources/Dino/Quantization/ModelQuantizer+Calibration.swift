// What photographs add to quantization: channels made even, weights rounded for the results of their layers, means put right, the cost of each layer, and which layers
// must stay in floats. Each step is measured by QualityMeter against the float network.

internal import DinoGraph
internal import DinoKernels
internal import DinoModels
internal import DinoRuntime
internal import DinoTensor

/// Steps of a calibration; all by default. Leaving one out shows what it is good for.
public struct CalibrationSteps: OptionSet, Sendable {
  public let rawValue: Int
  public init(rawValue: Int) { self.rawValue = rawValue }
  /// Factors between layers that make channels even.
  public static let scaling = CalibrationSteps(rawValue: 1)
  /// Weights rounded for the error of the results.
  public static let rounding = CalibrationSteps(rawValue: 2)
  /// Biases that put back the means that rounding moved.
  public static let biases = CalibrationSteps(rawValue: 4)
  public static let all: CalibrationSteps = [.scaling, .rounding, .biases]
}

extension ModelQuantizer {
  /// Photographs that statistics are taken of; more change little.
  static let statisticsImages = 64
  public static func imagesForStatistics(of count: Int) -> Int { min(count, statisticsImages) }
  /// Photographs that each layer's own cost is measured on.
  static let sensitivityImages = 16

  /// Quantizes with what the float network does on photographs.
  /// - Parameter progress: called with the number of photographs dealt with.
  public mutating func calibrate(_ images: [PreparedImage], steps: CalibrationSteps = .all, progress: (Int) -> Void = { _ in }) throws(DinoError) {
    guard !images.isEmpty else { throw DinoError(.data, "there is no photograph to calibrate with") }
    let original = floats, some = (0..<min(images.count, Self.statisticsImages)).map { images[$0 * images.count / min(images.count, Self.statisticsImages)] }
    do {
      let statistics = try LayerStatistics.gather(config: config, weights: original, images: some, threads: threads, progress: progress)
      calibrationDigest = SHA256.hexDigest(Array(statistics.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.summary)" }.joined(separator: "\n").utf8))
      var factors: [String: [Float]] = [:]
      if kind == .int8 {
        if steps.contains(.scaling) { factors = scaleChannels(statistics) } else { foldOutliers() }
      }
      for name in config.quantizableWeights where !kept.contains(name) {
        guard steps.contains(.rounding), let s = statistics[name], let lattice = LatticeRounding(moments: s.moments(dividedBy: factors[name]), width: s.width) else {
          try round(name)
          continue
        }
        let team = ThreadTeam.shared(threads)
        (values[name], scales[name]) = kind == .int8 ? try lattice.int8(floats[name]!, team: team) : try lattice.int4(floats[name]!, team: team)
      }
      if steps.contains(.biases) {
        // Not every network gains from it: the class tokens decide.
        let reference = try Session(ViTGraphBuilder.build(config: config, weights: original, outputs: ["cls"]), options: .init(threads: threads))
        let wanted = try some.map { try Self.cls(reference, $0) }, before = floats, cost = try classCost(some, wanted)
        try correctBiases(original, some, progress)
        if try classCost(some, wanted) >= cost { floats = before }
      }
    } catch { throw DinoError(error, path: nil) }
  }

  private static func cls(_ session: Session, _ image: PreparedImage) throws -> [Float] {
    try session.run([DinoModel.inputName: image.tensor], outputs: ["cls"])["cls"]?.floats() ?? []
  }

  /// 1 less the mean cosine of class tokens with those of the float network.
  private func classCost(_ images: [PreparedImage], _ wanted: [[Float]], quantizing names: Set<String>? = nil) throws -> Double {
    let session = try session(quantizing: names)
    var sum = 0.0
    for (image, row) in zip(images, wanted) { sum += try Double(cosine(row[...], Self.cls(session, image)[...])) }
    return 1 - sum / Double(max(images.count, 1))
  }

  /// Divides the channels of norms, and of the values that attention mixes, by factors that make them even. Returns those of each layer's input.
  private mutating func scaleChannels(_ statistics: [String: LayerStatistics]) -> [String: [Float]] {
    var result: [String: [Float]] = [:]
    for block in 0..<config.depth {
      let prefix = "blocks.\(block)", qkv = "\(prefix).attn.qkv", proj = "\(prefix).attn.proj.weight"
      for (norm, weight) in [("norm1", "\(qkv).weight"), ("norm2", "\(prefix).\(config.feedForwardLayers.first).weight")] where !kept.contains(weight) {
        guard let s = statistics[weight], let f = ChannelScaling(rows: s.sample, weight: floats[weight]!.floats(), width: s.width).factors() else { continue }
        divide(norm: "\(prefix).\(norm)", by: f, into: weight)
        result[weight] = f
      }
      guard !kept.contains(proj), let s = statistics[proj], let f = ChannelScaling(rows: s.sample, weight: floats[proj]!.floats(), width: s.width).factors() else { continue }
      // The rows of values come after those of queries and keys.
      let rows = [Float](repeating: 1, count: 2 * config.embedDim) + f
      for name in ["\(qkv).weight", "\(qkv).bias"] {
        guard let tensor = floats[name] else { continue }
        var values = tensor.floats()
        let columns = values.count / rows.count
        for r in rows.indices { for c in 0..<columns { values[r * columns + c] /= rows[r] } }
        floats[name] = Tensor(values, shape: tensor.shape)
      }
      floats[proj] = multipliedColumns(floats[proj]!, by: f)
      result[proj] = f
    }
    return result
  }

  /// Adds to the biases of each block's two branches what the quantized network's means have lost there.
  private mutating func correctBiases(_ original: [String: Tensor], _ images: [PreparedImage], _ progress: (Int) -> Void) throws {
    let exact = try BranchMeans(config: config, session: Session(ViTGraphBuilder.build(config: config, weights: original, outputs: ["tokens"]), options: .init(threads: threads)))
    let rounded = try BranchMeans(config: config, session: session())
    let wanted = try exact.means(images, progress), found = try rounded.means(images) { _ in }
    for (name, mean) in wanted {
      guard let bias = floats["\(name).bias"], let now = found[name] else { continue }
      // A layer scale stands between the bias and the sum.
      let gamma = floats[name.hasSuffix("proj") ? name.replacingSuffix("attn.proj", with: "ls1.gamma") : name.replacingSuffix(config.feedForwardLayers.second, with: "ls2.gamma")]?.floats()
      let corrected = bias.floats().enumerated().map { i, b -> Float in
        let change = (mean[i] - now[i]) / Double(gamma?[i] ?? 1)
        return change.isFinite ? b + Float(change) : b
      }
      floats["\(name).bias"] = Tensor(corrected, shape: bias.shape)
    }
  }

  /// Measures what quantizing each weight alone costs: 1 less the mean cosine of class tokens.
  public mutating func measureSensitivity(_ images: [PreparedImage], reference: DinoModel, progress: (Int) -> Void = { _ in }) throws(DinoError) {
    guard kind == .int8 else { return }
    let some = (0..<min(images.count, Self.sensitivityImages)).map { images[$0 * images.count / min(images.count, Self.sensitivityImages)] }
    var result: [String: Double] = [:]
    do {
      let wanted = try some.map { try reference.run([DinoModel.inputName: $0.tensor], outputs: ["cls"])["cls"]?.floats() ?? [] }
      for name in values.keys.sorted() {
        result[name] = try classCost(some, wanted, quantizing: [name])
        progress(1)
      }
    } catch { throw DinoError(error, path: nil) }
    sensitivity = result
  }

  /// Other photographs lose somewhat more than those of the calibration: of what the bounds allow, so much is used on these.
  private static let shareOfBounds = 0.8

  /// Leaves the costliest layers in floats, one after the other, until the class tokens keep the bounds of a calibrated network with something to spare or `most` are left.
  /// `measureSensitivity` comes before.
  /// - Returns: what was measured last, and the layers in the order in which they were left.
  public mutating func keepWorst(_ images: [PreparedImage], reference: DinoModel, most: Int = 12, progress: (Int) -> Void = { _ in }) throws(DinoError) -> (report: QualityReport, kept: [String]) {
    var report = try measure(images, reference: reference, progress: progress), layers: [String] = []
    let order = (sensitivity ?? [:]).sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map(\.key)
    while layers.count < min(most, order.count), report.gates(calibrated: true).prefix(2).contains(where: { 1 - $0.found > Self.shareOfBounds * (1 - $0.least) }) {
      layers.append(order[layers.count])
      try keep(order[layers.count - 1])
      report = try measure(images, reference: reference, progress: progress)
    }
    return (report, layers)
  }

  /// Holds the quantized network against the float one.
  public func measure(_ images: [PreparedImage], reference: DinoModel, classes: [String?] = [], progress: (Int) -> Void = { _ in }) throws(DinoError) -> QualityReport {
    do {
      let session = try session()
      let network = QualityMeter.Network(heads: config.numHeads, run: { try session.run($0, outputs: $1) }, memory: { shape in
        let plan = try session.plan(shapes: [DinoModel.inputName: shape], outputs: ["tokens"])
        return plan.arenaBytes + plan.weightBytes
      })
      var meter = QualityMeter(reference.measured, network, special: config.specialTokens, threads: threads)
      for image in images {
        try meter.add([image])
        progress(1)
      }
      return try meter.report(classes: classes)
    } catch { throw DinoError(error, path: nil) }
  }
}

/// Means, over rows, of what each block's branches add to the residual stream.
private struct BranchMeans {
  let config: ViTConfig
  let session: Session
  private let outputs: [(name: String, before: String, after: String)]

  /// - Parameter session: its graph, which is copied with the residual stream as outputs.
  init(config: ViTConfig, session: Session) throws {
    self.config = config
    var graph = session.graph, outputs: [(name: String, before: String, after: String)] = []
    graph.outputs = []
    for node in graph.nodes {
      let parts = node.name.split(separator: ".")
      guard node.name == "embedding" || node.name.hasSuffix(".residual") else { continue }
      graph.output(node.name, node.output)
      // "blocks.3.attn.residual"
      guard parts.count == 4 else { continue }
      outputs.append((parts[2] == "attn" ? "blocks.\(parts[1]).attn.proj" : "blocks.\(parts[1]).\(config.feedForwardLayers.second)", outputs.last?.after ?? "embedding", node.name))
    }
    self.outputs = outputs
    self.session = try Session(graph, options: session.options)
  }

  func means(_ images: [PreparedImage], _ progress: (Int) -> Void) throws -> [String: [Double]] {
    let names = Set(outputs.flatMap { [$0.before, $0.after] }).sorted()
    var sums: [String: [Double]] = [:], rows = 0
    for image in images {
      let found = try session.run([DinoModel.inputName: image.tensor], outputs: names)
      for name in names {
        let values = found[name]!.floats(), width = config.embedDim
        var sum = sums[name] ?? [Double](repeating: 0, count: width)
        for start in stride(from: 0, to: values.count, by: width) { for c in 0..<width { sum[c] += Double(values[start + c]) } }
        sums[name] = sum
      }
      rows += found[names[0]]!.count / config.embedDim
      progress(1)
    }
    return Dictionary(uniqueKeysWithValues: outputs.map { o in (o.name, zip(sums[o.after]!, sums[o.before]!).map { ($0 - $1) / Double(max(rows, 1)) }) })
  }
}

extension String {
  fileprivate func replacingSuffix(_ suffix: String, with new: String) -> String { hasSuffix(suffix) ? dropLast(suffix.count) + new : self }
}
