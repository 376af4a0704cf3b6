// Runs two networks on the same images and adds up what a QualityReport says. Tokens and attention are asked for in runs of their own: a network of low precision
// may compute the last block otherwise where its attention is wanted.

internal import DinoKernels
internal import DinoModels
internal import DinoTasks
internal import DinoTensor

/// Compares two networks, image by image.
public struct QualityMeter {
  /// A network under comparison.
  public struct Network {
    var heads: Int
    var run: ([String: Tensor], [String]) throws -> [String: Tensor]
    /// Bytes for a run on inputs of this shape.
    var memory: (Shape) throws -> Int
  }

  private let first: Network
  private let second: Network
  private let special: Int
  private let mass: Double
  private let threads: Int

  private var rows: (first: [[Float]], second: [[Float]]) = ([], [])
  private var classCosines: [Float] = []
  private var patchCosines: [Float] = []
  private var overlaps: [Double] = []
  private var times: (first: [Double], second: [Double]) = ([], [])
  private var memory: (first: Int, second: Int)?

  public var imageCount: Int { classCosines.count }

  /// - Parameter mass: the share of attention that masks hold; masks are compared where both networks have the same heads.
  public init(_ first: DinoModel, _ second: DinoModel, mass: Double = 0.6) throws(DinoError) {
    guard first.config.embedDim == second.config.embedDim, first.config.patchSize == second.config.patchSize, first.config.inChannels == second.config.inChannels else {
      throw DinoError(.usage, "networks of width \(first.config.embedDim), patch \(first.config.patchSize) and of width \(second.config.embedDim), patch \(second.config.patchSize) have no features in common to compare",
                      hint: "compare a network with one that was made from it")
    }
    self.init(first.measured, second.measured, special: first.config.specialTokens, mass: mass, threads: first.threads)
  }

  init(_ first: Network, _ second: Network, special: Int, mass: Double = 0.6, threads: Int) {
    self.first = first
    self.second = second
    self.special = special
    self.mass = mass
    self.threads = threads
  }

  /// Adds images of one size.
  public mutating func add(_ images: [PreparedImage]) throws(DinoError) {
    guard !images.isEmpty else { return }
    let input = try PreparedImage.batch(images), grid = (images[0].geometry.rows, images[0].geometry.columns)
    do {
      let a = try timed(first, input, \.first), b = try timed(second, input, \.second)
      if memory == nil { memory = (try first.memory(input.shape), try second.memory(input.shape)) }
      for (tokens, which) in [(a, "first"), (b, "second")] where !tokens.floats().allSatisfy(\.isFinite) {
        throw DinoError(.data, "the \(which) network's features are not finite, so its weights are damaged", hint: "dinoctl inspect names the tensors")
      }
      add(a, b)
      if first.heads == second.heads { try addMasks(input, rows: grid.0, columns: grid.1) }
    } catch { throw DinoError(error, path: nil) }
  }

  private mutating func timed(_ network: Network, _ input: Tensor, _ list: WritableKeyPath<(first: [Double], second: [Double]), [Double]>) throws -> Tensor {
    let start = monotonicSeconds()
    guard let tokens = try network.run([DinoModel.inputName: input], ["tokens"])["tokens"] else { throw DinoError(.bug, "the network gave no 'tokens'") }
    times[keyPath: list].append((monotonicSeconds() - start) * 1e3 / Double(input.shape[0]))
    return tokens
  }

  private mutating func add(_ a: Tensor, _ b: Tensor) {
    let x = a.floats(), y = b.floats(), count = a.shape[0], tokens = a.shape[1], width = a.shape[2]
    for image in 0..<count {
      for token in 0..<tokens {
        let range = (image * tokens + token) * width..<(image * tokens + token + 1) * width
        let c = cosine(x[range], y[range])
        if token == 0 {
          classCosines.append(c)
          rows.first.append(Array(x[range]))
          rows.second.append(Array(y[range]))
        } else if token >= special {
          patchCosines.append(c)
        }
      }
    }
  }

