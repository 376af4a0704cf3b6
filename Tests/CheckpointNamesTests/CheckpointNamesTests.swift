// Names: tables in both directions, prefixes and branches, what is refused and how it is said, and properties over random prefixes and losses.

import CheckpointNames
import TestSupport
import Testing

/// The official tensors of a model of width 6 with this many blocks.
private func official(blocks: Int = 3, head: Bool = false) -> [(name: String, shape: [Int])] {
  var list: [(String, [Int])] = [("cls_token", [1, 1, 6]), ("pos_embed", [1, 10, 6]), ("patch_embed.proj.weight", [6, 3, 4, 4]), ("patch_embed.proj.bias", [6])]
  for i in 0..<blocks {
    for (name, shape) in [("norm1", [6]), ("attn.qkv", [18, 6]), ("attn.proj", [6, 6]), ("norm2", [6]), ("mlp.fc1", [24, 6]), ("mlp.fc2", [6, 24])] {
      list.append(("blocks.\(i).\(name).weight", shape))
      list.append(("blocks.\(i).\(name).bias", [shape[0]]))
    }
  }
  list += [("norm.weight", [6]), ("norm.bias", [6])]
  if head {
    for (i, shape) in [(0, [8, 6]), (2, [8, 8]), (4, [5, 8])] {
      list.append(("head.mlp.\(i).weight", shape))
      list.append(("head.mlp.\(i).bias", [shape[0]]))
    }
    list += [("head.last_layer.weight_g", [12, 1]), ("head.last_layer.weight_v", [12, 5])]
  }
  return list.map { (name: $0.0, shape: $0.1) }
}

private func file(_ tensors: [(name: String, shape: [Int])], prefix: String = "") -> [String: [Int]] {
  Dictionary(uniqueKeysWithValues: tensors.map { (prefix + $0.name, $0.shape) })
}

/// The same tensors as transformers' ViTModel names and splits them.
private func transformers(_ tensors: [(name: String, shape: [Int])], prefix: String = "", table: NameTable = .transformersViT) -> [String: [Int]] {
  var result: [String: [Int]] = [prefix + "pooler.dense.weight": [6, 6], prefix + "pooler.dense.bias": [6]]
  for (name, shape) in tensors {
    let sources = table.sources(of: name)!
    for source in sources { result[prefix + source] = [shape[0] / sources.count] + shape.dropFirst() }
  }
  return result
}

@Suite struct CheckpointNamesTests {
  @Test func tablesAreTheirOwnInverse() {
    for table in CheckpointNames.tables {
      let isGated = table.sources(of: "blocks.0.mlp.fc1.weight") == nil
      for (plain, _) in official(head: table.name == "official") where !(table.isRotary && plain == "pos_embed") {
        let name = isGated ? plain.replacing(".mlp.fc1.", with: ".mlp.w12.").replacing(".mlp.fc2.", with: ".mlp.w3.") : plain
        let sources = table.sources(of: name)
        #expect(sources != nil, "\(table.name) \(name)")
        for (part, source) in (sources ?? []).enumerated() {
          let back = table.official(of: source)
          #expect(back?.name == name && back?.part == part && back?.of == sources?.count)
        }
      }
      #expect(table.official(of: "blocks.x.norm1.weight") == nil)
      #expect(table.official(of: "") == nil)
    }
  }

  @Test func noTwoRowsOfATableShareASource() {
    for table in CheckpointNames.tables {
      let sources = table.rules.flatMap { $0.sources.map(\.text) }
      #expect(Set(sources).count == sources.count, "\(table.name)")
    }
  }

