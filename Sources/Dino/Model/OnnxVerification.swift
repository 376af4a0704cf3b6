// Runs a written ONNX file by the importer and compares it with the model, on inputs that are the same each time. Two comparisons: with the network of the
// weights that the file holds, which finds defects of the file, and with the model itself, which tells what narrow weights and quantization cost.

internal import DinoGraph
internal import DinoModels
internal import DinoRuntime
public import DinoTensor

/// How far a written file is from the model that it was made of.
public struct OnnxVerification: Sendable {
  /// What is accepted.
  public enum Bound: Sendable, Equatable {
    /// The largest absolute difference from the model.
    case absolute(Double)
    /// What the form of the file allows: 1e-4 from the network of the weights that it holds, and where activations are quantized, which is no matter of rounding
    /// in float arithmetic, a mean cosine of 0.99 with the model over the rows of each output on each input. The export leaves activations in float until the mean over
    /// inputs is 0.998; the rest is for inputs that differ from each other.
    case byForm
  }

  /// One output on one input.
  public struct Comparison: Sendable, Equatable {
    public var output: String
    public var inputShape: Shape
    /// The largest difference from the network with the file's weights.
    public var differenceAsStored: Double
    /// The largest difference from the model.
    public var difference: Double
    /// The least cosine of a row (the last axis) with the model's.
    public var cosine: Double
    /// The mean of all rows.
    public var meanCosine: Double
  }

  public static let defaultTolerance = 1e-4
  static let acceptedCosine = 0.99

  public var comparisons: [Comparison]
  public var largestDifferenceAsStored: Double { comparisons.map(\.differenceAsStored).max() ?? 0 }
  public var largestDifference: Double { comparisons.map(\.difference).max() ?? 0 }
  public var leastCosine: Double { comparisons.map(\.cosine).min() ?? 1 }
  /// Whether the form of the file rounds activations, so that only `difference` and `cosine` say something.
  public var roundsActivations: Bool
}

extension OnnxVerification {
  /// One written file and what it is compared with.
  struct Check {
    /// The graph with the constants that the file holds.
    let stored: Graph
    let original: Graph
    let settings: OnnxExportSettings
    let config: ViTConfig
    let bound: Bound
    /// 0: all cores.
    var threads = 0

    typealias Runner = (_ inputs: [String: Tensor], _ outputs: [String]) throws -> [String: Tensor]

    /// - Parameter name: what messages call the file.
    func run(_ path: String, named name: String) throws -> OnnxVerification {
      var options = DinoModel.Options()
      options.threads = threads
      let network = try OnnxNetwork(contentsOf: path, options: options)
      return try run(named: name) { try network.run($0, outputs: $1) }
    }

    /// The same with any way to run the file.
    func run(named name: String, _ runFile: Runner) throws -> OnnxVerification {
      let options = SessionOptions(threads: threads)
      let asStored = try Session(stored, options: options), model = try Session(original, options: options)
      var result = OnnxVerification(comparisons: [], roundsActivations: roundsActivations)
      for input in inputs {
        let inputs = [ViTGraphBuilder.inputName: input]
        let found = try runFile(inputs, settings.outputs)
        let first = try asStored.run(inputs, outputs: settings.outputs), second = try model.run(inputs, outputs: settings.outputs)
        for output in settings.outputs {
          guard let a = found[output], let b = first[output], let c = second[output] else { throw DinoError(.data, "\(name): the written file gives no '\(output)'") }
          guard a.shape == c.shape else {
            throw DinoError(.data, "\(name): the written file's '\(output)' has the shape \(a.shape) on an input \(input.shape), the model's has \(c.shape)", hint: Self.hint)
          }
          let cosines = Self.cosines(a, c)
          result.comparisons.append(Comparison(output: output, inputShape: input.shape, differenceAsStored: Self.difference(a, b), difference: Self.difference(a, c),
                                               cosine: cosines.least, meanCosine: cosines.mean))
        }
      }
      try judge(result, name)
      return result
    }

    private static let hint = "nothing was written; this is a defect of the exporter or the importer, please report it with the command and the model"

