// Which activations a quantized ONNX file leaves in float. A few values of a network may hold numbers hundreds of times larger than the rest (massive activations, ANCHORS 5.2):
// 256 steps over such a range leave nothing of the others, and no scale for the whole tensor helps. They are found by measurement: the network is run as the file would compute
// it, and where the result is too far from the float model, the layers that cost most are left out one after the other.

internal import DinoGraph
internal import DinoRuntime
internal import DinoTensor
internal import OnnxConverter

/// What was chosen, and what it gives on the inputs that it was measured with.
public struct OnnxPrecisionChoice: Sendable, Equatable {
  /// Linear layers whose activations stay float, the costliest first.
  public var floatLayers: [String]
  /// Mean cosine of the outputs with the float model's.
  public var cosine: Double
  /// The same with all activations rounded.
  public var cosineOfAll: Double
}

struct OnnxPrecisionSearch {
  let graph: Graph
  let options: OnnxExportOptions
  let inputs: [[String: Tensor]]
  let threads: Int
  /// The mean cosine that is wanted.
  let target: Double

  /// Inputs that single layers are measured with, at most.
  private static let rankingInputs = 3

  func run() throws -> (choice: OnnxPrecisionChoice, values: Set<ValueID>) {
    let rounded = try RoundedGraphs(graph, options: options), names = graph.outputs.map(\.name)
    let reference = try results(graph, names, inputs)
    func cosine(_ rounding: Set<ValueID>, _ count: Int) throws -> Double {
      Self.mean(try results(rounded.graph(rounding: rounding), names, Array(inputs.prefix(count))), Array(reference.prefix(count)))
    }
    var kept = Set(rounded.values.map(\.value))
    let all = try cosine(kept, inputs.count)
    var now = all, floats: [(value: ValueID, layers: [String])] = []
    if now < target {
      let few = min(inputs.count, Self.rankingInputs)
      var left = try rounded.values.map { (item: $0, loss: 1 - (try cosine([$0.value], few))) }.sorted { $0.loss > $1.loss }
      while now < target, !left.isEmpty {
        // Losses of single layers add up, nearly: so many at once as are missing.
        var gained = 0.0
        repeat {
          let worst = left.removeFirst()
          floats.append(worst.item)
          kept.remove(worst.item.value)
          gained += worst.loss
        } while gained < target - now && !left.isEmpty
        now = try cosine(kept, inputs.count)
      }
    }
    return (OnnxPrecisionChoice(floatLayers: floats.flatMap(\.layers), cosine: now, cosineOfAll: all), Set(floats.map(\.value)))
  }

  private func results(_ graph: Graph, _ names: [String], _ inputs: [[String: Tensor]]) throws -> [[[Float]]] {
    let session = try Session(graph, options: SessionOptions(threads: threads))
    return try inputs.map { input in
      let outputs = try session.run(input, outputs: names)
      return names.map { outputs[$0]!.floats() }
    }
  }

  /// Of each output of each input, its worst output counting.
  private static func mean(_ a: [[[Float]]], _ b: [[[Float]]]) -> Double {
    guard let first = a.first else { return 1 }
    return first.indices.map { output in
      zip(a, b).reduce(0) { $0 + cosine($1.0[output], $1.1[output]) } / Double(a.count)
    }.min() ?? 1
  }

  /// NaN counts as nothing in common.
  private static func cosine(_ a: [Float], _ b: [Float]) -> Double {
    var ab = 0.0, aa = 0.0, bb = 0.0
    for i in a.indices {
      ab += Double(a[i]) * Double(b[i])
      aa += Double(a[i]) * Double(a[i])
      bb += Double(b[i]) * Double(b[i])
    }
    let cosine = aa == 0 && bb == 0 ? 1 : ab / (aa * bb).squareRoot()
    return cosine.isFinite ? cosine : -1
  }
}
