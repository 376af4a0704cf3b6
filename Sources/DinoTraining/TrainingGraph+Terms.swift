// What the loss of a training step is the sum of: DINO's cross entropy between views with what DINOv2 adds to it, or the distance between the features of a student and of a
// teacher that stands still. Forward only.

internal import Dino
internal import DinoGraph
internal import DinoModels
internal import DinoTensor

extension TrainingGraph {
  /// DINO: the teacher's distributions of the global crops against the student's of all others; KoLeo; iBOT.
  mutating func appendViewTerms() throws {
    let s = settings, k = s.outDim
    let shift = input(Input.shift, [1, k]), teacherFactor = input(Input.teacherFactor, [1, 1]), studentFactor = input(Input.studentFactor, [1])
    let masking = masked.count == 0 ? nil : (count: masked.count, patches: input(Input.maskedPatches, [masked.count]), tokens: input(Input.maskedTokens, [masked.count]))
    // Teacher.
    let (features, teacherTokens) = try ViTGraphBuilder.appendBackbone(to: &graph, config: s.teacherConfig, weights: teacherIDs, image: groups[0].id)
    let (raw, teacherStatistics) = try ViTGraphBuilder.appendHead(to: &graph, config: s.teacherConfig, weights: teacherIDs, features)
    for norm in teacherStatistics { graph.output(Output.statistics("teacher", norm.name), norm.id) }
    let q = probabilities(raw, shift, teacherFactor, "teacher")
    let targets = graph.core(.training(.crossViewTargets(views: s.views)), [q], name: "targets")
    graph.output(Output.teacherSum, graph.core(.training(.sumTo), [raw, shift], name: "teacher.sum"))
    graph.output(Output.targets, q)
    // Student.
    var parts: [ValueID] = [], tokens: [ValueID] = []
    for g in groups.indices {
      let masked = g == 0 ? masking.flatMap { m in studentIDs[TrainingSettings.maskToken].map { (m.patches, $0) } } : nil
      let part = try appendStudent(g, masked: masked)
      parts.append(part.cls)
      tokens.append(part.tokens)
    }
    graph.output(Output.features, s.distillation == nil ? features : parts[0])
    let (logits, studentStatistics) = try ViTGraphBuilder.appendHead(to: &graph, config: s.config, weights: studentIDs, concatenated(parts, "student.features"))
    for norm in studentStatistics { graph.output(Output.statistics("student", norm.name), norm.id) }
    terms.append(("dino", 1, graph.core(.training(.softCrossEntropy), [logits, targets, studentFactor], name: "loss")))
    if s.koleoWeight > 0 {
      // DINOv2: on the backbone's features of the global crops, each of the two views by itself.
      let unit = graph.core(.l2Normalize(epsilon: 1e-8), [parts[0]], name: "koleo.normalize")
      terms.append(("koleo", s.koleoWeight, graph.core(.training(.koleo(groups: 2)), [unit], name: "koleo")))
    }
    guard let masking else { return }
    // iBOT: the head of the class tokens on the tokens of the masked patches alone, the teacher's from crops without masks.
    let patchShift = input(Input.patchShift, [1, k]), weights = input(Input.maskWeights, [masking.count, 1])
    func patchLogits(_ x: ValueID, _ ids: [String: ValueID], _ network: String, _ graph: inout Graph) throws -> ValueID {
      let rows = graph.core(.training(.gatherRows), [x, masking.tokens], name: "\(network).masked")
      let normed = try ViTGraphBuilder.appendNorm(to: &graph, config: s.config, weights: ids, rows)
      return try ViTGraphBuilder.appendHead(to: &graph, config: s.config, weights: ids, normed).out
    }
    let patchRaw = try patchLogits(teacherTokens, teacherIDs, "teacher", &graph)
    let present = masked.varies ? graph.core(.multiply, [patchRaw, input(Input.maskPresence, [masking.count, 1])], name: "teacher.patches_present") : patchRaw
    graph.output(Output.teacherPatchSum, graph.core(.training(.sumTo), [present, patchShift], name: "teacher.patch_sum"))
    let patchQ = probabilities(patchRaw, patchShift, teacherFactor, "teacher.patches")
    let patchTargets = graph.core(.multiply, [patchQ, weights], name: "patch_targets")
    let patchOwn = try patchLogits(tokens[0], studentIDs, "student", &graph)
    terms.append(("ibot", s.ibotWeight, graph.core(.training(.softCrossEntropy), [patchOwn, patchTargets, studentFactor], name: "ibot")))
  }

  private mutating func probabilities(_ raw: ValueID, _ shift: ValueID, _ factor: ValueID, _ name: String) -> ValueID {
    switch settings.centering {
    case .centering:
      let sharp = graph.core(.multiply, [graph.core(.add, [raw, shift], name: "\(name).centred"), factor], name: "\(name).sharpened")
      return graph.core(.softmax, [sharp], name: "\(name).probabilities")
    case .sinkhornKnopp:
      return graph.core(.training(.sinkhorn(iterations: 3)), [graph.core(.multiply, [raw, factor], name: "\(name).sharpened")], name: "\(name).probabilities")
    }
  }

  /// Distillation: the class token of every crop, the patch tokens of the global ones, each the student's through its projection against the teacher's of the same crop.
  mutating func appendFeatureTerms() throws {
    guard let d = settings.distillation else { return }
    let ids = studentIDs
    var own: [(cls: ValueID, tokens: ValueID)] = [], theirs = own
    for g in groups.indices {
      theirs.append(try ViTGraphBuilder.appendBackbone(to: &graph, config: d.teacher, weights: teacherIDs, image: groups[g].id))
      own.append(try appendStudent(g))
    }
    graph.output(Output.features, own[0].cls)
    func projected(_ x: ValueID, _ name: String, _ graph: inout Graph) throws -> ValueID {
      guard d.projection == .linear else { return x }
      guard let weight = ids["\(name).weight"], let bias = ids["\(name).bias"] else { throw DinoError(.bug, "no projection '\(name)'") }
      return graph.core(.linear(LinearEpilogue(bias: true)), [x, weight, bias], name: name)
    }
    if d.classWeight > 0 {
      let a = concatenated(own.map(\.cls), "student.features"), b = concatenated(theirs.map(\.cls), "teacher.features")
      let x = try projected(a, Distillation.classProjection, &graph)
      terms.append(("cls", d.classWeight, graph.core(.training(.cosineDistance), [x, b], name: "cls")))
    }
    if d.patchWeight > 0 {
      func patches(_ x: ValueID, _ config: ViTConfig, _ ids: [String: ValueID], _ network: String, _ graph: inout Graph) throws -> ValueID {
        let tokens = graph.core(.sliceTokens(start: config.specialTokens, count: nil), [x], name: "\(network).patches")
        return try ViTGraphBuilder.appendNorm(to: &graph, config: config, weights: ids, tokens)
      }
      let a = try patches(own[0].tokens, settings.config, studentIDs, "student", &graph), b = try patches(theirs[0].tokens, d.teacher, teacherIDs, "teacher", &graph)
      let x = try projected(a, Distillation.patchProjection, &graph)
      terms.append(("patch", d.patchWeight, graph.core(.training(.cosineDistance), [x, b], name: "patch")))
    }
  }
}