    private var roundsActivations: Bool {
      switch settings.quantization {
      case .dynamic?, .calibrated?: true
      case .weights?, nil: false
      }
    }

    /// Two sizes, the second with a batch, or the fixed one; photographs where the file was made with some: ranges mean nothing for other inputs.
    private var inputs: [Tensor] {
      let photographs: [Tensor]
      switch settings.quantization {
      case .calibrated(let images)?, .dynamic(let images)?: photographs = images
      case .weights?, nil: photographs = []
      }
      func synthetic(_ batch: Int, _ height: Int, _ width: Int) -> Tensor {
        Tensor(SelfTest.values(seed: 0, count: batch * config.inChannels * height * width), shape: [batch, config.inChannels, height, width])
      }
      if let f = settings.fixed {
        if let fitting = photographs.first(where: { $0.shape == [f.batch, config.inChannels, f.height, f.width] }) { return [fitting] }
        return [synthetic(f.batch, f.height, f.width)]
      }
      if !photographs.isEmpty { return Array(photographs.prefix(2)) }
      return SelfTest.sizes(for: config).enumerated().map { synthetic($0.offset + 1, $0.element.height, $0.element.width) }
    }

    private func judge(_ v: OnnxVerification, _ name: String) throws(DinoError) {
      switch bound {
      case .absolute(let limit):
        guard let worst = v.comparisons.first(where: { !($0.difference <= limit) }) else { return }
        throw DinoError(.data, "\(name): '\(worst.output)' of the written file differs from the model's by \(worst.difference) on an input \(worst.inputShape), and \(limit) is allowed",
                        hint: roundsActivations || settings.quantization != nil || settings.weightType != .f32
                          ? "nothing was written; narrow weights and quantization cost that much, leave --atol out to check the file itself"
                          : limit < OnnxVerification.defaultTolerance ? "nothing was written; sums in another order differ by as much, leave --atol out for \(OnnxVerification.defaultTolerance)" : Self.hint)
      case .byForm where roundsActivations:
        guard let worst = v.comparisons.first(where: { !($0.meanCosine >= OnnxVerification.acceptedCosine) }) else { return }
        throw DinoError(.data, "\(name): '\(worst.output)' of the written file has a mean cosine of \(worst.meanCosine) with the model's on an input \(worst.inputShape), and \(OnnxVerification.acceptedCosine) is the least allowed",
                        hint: "nothing was written; calibrate with more photographs like those the model is for, or try --quantized without images")
      case .byForm:
        let limit = OnnxVerification.defaultTolerance
        guard let worst = v.comparisons.first(where: { !($0.differenceAsStored <= limit) }) else { return }
        throw DinoError(.data, "\(name): '\(worst.output)' of the written file differs from the model's by \(worst.differenceAsStored) on an input \(worst.inputShape), and \(limit) is allowed", hint: Self.hint)
      }
    }

    private static func difference(_ a: Tensor, _ b: Tensor) -> Double {
      zip(a.floats(), b.floats()).reduce(0) { worst, pair in
        let d = Double(abs(pair.0 - pair.1))
        return d <= worst ? worst : d.isNaN ? .infinity : d
      }
    }

    /// Of each row with its counterpart; NaN where a row is not finite. Rows of zeros count as equal.
    private static func cosines(_ a: Tensor, _ b: Tensor) -> (least: Double, mean: Double) {
      let x = a.floats(), y = b.floats(), columns = max(a.shape.dims.last ?? 1, 1)
      var least = 1.0, sum = 0.0
      for start in stride(from: 0, to: x.count, by: columns) {
        var xy = 0.0, xx = 0.0, yy = 0.0
        for i in start..<start + columns {
          xy += Double(x[i]) * Double(y[i])
          xx += Double(x[i]) * Double(x[i])
          yy += Double(y[i]) * Double(y[i])
        }
        let cosine = xx == 0 && yy == 0 ? 1 : xy / (xx * yy).squareRoot()
        if !(cosine >= least) { least = cosine }
        sum += cosine
        if least.isNaN { return (least, least) }
      }
      return (least, x.isEmpty ? 1 : sum / Double(x.count / columns))
    }
  }
}
