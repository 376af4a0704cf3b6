// The whole of a training step as one graph: teacher and student on their crops (the head once on the concatenation), the loss as a sum of terms, and the backward
// operators. What varies by step is an input. Which terms there are is TrainingGraph+Terms.swift's.

internal import Dino
internal import DinoGraph
internal import DinoKernels
internal import DinoModels
internal import DinoTensor

struct TrainingGraph {
  var graph = Graph()
  /// Constants that the optimizer and the moving average change.
  var live: Set<ValueID> = []
  /// Drop-path factors, in the order of the graph's last inputs: their inputs' names, how many rows each has, and with which probability a row is dropped.
  var masks: [(name: String, rows: Int, rate: Double)] = []
  /// The terms that the loss is the sum of, in order: their names, weights and values.
  var terms: [(name: String, weight: Double, value: ValueID)] = []

  let settings: TrainingSettings
  /// How many patches iBOT masks at most, and whether it can be fewer.
  let masked: (count: Int, varies: Bool)
  var studentIDs: [String: ValueID] = [:]
  var teacherIDs: [String: ValueID] = [:]
  /// The crops of one size, and how many there are: global ones first.
  var groups: [(id: ValueID, rows: Int)] = []

  /// Names of the graph's inputs, besides those of `masks`.
  enum Input {
    static let globals = "global_crops", locals = "local_crops", shift = "minus_center", teacherFactor = "teacher_factor", studentFactor = "student_factor"
    /// iBOT's: minus the patches' centre; the numbers of the masked patches, counted through patches and through all tokens; the weight of each.
    static let patchShift = "minus_patch_center", maskedPatches = "masked_patches", maskedTokens = "masked_tokens", maskWeights = "mask_weights"
    /// 1 for each of them, 0 for what stands in a place that no patch of this step has.
    static let maskPresence = "mask_presence"
  }

  enum Output {
    static let loss = "loss", teacherSum = "teacher_sum", teacherPatchSum = "teacher_patch_sum", targets = "teacher_probabilities", features = "features"
    static func term(_ name: String) -> String { "term." + name }
    static func gradient(_ name: String) -> String { "gradient." + name }
    static func statistics(_ network: String, _ norm: String) -> String { "statistics.\(network).\(norm)" }
  }

  /// - Parameters:
  ///   - student: in the order of `settings.studentTensors`; `teacher` in that of `settings.teacherTensors`.
  ///   - trainable: the student's tensors that have a gradient.
  init(_ s: TrainingSettings, trainable: Set<String>, student: ParameterBlock, teacher: ParameterBlock, masked: (count: Int, varies: Bool), ranks: Int = 1) throws(DinoError) {
    settings = s
    self.masked = masked
    studentIDs = constants("student.", s.studentTensors, student, live: true)
    // A teacher that stands still is packed once.
    teacherIDs = constants("teacher.", s.teacherTensors, teacher, live: s.distillation == nil)
    groups = [(input(Input.globals, [2 * s.batch, s.config.inChannels, s.globalSize, s.globalSize]), 2 * s.batch)]
    if s.localCrops > 0 { groups.append((input(Input.locals, [s.localCrops * s.batch, s.config.inChannels, s.localSize, s.localSize]), s.localCrops * s.batch)) }
    do {
      if s.distillation?.loss == .features { try appendFeatureTerms() } else { try appendViewTerms() }
      for term in terms { graph.output(Output.term(term.name), term.value) }
      var loss: ValueID?
      for term in terms {
        let weight = term.weight == 1 ? nil : graph.constant("\(term.name).weight", Tensor([Float(term.weight)], shape: [1]))
        let weighted = weight.map { graph.core(.multiply, [term.value, $0], name: "\(term.name).weighted") } ?? term.value
        loss = loss.map { graph.core(.add, [$0, weighted], name: "loss.\(term.name)") } ?? weighted
      }
      guard let loss else { throw DinoError(.bug, "a loss without terms") }
      graph.output(Output.loss, loss)
      // Backward. Of several processes each gives its share of the mean.
      let one = graph.constant("one", Tensor([1 / Float(ranks)], shape: [1]))
      try graph.outputGradients(of: loss, by: s.studentTensors.map(\.name).filter { trainable.contains($0) }, ids: studentIDs, one: one, config: s.config)
    } catch let error as DinoError {
      throw error
    } catch let error as DifferentiationError {
      throw DinoError(.bug, error.description)
    } catch {
      throw DinoError(error, path: nil)
    }
  }

  private mutating func constants(_ prefix: String, _ specs: [TensorSpec], _ block: ParameterBlock, live isLive: Bool) -> [String: ValueID] {
    var ids: [String: ValueID] = [:]
    for (i, spec) in specs.enumerated() {
      let id = graph.constant(prefix + spec.name, block.tensors[i])
      ids[spec.name] = id
      if isLive && !spec.isComputed { live.insert(id) }
    }
    return ids
  }

  mutating func input(_ name: String, _ dims: [Int]) -> ValueID { graph.input(name, dtype: .f32, dims: dims.map { .fixed($0) }) }

  /// The student on one group of crops, with drop path.
  mutating func appendStudent(_ g: Int, masked: (patches: ValueID, token: ValueID)? = nil) throws -> (cls: ValueID, tokens: ValueID) {
    var factors: [(attention: ValueID, feedForward: ValueID)?] = []
    for (i, rate) in Schedules.line(from: 0, to: settings.dropPath, count: settings.config.depth).enumerated() {
      guard rate > 0 else {
        factors.append(nil)
        continue
      }
      let two = (0..<2).map { branch in
        let name = "drop_path.\(g).\(i).\(branch)"
        masks.append((name, groups[g].rows, rate))
        return input(name, [groups[g].rows, 1, 1])
      }
      factors.append((two[0], two[1]))
    }
    return try ViTGraphBuilder.appendBackbone(to: &graph, config: settings.config, weights: studentIDs, image: groups[g].id, branchFactors: factors, masked: masked)
  }

  mutating func concatenated(_ parts: [ValueID], _ name: String) -> ValueID { parts.count == 1 ? parts[0] : graph.core(.training(.concatenateBatch), parts, name: name) }
}