  @Test func transformersNamesAreThoseOfTheFile() {
    #expect(NameTable.transformersViT.sources(of: "blocks.11.attn.qkv.bias") == [
      "encoder.layer.11.attention.attention.query.bias", "encoder.layer.11.attention.attention.key.bias", "encoder.layer.11.attention.attention.value.bias",
    ])
    #expect(NameTable.transformersViT.official(of: "encoder.layer.2.intermediate.dense.weight")?.name == "blocks.2.mlp.fc1.weight")
    #expect(NameTable.transformersViT.official(of: "encoder.layer.2.output.dense.weight")?.name == "blocks.2.mlp.fc2.weight")
    #expect(NameTable.transformersViT.official(of: "encoder.layer.2.attention.output.dense.weight")?.name == "blocks.2.attn.proj.weight")
  }

  @Test(arguments: ["", "module.", "backbone.", "module.backbone.", "teacher.backbone.", "student.module.backbone.", "state_dict.model.", "model.", "_orig_mod.", "teacher."])
  func stripsPrefixes(_ prefix: String) throws {
    let r = try CheckpointNames.resolve(shapes: file(official(), prefix: prefix), expected: official())
    #expect(r.missing.isEmpty && r.unmatched.isEmpty && r.ignored.isEmpty)
    for (name, shape) in official() { #expect(r.sources[name] == TensorSource(names: [prefix + name], shape: shape)) }
    #expect(r.table == "official")
  }

  @Test func takesTheBranchThatIsAskedFor() throws {
    let all = official(head: true)
    var shapes = file(all.map { ((($0.name.hasPrefix("head.")) ? "" : "backbone.") + $0.name, $0.shape) }, prefix: "teacher.")
    shapes.merge(file(all.map { ("module." + (($0.name.hasPrefix("head.")) ? "" : "backbone.") + $0.name, $0.shape) }, prefix: "student.")) { a, _ in a }
    shapes["center"] = [1, 12]
    let teacher = try CheckpointNames.resolve(shapes: shapes, expected: all)
    #expect(teacher.branch == .teacher && teacher.matchedCount == all.count)
    #expect(teacher.sources["head.mlp.0.weight"]?.names == ["teacher.head.mlp.0.weight"])
    #expect(teacher.ignored.contains { $0.name == "center" })
    #expect(teacher.ignored.count == all.count + 1 && teacher.unmatched.isEmpty)
    let student = try CheckpointNames.resolve(shapes: shapes, expected: all, branch: .student)
    #expect(student.sources["norm.weight"]?.names == ["student.module.backbone.norm.weight"])
    let onlyStudent = shapes.filter { $0.key.hasPrefix("student.") }
    #expect(try CheckpointNames.resolve(shapes: onlyStudent, expected: all).branch == .student)
    #expect(throws: NameError.branchMissing(requested: .teacher, available: [.student])) { try CheckpointNames.map(shapes: onlyStudent, branch: .teacher) }
    // A file without branches is what it is.
    #expect(try CheckpointNames.resolve(shapes: file(all), expected: all, branch: .student).matchedCount == all.count)
  }

  /// As DINOv2's trainer writes them for FSDP.
  @Test func chunksOfBlocksAreLookedThrough() throws {
    var shapes: [String: [Int]] = [:]
    for (name, shape) in official() {
      var words = name.split(separator: ".").map(String.init)
      if words[0] == "blocks", let i = Int(words[1]) { words.insert("\(i / 2)", at: 1) }
      shapes["backbone." + words.joined(separator: ".")] = shape
    }
    // Blocks that are counted anew in each chunk are not of such a file.
    shapes["backbone.blocks.1.0.norm1.weight"] = [6]
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official())
    #expect(r.missing.isEmpty && r.unmatched == ["backbone.blocks.1.0.norm1.weight"] && r.table == "official")
    #expect(r.sources["blocks.2.norm1.weight"]?.names == ["backbone.blocks.1.2.norm1.weight"] && r.sources["blocks.0.norm1.weight"]?.names == ["backbone.blocks.0.0.norm1.weight"])
  }

  /// DINOv3's training state has the student's average under its own name; in a distillation its teacher is another network, and never mixed with it.
  @Test func theStudentsAverageIsTaken() throws {
    var shapes = file(official(), prefix: "model_ema.backbone.")
    for other in ["student", "teacher", "gram_teacher"] {
      shapes.merge(file(official(blocks: other == "student" ? 3 : 5), prefix: "\(other).backbone.")) { first, _ in first }
    }
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official())
    #expect(r.branch == .teacher && r.missing.isEmpty && r.unmatched.isEmpty)
    #expect(r.sources.values.allSatisfy { $0.names[0].hasPrefix("model_ema.") })
    let student = try CheckpointNames.resolve(shapes: shapes, expected: official(), branch: .student)
    #expect(student.sources["cls_token"]?.names == ["student.backbone.cls_token"] && student.unmatched.isEmpty)
  }

  @Test func headsThatAreNotAskedForAreIgnoredWithAReason() throws {
    let r = try CheckpointNames.resolve(shapes: file(official(head: true)), expected: official())
    #expect(r.unmatched.isEmpty && r.ignored.count == 8)
    #expect(r.ignored.allSatisfy { $0.name.hasPrefix("head.") && !$0.reason.isEmpty })
  }

  @Test func trainingStateIsIgnored() throws {
    var shapes = file(official())
    for name in ["optimizer.state.0.exp_avg", "dino_loss.center", "fp16_scaler.scale", "epoch", "mask_token", "head.mlp.1.num_batches_tracked"] { shapes[name] = [1] }
    shapes["something.else"] = [2]
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official())
    #expect(r.ignored.count == 6 && r.unmatched == ["something.else"])
  }

  @Test func newWeightNormNames() throws {
    var shapes = file(official(head: true))
    shapes["head.last_layer.parametrizations.weight.original0"] = shapes.removeValue(forKey: "head.last_layer.weight_g")
    shapes["head.last_layer.parametrizations.weight.original1"] = shapes.removeValue(forKey: "head.last_layer.weight_v")
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official(head: true))
    #expect(r.missing.isEmpty && r.sources["head.last_layer.weight_v"]?.names == ["head.last_layer.parametrizations.weight.original1"])
  }

  @Test(arguments: ["", "vit.", "model.vit."]) func joinsTransformersQueryKeyValue(_ prefix: String) throws {
    let r = try CheckpointNames.resolve(shapes: transformers(official(), prefix: prefix), expected: official())
    #expect(r.table == "transformers ViT" && r.missing.isEmpty && r.unmatched.isEmpty && r.ignored.count == 2)
    #expect(r.sources["blocks.1.attn.qkv.weight"]?.shape == [18, 6])
    #expect(r.sources["blocks.1.attn.qkv.weight"]?.names.map { $0.hasSuffix("query.weight") } == [true, false, false])
  }

  /// As in a state dict of transformers 5.24.
  @Test(arguments: ["", "vit."]) func readsTheNamesOfTransformers5(_ prefix: String) throws {
    let shapes = transformers(official(), prefix: prefix, table: .transformers5ViT)
    #expect(shapes[prefix + "layers.2.attention.o_proj.bias"] == [6] && shapes[prefix + "layers.0.mlp.fc1.weight"] == [24, 6])
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official())
    #expect(r.table == "transformers 5 ViT" && r.missing.isEmpty && r.unmatched.isEmpty && r.ignored.count == 2)
    #expect(r.sources["blocks.1.attn.qkv.weight"]?.names == ["q", "k", "v"].map { "\(prefix)layers.1.attention.\($0)_proj.weight" })
  }

  private static let registers: (name: String, shape: [Int]) = ("register_tokens", [1, 4, 6])

  /// As in folders of transformers' Dinov2WithRegistersModel, and in its state dict.
  @Test(arguments: [NameTable.transformersDinov2, .transformers5Dinov2], ["", "dinov2_with_registers."]) func readsTheNamesOfDinov2(_ table: NameTable, _ prefix: String) throws {
    let all = official() + [Self.registers] + (0..<3).flatMap { i in ["ls1", "ls2"].map { (name: "blocks.\(i).\($0).gamma", shape: [6]) } }
    let shapes = transformers(all, prefix: prefix, table: table)
    #expect(shapes["\(prefix)encoder.layer.2.layer_scale1.lambda1"] == [6] && shapes["\(prefix)embeddings.register_tokens"] == [1, 4, 6])
    let r = try CheckpointNames.resolve(shapes: shapes, expected: all)
    #expect(r.table == table.name && r.missing.isEmpty && r.unmatched.isEmpty)
  }

  /// timm has no position for the class token where there are registers; official files have.
  @Test func timmsPositionsLackTheClassTokens() throws {
    var shapes = file(official() + [("reg_token", [1, 4, 6])])
    shapes["pos_embed"] = [1, 9, 6]
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official() + [Self.registers])
    #expect(r.table == "timm" && r.missing.isEmpty && r.unmatched.isEmpty)
    #expect(r.sources["pos_embed"] == TensorSource(names: ["pos_embed"], shape: [1, 10, 6], leavesOutClassToken: true))
    let own = try CheckpointNames.resolve(shapes: file(official() + [Self.registers]), expected: official() + [Self.registers])
    #expect(own.table == "official" && own.sources["pos_embed"] == TensorSource(names: ["pos_embed"], shape: [1, 10, 6]))
    shapes["pos_embed"] = [1, .max, 6]
    #expect(throws: NameError.self) { try CheckpointNames.resolve(shapes: shapes, expected: official() + [Self.registers]) }
  }

  /// Without registers only the number of positions tells that they are of the patches alone.
  @Test func positionsOfPatchesAlone() throws {
    func completed(_ positions: Int, isGrid: (Int) -> Bool) throws -> TensorSource? {
      var shapes = file(official())
      shapes["pos_embed"] = [1, positions, 6]
      return PatchPositions.completed(try CheckpointNames.map(shapes: shapes), isGrid: isGrid).sources["pos_embed"]
    }
    #expect(try completed(9) { $0 == 9 } == TensorSource(names: ["pos_embed"], shape: [1, 10, 6], leavesOutClassToken: true))
    #expect(try completed(10) { $0 == 9 } == TensorSource(names: ["pos_embed"], shape: [1, 10, 6]))
    #expect(try completed(16) { [15, 16].contains($0) } == TensorSource(names: ["pos_embed"], shape: [1, 16, 6]))
    #expect(try completed(.max) { _ in true }?.shape == [1, .max, 6])
  }

  /// What is not known takes part in the network, but for what is known to stand beside it, or is not under its wrapper.
  @Test func leftOverNames() throws {
    func takingPart(_ names: [String], prefix: String = "") throws -> [String] {
      try CheckpointNames.resolve(shapes: file(official(), prefix: prefix).merging(names.map { ($0, [6]) }, uniquingKeysWith: { first, _ in first }), expected: official()).takingPart
    }
    let parts = ["adapter.weight", "attn_pool.latent", "blocks.0.attn.q_norm.weight", "dist_token", "fc_norm.weight", "patch_embed.backbone.conv.weight"]
    let beside = ["decoder.0.weight", "decoder_embed.weight", "dino_head.last_layer.bias", "fc.weight", "head_dist.weight", "masked_embed", "projector.0.weight", "prototypes.weight"]
    #expect(try takingPart(parts + beside) == parts)
    #expect(try takingPart(["backbone.adapter.weight", "neck.weight", "adapter.weight", "attn_pool.latent"], prefix: "backbone.") == ["attn_pool.latent", "backbone.adapter.weight"])
  }

  /// DINOv3 in its own names, in transformers' and in timm's: a bias without the keys' part, or with a mask of it.
  @Test func readsTheNamesOfDinov3() throws {
    let all = official().filter { $0.name != "pos_embed" } + [Self.registers] + (0..<3).flatMap { i in ["ls1", "ls2"].map { (name: "blocks.\(i).\($0).gamma", shape: [6]) } }
    for (table, bias) in [(NameTable.transformersDinov3, ["layer.2.attention.q_proj.bias", "layer.2.attention.v_proj.bias"]), (.timmDinov3, ["blocks.2.attn.q_bias", "blocks.2.attn.v_bias"])] {
      var shapes: [String: [Int]] = [:]
      for (name, shape) in all {
        let sources = table.sources(of: name)!
        for source in sources { shapes[source] = name.hasSuffix("qkv.bias") ? [6] : [shape[0] / sources.count] + shape.dropFirst() }
      }
      let r = try CheckpointNames.resolve(shapes: shapes, expected: all)
      #expect(r.table == table.name && r.missing.isEmpty && r.unmatched.isEmpty)
      #expect(r.sources["blocks.2.attn.qkv.bias"] == TensorSource(names: bias, shape: [18], leavesOutKeys: true))
      #expect(try CheckpointNames.map(shapes: shapes).isRotary)
      shapes[bias[1]] = [7]
      #expect(throws: NameError.self) { try CheckpointNames.map(shapes: shapes) }
      shapes[bias[0]] = [.max / 2 + 1]
      shapes[bias[1]] = [.max / 2 + 1]
      #expect(throws: NameError.self) { try CheckpointNames.map(shapes: shapes) }
    }
    var shapes = file(all.map { $0.name == "register_tokens" ? ("storage_tokens", $0.shape) : $0 }, prefix: "teacher.backbone.")
    shapes["teacher.backbone.rope_embed.periods"] = [1]
    shapes["teacher.backbone.blocks.2.attn.qkv.bias_mask"] = [18]
    shapes["student.backbone.blocks.2.attn.qkv.bias_mask"] = [18]
    let r = try CheckpointNames.resolve(shapes: shapes, expected: all + [("rope_embed.periods", [1])])
    #expect(r.table == "official" && r.missing.isEmpty && r.unmatched.isEmpty && r.ignored.map(\.name) == ["student.backbone.blocks.2.attn.qkv.bias_mask"])
    #expect(r.sources["blocks.2.attn.qkv.bias"]?.mask == "teacher.backbone.blocks.2.attn.qkv.bias_mask" && r.sources["blocks.1.attn.qkv.bias"]?.mask == nil)
    #expect(try !CheckpointNames.map(shapes: shapes).isRotary)
  }

  /// Classifiers of more than the class token: transformers' of DINOv2, and DINOv2's own beside its backbone.
  @Test func classifiersBesideTheNetworkHaveAName() throws {
    let probe: [(name: String, shape: [Int])] = [("probe.weight", [3, 12]), ("probe.bias", [3])]
    let all = official() + (0..<3).flatMap { i in ["ls1", "ls2"].map { (name: "blocks.\(i).\($0).gamma", shape: [6]) } }
    var shapes = transformers(all, prefix: "dinov2.", table: .transformersDinov2)
    (shapes["classifier.weight"], shapes["classifier.bias"]) = ([3, 12], [3])
    let theirs = try CheckpointNames.resolve(shapes: shapes, expected: all + probe)
    #expect(theirs.missing.isEmpty && theirs.unmatched.isEmpty && theirs.sources["probe.weight"]?.names == ["classifier.weight"])
    shapes = file(all, prefix: "backbone.")
    (shapes["linear_head.weight"], shapes["linear_head.bias"]) = ([3, 12], [3])
    let own = try CheckpointNames.resolve(shapes: shapes, expected: all + probe)
    #expect(own.table == "official" && own.missing.isEmpty && own.unmatched.isEmpty && own.sources["probe.bias"]?.names == ["linear_head.bias"])
    // Of the ViT it is the network's own head.
    #expect(NameTable.transformersViT.official(of: "classifier.weight")?.name == "head.weight")
    // Where nobody asks for it, it is not known.
    #expect(try CheckpointNames.resolve(shapes: shapes, expected: all).unmatched == ["linear_head.bias", "linear_head.weight"])
  }

  /// transformers' DINOv3 has a bias of keys where its configuration says so.
  @Test func keysOfDinov3MayHaveABias() throws {
    let all = official().filter { $0.name != "pos_embed" } + [Self.registers]
    var shapes = transformers(all, table: .transformersDinov3KeyBias)
    let r = try CheckpointNames.resolve(shapes: shapes, expected: all)
    #expect(r.table == "transformers DINOv3 with a bias of keys" && r.missing.isEmpty && r.unmatched.isEmpty)
    #expect(r.sources["blocks.2.attn.qkv.bias"] == TensorSource(names: ["q", "k", "v"].map { "layer.2.attention.\($0)_proj.bias" }, shape: [18]))
    for i in 0..<3 { shapes["layer.\(i).attention.k_proj.bias"] = nil }
    #expect(try CheckpointNames.resolve(shapes: shapes, expected: all).table == "transformers DINOv3")
  }

  @Test func partsThatDoNotFitAreNamed() {
    var shapes = transformers(official())
    shapes["encoder.layer.0.attention.attention.key.weight"] = [6, 5]
    #expect {try CheckpointNames.map(shapes: shapes) } throws: { error in
      if case .partsDoNotJoin("blocks.0.attn.qkv.weight", _, _)? = error as? NameError { "\(error)".contains("[6, 5]") } else { false }
    }
    shapes["encoder.layer.0.attention.attention.key.weight"] = [.max, 6]
    #expect(throws: NameError.self) { try CheckpointNames.map(shapes: shapes) }
  }

  @Test func aLostPartIsAMissingTensor() throws {
    var shapes = transformers(official())
    shapes["encoder.layer.0.attention.attention.key.bias"] = nil
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official())
    #expect(r.missing == ["blocks.0.attn.qkv.bias"])
    #expect(r.unmatched == ["encoder.layer.0.attention.attention.query.bias", "encoder.layer.0.attention.attention.value.bias"])
  }

  @Test func aTensorThatIsThereTwiceIsTakenOnce() throws {
    var shapes = file(official())
    shapes["module.norm.weight"] = [7]
    let r = try CheckpointNames.resolve(shapes: shapes, expected: official())
    #expect(r.sources["norm.weight"]?.names == ["norm.weight"])
    #expect(r.ignored.map(\.name) == ["module.norm.weight"])
  }

  @Test func shapesThatDifferAreNamed() {
    var shapes = file(official(), prefix: "backbone.")
    shapes["backbone.pos_embed"] = [1, 17, 6]
    let expected = NameError.shapeMismatch(name: "pos_embed", source: "backbone.pos_embed", expected: [1, 10, 6], found: [1, 17, 6])
    #expect(throws: expected) { try CheckpointNames.resolve(shapes: shapes, expected: official()) }
    #expect("\(expected)" == "The tensor 'backbone.pos_embed', which is 'pos_embed', has the shape [1, 17, 6], but the model needs [1, 10, 6].")
  }

  @Test func aFileOfOtherNamesIsRefusedWithTheNearest() {
    let shapes = Dictionary(uniqueKeysWithValues: official().map { ($0.name.replacing("blocks", with: "block").replacing("norm", with: "nrm"), $0.shape) })
    #expect { try CheckpointNames.resolve(shapes: shapes, expected: official()) } throws: { error in
      guard case .tooFewMatches(4, 42, let missing, "official")? = error as? NameError else { return false }
      let sentence = "\(error)"
      return missing.count == 8 && missing.first == .init(name: "blocks.0.norm1.weight", nearest: "block.0.nrm1.weight")
        && sentence.contains("Only 4 of 42") && sentence.contains("block.0.nrm1.weight") && sentence.contains("and 30 more")
    }
    #expect(throws: NameError.empty) { try CheckpointNames.map(shapes: [:]) }
  }

  // MARK: Properties

  @Test func anyWrappersAroundAnyModelAreStripped() throws {
    var random = SplitMix64(seed: 1)
    let words = ["module", "backbone", "model", "state_dict", "_orig_mod", "vit"]
    for _ in 0..<200 {
      let expected = official(blocks: Int.random(in: 1...13, using: &random), head: Bool.random(using: &random))
      let prefix = (0..<Int.random(in: 0...6, using: &random)).map { _ in words.randomElement(using: &random)! + "." }.joined()
      let r = try CheckpointNames.resolve(shapes: file(expected, prefix: prefix), expected: expected)
      #expect(r.missing.isEmpty && r.unmatched.isEmpty && r.matchedCount == expected.count)
    }
  }

  @Test func theThresholdIsNinetyFivePercent() throws {
    var random = SplitMix64(seed: 2)
    for _ in 0..<200 {
      let expected = official(blocks: Int.random(in: 1...13, using: &random))
      let lost = Int.random(in: 0...(expected.count / 8), using: &random)
      let shapes = file(Array(expected.shuffled(using: &random).dropFirst(lost)))
      let enough = Double(expected.count - lost) >= 0.95 * Double(expected.count)
      do throws(NameError) {
        let r = try CheckpointNames.resolve(shapes: shapes, expected: expected)
        #expect(enough && r.missing.count == lost && r.expectedCount == expected.count)
      } catch {
        guard case .tooFewMatches(let matched, let count, let missing, _) = error else {
          Issue.record("\(error)")
          continue
        }
        #expect(!enough && matched == expected.count - lost && count == expected.count && missing.count == min(8, lost))
      }
    }
  }

  @Test func everyNameIsAccountedForOnce() throws {
    var random = SplitMix64(seed: 3)
    let pieces = ["module", "teacher", "student", "blocks", "0", "12", "00", "attn", "qkv", "weight", "bias", "norm", "head", "mlp", "", "optimizer", "encoder", "layer", "pooler", "é", "99999999999999999999"]
    for _ in 0..<300 {
      var shapes = file(official(blocks: 1))
      for _ in 0..<30 {
        shapes[(0..<Int.random(in: 1...7, using: &random)).map { _ in pieces.randomElement(using: &random)! }.joined(separator: ".")] = [Int.random(in: 0...3, using: &random)]
      }
      let m = try CheckpointNames.map(shapes: shapes)
      let all = m.sources.values.flatMap(\.names) + m.ignored.map(\.name) + m.unmatched
      #expect(all.sorted() == shapes.keys.sorted())
    }
  }

  @Test(.timeLimit(.minutes(1))) func longAndManyNamesCostLittle() {
    var shapes: [String: [Int]] = [:]
    for i in 0..<20_000 { shapes[String(repeating: "module.", count: 40) + "x\(i)" + String(repeating: "y", count: 200)] = [1] }
    #expect(throws: NameError.self) { try CheckpointNames.resolve(shapes: shapes, expected: official(blocks: 200)) }
  }
}
