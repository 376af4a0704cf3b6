// dinoctl inspect for ONNX files: what is declared, what was recognised, what each rule made of the graph, and how it would run.

internal import Dino
internal import DinoModels
internal import Safetensors

struct OnnxReport {
  let summary: OnnxSummary

  func text(listingTensors: Bool) -> String {
    let s = summary
    var lines = ["file          \(s.path): ONNX, \(readable(bytes: s.byteCount))\(s.externalFiles.isEmpty ? "" : ", weights in \(s.externalFiles.joined(separator: ", "))")"]
    func add(_ label: String, _ value: String) { lines.append(label + String(repeating: " ", count: max(1, 14 - label.count)) + value) }
    add("written by", "\(s.producer.isEmpty ? "a program that does not say its name" : s.producer); IR version \(s.irVersion), operator sets \(s.operatorSets.joined(separator: ", "))")
    for input in s.inputs { add("input", "\(input.name) \(input.type)") }
    for output in s.outputs { add("output", "\(output.name) \(output.type)\(s.knownOutputs[output.name].map { ": \($0)" } ?? "")") }
    add("nodes", "\(s.operators.reduce(0) { $0 + $1.count }): " + counts(s.operators) + (s.functions > 0 ? "; \(s.functions) functions" : ""))
    add("weights", "\(s.weights.count) constants, \(readable(bytes: s.weights.bytes))")
    if let k = s.config {
      add("model", "DINO vision transformer: patch \(k.patchSize), width \(k.embedDim), \(k.depth) blocks, \(k.numHeads) heads, \(k.registerTokens > 0 ? "\(k.registerTokens) registers, " : "")\(k.feedForward == .swiglu ? "gated " : "")MLP \(k.mlpHiddenDim)\(k.layerScale ? ", layer scale" : "")\(classes(k))")
    } else if let reason = s.unrecognised {
      add("model", "not recognised as one that converts to a checkpoint: \(reason)")
    }
    if let lookedAt = s.lookedAt, s.importedNodes > 0 {
      add("looked at", "for \(lookedAt): \(s.importedNodes) nodes once shapes and constants are computed")
      for rule in s.rules where rule.matches > 0 { add("  rule", "\(rule.name): \(rule.matches) matches, \(rule.nodesAfter) nodes left") }
      add("runs as", "\(s.coreNodes) nodes on fast kernels" + (s.foreign.isEmpty ? "" : ", \(s.foreign.reduce(0) { $0 + $1.count }) operator by operator: \(counts(s.foreign))"))
    }
    for (key, value) in s.metadata { add("metadata", "\(key) = \(value.prefix(160))\(value.count > 160 ? "…" : "")") }
    if listingTensors {
      lines.append("")
      for tensor in s.tensors { lines.append("  \(tensor.name)  \(tensor.type)") }
    }
    for note in s.notes { add("note", note) }
    for problem in s.problems { add("problem", problem) }
    return lines.map(printable).joined(separator: "\n") + "\n"
  }

  private func classes(_ config: ViTConfig) -> String {
    switch config.head {
    case .classifier(let n)?: ", classifier of \(n) classes"
    case .probe(let p)?: ", classifier of \(p.classes) classes on \(p.text)"
    case .projection?, nil: ""
    }
  }

  private func counts(_ list: [(name: String, count: Int)]) -> String { list.map { "\($0.count) \($0.name)" }.joined(separator: ", ") }

  var json: JSONValue {
    let s = summary
    func values(_ list: [OnnxSummary.Value]) -> JSONValue { .array(list.map { .object([.init("name", .string($0.name)), .init("type", .string($0.type))]) }) }
    func object(_ list: [(name: String, count: Int)]) -> JSONValue { .object(list.map { .init($0.name, .integer($0.count)) }) }
    return .object([
      .init("path", .string(s.path)), .init("format", .string("ONNX model")), .init("bytes", .integer(s.byteCount)), .init("producer", .string(s.producer)),
      .init("ir_version", .integer(s.irVersion)), .init("operator_sets", .array(s.operatorSets.map { .string($0) })), .init("inputs", values(s.inputs)), .init("outputs", values(s.outputs)),
      .init("operators", object(s.operators)), .init("functions", .integer(s.functions)), .init("weights", .integer(s.weights.count)), .init("weight_bytes", .integer(s.weights.bytes)), .init("tensors", values(s.tensors)),
      .init("external_files", .array(s.externalFiles.map { .string($0) })),
      .init("config", s.config.flatMap { try? $0.json() }.flatMap { try? JSONValue.parse($0) } ?? .null), .init("not_recognised_because", s.unrecognised.map { .string($0) } ?? .null),
      .init("known_outputs", .object(s.knownOutputs.sorted { $0.key < $1.key }.map { .init($0.key, .string($0.value)) })),
      .init("looked_at", s.lookedAt.map { .string($0) } ?? .null), .init("imported_nodes", .integer(s.importedNodes)),
      .init("rules", .array(s.rules.map { .object([.init("rule", .string($0.name)), .init("matches", .integer($0.matches)), .init("nodes", .integer($0.nodesAfter))]) })),
      .init("fast_nodes", .integer(s.coreNodes)), .init("foreign_nodes", object(s.foreign)), .init("notes", .array(s.notes.map { .string($0) })), .init("problems", .array(s.problems.map { .string($0) })),
    ])
  }
}
