// The whole of a training step as one graph: teacher on the global crops, student on all crops (the head once on the concatenation), the loss, and the backward
// operators. What varies by step is an input.

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
  /// Order of the inputs: global crops, local crops if any, minus the centre, one over the teacher's temperature, one over the student's, masks.
  var hasLocals: Bool

  enum Output {
    static let loss = "loss", teacherSum = "teacher_sum", targets = "teacher_probabilities", features = "teacher_features"
    static func gradient(_ name: String) -> String { "gradient." + name }
    static func statistics(_ network: String, _ norm: String) -> String { "statistics.\(network).\(norm)" }
  }

  init(_ s: TrainingSettings, names: [String], trainable: Set<String>, student: ParameterBlock, teacher: ParameterBlock, ranks: Int = 1) throws(DinoError) {
    hasLocals = s.localCrops > 0
    var live: Set<ValueID> = []
    func weights(_ block: ParameterBlock, _ prefix: String, _ graph: inout Graph) -> [String: ValueID] {
      var ids: [String: ValueID] = [:]
      for (i, name) in names.enumerated() {
        let id = graph.constant(prefix + name, block.tensors[i])
        ids[name] = id
        live.insert(id)
      }
      return ids
    }
    let studentIDs = weights(student, "student.", &graph), teacherIDs = weights(teacher, "teacher.", &graph)
    self.live = live
    func crops(_ name: String, _ rows: Int, _ size: Int, _ graph: inout Graph) -> (id: ValueID, rows: Int) {
      (graph.input(name, dtype: .f32, dims: [rows, s.config.inChannels, size, size].map { .fixed($0) }), rows)
    }
    var groups = [crops("global_crops", 2 * s.batch, s.globalSize, &graph)]
    if hasLocals { groups.append(crops("local_crops", s.localCrops * s.batch, s.localSize, &graph)) }
    let k = s.outDim
    let shift = graph.input("minus_center", dtype: .f32, dims: [.fixed(1), .fixed(k)])
    let teacherFactor = graph.input("teacher_factor", dtype: .f32, dims: [.fixed(1), .fixed(1)])
    let studentFactor = graph.input("student_factor", dtype: .f32, dims: [.fixed(1)])
    do {
      // Teacher.
      let features = try ViTGraphBuilder.appendBackbone(to: &graph, config: s.config, weights: teacherIDs, image: groups[0].id)
      let (raw, teacherStatistics) = try ViTGraphBuilder.appendHead(to: &graph, config: s.config, weights: teacherIDs, features)
      for norm in teacherStatistics { graph.output(Output.statistics("teacher", norm.name), norm.id) }
      let q: ValueID
      switch s.centering {
      case .centering:
        let sharp = graph.core(.multiply, [graph.core(.add, [raw, shift], name: "teacher.centred"), teacherFactor], name: "teacher.sharpened")
        q = graph.core(.softmax, [sharp], name: "teacher.probabilities")
      case .sinkhornKnopp:
        q = graph.core(.training(.sinkhorn(iterations: 3)), [graph.core(.multiply, [raw, teacherFactor], name: "teacher.sharpened")], name: "teacher.probabilities")
      }
      let targets = graph.core(.training(.crossViewTargets(views: s.views)), [q], name: "targets")
      graph.output(Output.teacherSum, graph.core(.training(.sumTo), [raw, shift], name: "teacher.sum"))
      graph.output(Output.targets, q)
      graph.output(Output.features, features)
      // Student.
      var parts: [ValueID] = []
      for (g, group) in groups.enumerated() {
        var factors: [(attention: ValueID, feedForward: ValueID)?] = []
        for (i, rate) in Schedules.line(from: 0, to: s.dropPath, count: s.config.depth).enumerated() {
          guard rate > 0 else {
            factors.append(nil)
            continue
          }
          let two = (0..<2).map { branch in
            let name = "drop_path.\(g).\(i).\(branch)"
            masks.append((name, group.rows, rate))
            return graph.input(name, dtype: .f32, dims: [.fixed(group.rows), .fixed(1), .fixed(1)])
          }
          factors.append((two[0], two[1]))
        }
        parts.append(try ViTGraphBuilder.appendBackbone(to: &graph, config: s.config, weights: studentIDs, image: group.id, branchFactors: factors))
      }
      let all = parts.count == 1 ? parts[0] : graph.core(.training(.concatenateBatch), parts, name: "student.features")
      let (logits, studentStatistics) = try ViTGraphBuilder.appendHead(to: &graph, config: s.config, weights: studentIDs, all)
      for norm in studentStatistics { graph.output(Output.statistics("student", norm.name), norm.id) }
      var loss = graph.core(.training(.softCrossEntropy), [logits, targets, studentFactor], name: "loss")
      if s.koleoWeight > 0 {
        // DINOv2: on the backbone's features of the global crops, each of the two views by itself.
        let unit = graph.core(.l2Normalize(epsilon: 1e-8), [parts[0]], name: "koleo.normalize")
        let term = graph.core(.training(.koleo(groups: 2)), [unit], name: "koleo"), weight = graph.constant("koleo.weight", Tensor([Float(s.koleoWeight)], shape: [1]))
        loss = graph.core(.add, [loss, graph.core(.multiply, [term, weight], name: "koleo.weighted")], name: "loss.total")
      }
      graph.output(Output.loss, loss)
      // Backward.
      let shapes = try graph.inferShapes(inputs: Dictionary(uniqueKeysWithValues: graph.inputs.map { input in
        (input.name, Shape(input.dims.map { dimension in if case .fixed(let n) = dimension { n } else { 0 } }))
      }))
      // Of several processes each gives its share of the mean.
      let one = graph.constant("one", Tensor([1 / Float(ranks)], shape: [1]))
      let wanted = names.filter { trainable.contains($0) }
      let gradients = try graph.differentiate(loss, by: wanted.compactMap { studentIDs[$0] }, seed: one, shapes: shapes)
      for name in wanted {
        guard let id = studentIDs[name], let gradient = gradients[id] else { throw DinoError(.bug, "no gradient for '\(name)'") }
        graph.output(Output.gradient(name), gradient)
      }
    } catch let error as DinoError {
      throw error
    } catch let error as DifferentiationError {
      throw DinoError(.bug, error.description)
    } catch {
      throw DinoError(error, path: nil)
    }
  }
}