  private mutating func addMasks(_ input: Tensor, rows: Int, columns: Int) throws {
    let name = "attention_cls"
    guard let a = try first.run([DinoModel.inputName: input], [name])[name], let b = try second.run([DinoModel.inputName: input], [name])[name] else {
      throw DinoError(.bug, "the network gave no '\(name)'")
    }
    let x = a.floats(), y = b.floats(), tokens = a.shape[2]
    for map in 0..<a.shape[0] * a.shape[1] {
      func mask(_ values: [Float]) -> [Bool] {
        PatchMap(rows: rows, columns: columns, values: Array(values[map * tokens + special..<(map + 1) * tokens])).mask(holding: mass).kept
      }
      let p = mask(x), q = mask(y)
      let both = zip(p, q).count { $0 && $1 }, any = zip(p, q).count { $0 || $1 }
      overlaps.append(any == 0 ? 1 : Double(both) / Double(any))
    }
  }

  /// What was found.
  /// - Parameters:
  ///   - classes: of the images in the order in which they were added; where each has one, neighbours vote.
  ///   - voters: neighbours that vote.
  public func report(classes: [String?] = [], voters: Int = 20) throws(DinoError) -> QualityReport {
    guard voters > 0 else { throw DinoError(.usage, "at least one neighbour must vote, not \(voters)") }
    guard imageCount > 0, let memory else { throw DinoError(.data, "there is no image to compare on") }
    var report = QualityReport(images: imageCount, classToken: .init(classCosines), patchTokens: .init(patchCosines), neighbours: [], masks: nil, votes: nil,
                               first: .init(millisecondsPerImage: typical(times.first), memoryBytes: memory.first),
                               second: .init(millisecondsPerImage: typical(times.second), memoryBytes: memory.second))
    if !overlaps.isEmpty {
      report.masks = .init(mass: mass, meanIoU: overlaps.reduce(0, +) / Double(overlaps.count), leastIoU: overlaps.min() ?? 0)
    }
    guard imageCount > 1, rows.first.joined().allSatisfy(\.isFinite), rows.second.joined().allSatisfy(\.isFinite) else { return report }
    do {
      let labels: [String?] = classes.count == imageCount ? classes : Array(repeating: nil, count: imageCount)
      let names = (0..<imageCount).map(String.init)
      let a = try LabelledRows(features: rows.first, names: names, classNames: labels), b = try LabelledRows(features: rows.second, names: names, classNames: labels)
      report.neighbours = overlap(a, b, ks: [1, 10, 20].filter { $0 < imageCount })
      if a.isLabelled, a.classes.count > 1 { report.votes = try votes(a, b, k: voters) }
    } catch { throw DinoError(error, path: nil) }
    return report
  }

  private func overlap(_ a: LabelledRows, _ b: LabelledRows, ks: [Int]) -> [QualityReport.Overlap] {
    NeighbourOverlap.shares((a, nil), (b, nil), ks: ks, threads: threads).map { .init(k: $0.k, share: $0.share) }
  }

  private func votes(_ a: LabelledRows, _ b: LabelledRows, k: Int) throws -> QualityReport.Votes {
    func classified(_ r: LabelledRows) throws -> ClassificationReport {
      try WeightedVote.classify(r, by: r, neighbours: [k], temperature: WeightedVote.officialTemperature, leaveOneOut: true, threads: threads)[0]
    }
    let x = try classified(a), y = try classified(b)
    let same = zip(x.images, y.images).count { $0.ranking.first == $1.ranking.first }
    return .init(k: WeightedVote.voters(of: a, neighbours: k, leaveOneOut: true), classes: a.classes.count, first: x.top1, second: y.top1, agreement: Double(same) / Double(imageCount))
  }

  /// The median; the first run, which makes the plan, does not count where there are others.
  private func typical(_ times: [Double]) -> Double {
    let sorted = (times.count > 1 ? Array(times.dropFirst()) : times).sorted()
    return sorted[sorted.count / 2]
  }
}

/// Of two vectors; 1 for two of zeros, NaN where one is not finite.
func cosine(_ a: ArraySlice<Float>, _ b: ArraySlice<Float>) -> Float {
  var ab = 0.0, aa = 0.0, bb = 0.0
  for (x, y) in zip(a, b) {
    ab += Double(x) * Double(y)
    aa += Double(x) * Double(x)
    bb += Double(y) * Double(y)
  }
  return aa == 0 && bb == 0 ? 1 : Float(ab / (aa * bb).squareRoot())
}

extension DinoModel {
  /// Threads that a run takes.
  var threads: Int { options.threads > 0 ? options.threads : availableCores() }

  var measured: QualityMeter.Network {
    .init(heads: heads, run: { try self.run($0, outputs: $1) }, memory: { try self.runMemory(shape: $0, outputs: ["tokens"]) })
  }
}
