// A supervised training step as one graph: the network with its classifier on a batch of crops, cross-entropy against given distributions, and the backward operators. What varies
// by step is an input.

internal import Dino
internal import DinoGraph
internal import DinoKernels
internal import DinoModels
internal import DinoTensor

struct FinetuneGraph {
  var graph = Graph()
  /// Constants that the optimizer changes.
  var live: Set<ValueID> = []
  /// Drop-path factors, the graph's last inputs: with which probability a row is dropped.
  var masks: [(name: String, rate: Double)] = []
  /// Order of the inputs: crops, targets (each row over the number of rows), masks.

  enum Output {
    static let loss = "loss", logits = "logits"
    static func gradient(_ name: String) -> String { "gradient." + name }
  }

  init(_ s: FinetuneSettings, names: [String], weights: ParameterBlock) throws(DinoError) {
    var ids: [String: ValueID] = [:]
    let computed = Set(s.config.tensors.filter(\.isComputed).map(\.name))
    for (i, name) in names.enumerated() {
      let id = graph.constant(name, weights.tensors[i])
      ids[name] = id
      if !computed.contains(name) { live.insert(id) }
    }
    guard let weight = ids["head.weight"], let bias = ids["head.bias"] else { throw DinoError(.bug, "fine-tuning needs a classifier") }
    let image = graph.input("crops", dtype: .f32, dims: [s.batch, s.config.inChannels, s.size, s.size].map { .fixed($0) })
    let targets = graph.input("targets", dtype: .f32, dims: [.fixed(s.batch), .fixed(s.classes)])
    var factors: [(attention: ValueID, feedForward: ValueID)?] = []
    for (i, rate) in Schedules.line(from: 0, to: s.dropPath, count: s.config.depth).enumerated() {
      guard rate > 0 else {
        factors.append(nil)
        continue
      }
      let two = (0..<2).map { branch in
        let name = "drop_path.\(i).\(branch)"
        masks.append((name, rate))
        return graph.input(name, dtype: .f32, dims: [.fixed(s.batch), .fixed(1), .fixed(1)])
      }
      factors.append((two[0], two[1]))
    }
    do {
      let features = try ViTGraphBuilder.appendBackbone(to: &graph, config: s.config, weights: ids, image: image, branchFactors: factors).cls
      let logits = graph.core(.linear(LinearEpilogue(bias: true)), [features, weight, bias], name: "head")
      let one = graph.constant("one", Tensor([1], shape: [1]))
      let loss = graph.core(.training(.softCrossEntropy), [logits, targets, one], name: "loss")
      graph.output(Output.loss, loss)
      graph.output(Output.logits, logits)
      try graph.outputGradients(of: loss, by: names.filter { !computed.contains($0) }, ids: ids, one: one, config: s.config)
    } catch let error as DinoError {
      throw error
    } catch let error as DifferentiationError {
      throw DinoError(.bug, error.description)
    } catch {
      throw DinoError(error, path: nil)
    }
  }
}
