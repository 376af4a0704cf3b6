// Reads the structure of a recognised graph as a DINO vision transformer: from the patches on, block by block, each tensor named by where it stands. It follows
// values, never names.

internal import DinoGraph
internal import DinoModels
internal import DinoTensor

struct NetworkReader {
  /// A block's numbers that all blocks must share.
  struct Shared: Equatable {
    var heads: Int
    var feedForward: ViTConfig.FeedForward
    var hidden: Int
    var activation: Activation
    var layerScale: Bool
    var qkvBias: Bool
  }

  let graph: Graph
  private let producer: [ValueID: Node]
  private let readers: [ValueID: [Node]]
  private(set) var tensors: [String: Tensor] = [:]
  private(set) var notes: [String] = []
  private(set) var losses: [String] = []
  private(set) var outputs: [String: String] = [:]
  /// What leaves the last norm: of all tokens, of the class token.
  private var lastNormed: [ValueID] = []
  private(set) var depth = 0
  private(set) var shared: Shared?
  private(set) var epsilon: Double?
  private(set) var patch = 0
  private(set) var channels = 0
  private(set) var width = 0
  /// A classifier of the class token, or of other features.
  private(set) var head: ViTConfig.Head?
  /// What leaves each block.
  private var blockOutputs: [ValueID] = []
  /// Positions of this graph's image, [1, S + N, D]; special tokens that have one (the class token) first.
  private(set) var positions: Tensor?
  private(set) var special = 0
  /// What all blocks turn queries and keys by, where positions are rotary.
  private(set) var angles: RotaryAnglesFound?

  init(_ graph: Graph) {
    self.graph = graph
    producer = Dictionary(graph.nodes.flatMap { node in node.outputs.map { ($0, node) } }, uniquingKeysWith: { first, _ in first })
    var readers: [ValueID: [Node]] = [:]
    for node in graph.nodes { for id in Set(node.inputs) { readers[id, default: []].append(node) } }
    self.readers = readers
  }

  /// Only what stands before the first block: enough for the positions of an image size.
  mutating func readEmbedding() throws(RecoveryError) { _ = try embedding() }

  mutating func read() throws(RecoveryError) {
    var x = try embedding()
    while let next = try block(x) {
      x = next
      blockOutputs.append(x)
    }
    guard depth > 0 else { throw RecoveryError("no block of norm, attention and MLP follows the embedding\(found(after: x))\(notRecognised(after: x))") }
    guard (positions == nil) != (angles == nil) else {
      throw RecoveryError(angles == nil ? "no learned positions are added to the tokens, and none turn queries and keys" : "it has learned positions and rotary ones")
    }
    try end(x)
    noteOutputsBeyond()
  }

  // MARK: Pieces

  private func constant(_ id: ValueID) -> Tensor? { graph.constants[id]?.tensor }
  private func core(_ id: ValueID) -> (op: Core, node: Node)? {
    guard let node = producer[id], case .core(let op) = node.op else { return nil }
    return (op, node)
  }

  /// Readers of a value, those that only hand it on as an output left out.
  private func next(_ id: ValueID) -> [Node] { readers[id] ?? [] }

  private func found(after id: ValueID) -> String {
    let names = next(id).map { "'\(printable($0.name))' (\($0.op.name))" }
    return names.isEmpty ? "" : ": after it comes \(names.prefix(3).joined(separator: ", "))"
  }

  /// The first operator behind a value that is computed as the file has it, as the end of a sentence; what only moves elements is looked through, because attention takes it away where it is recognised.
  private func notRecognised(after id: ValueID) -> String {
    var behind: Set<ValueID> = [id]
    for node in graph.nodes where node.inputs.contains(where: behind.contains) {
      behind.formUnion(node.outputs)
      guard case .generic(let op) = node.op else { continue }
      switch op.kind {
      case .layout, .indexing: continue
      default: return "; the first operator that was not recognised is '\(printable(node.name))' (\(op.kind.name))"
      }
    }
    return ""
  }

  private mutating func take(_ name: String, _ id: ValueID) throws(RecoveryError) {
    guard let tensor = constant(id) else { throw RecoveryError("\(name) is not constant in this file") }
    tensors[name] = tensor
  }

  /// A linear's weight as [out, in].
  private func weight(_ node: Node, _ epilogue: LinearEpilogue) throws(RecoveryError) -> Tensor {
    guard let tensor = constant(node.inputs[1]), tensor.shape.rank == 2 else { throw RecoveryError("the weight of '\(printable(node.name))' is not constant in this file") }
    return epilogue.transposedWeight ? tensor.transposedMatrix() : tensor
  }

  private mutating func linear(_ node: Node, _ name: String) throws(RecoveryError) -> LinearEpilogue {
    guard case .core(.linear(let epilogue)) = node.op else { throw RecoveryError("\(name) is no linear layer in this file, but \(node.op.name) '\(printable(node.name))'") }
    tensors[name + ".weight"] = try weight(node, epilogue)
    if let i = epilogue.biasIndex { try take(name + ".bias", node.inputs[i]) }
    return epilogue
  }

  private mutating func norm(_ node: Node, _ name: String) throws(RecoveryError) {
    guard case .core(.layerNorm(let value)) = node.op else { throw RecoveryError("\(name) is no layer norm in this file, but \(node.op.name)") }
    // An attribute is a 32-bit float: its shortest spelling is what was meant.
    let epsilon = Double("\(Float(value))") ?? value
    if let first = self.epsilon, first != epsilon { throw RecoveryError("\(name) has the epsilon \(epsilon), and the norms before it \(first)") }
    self.epsilon = epsilon
    try take(name + ".weight", node.inputs[1])
    try take(name + ".bias", node.inputs[2])
  }

  // MARK: Embedding

  private mutating func embedding() throws(RecoveryError) -> ValueID {
    let images = Set(graph.inputs.map(\.value))
    guard let start = graph.nodes.first(where: { node in
      if case .core(.patchEmbedding) = node.op { return images.contains(node.inputs[0]) }
      return false
    }), case .core(.patchEmbedding(let patch)) = start.op, let weight = constant(start.inputs[1]) else {
      throw RecoveryError("no patch embedding of the input image was recognised")
    }
    self.patch = patch
    (width, channels) = (weight.shape[0], weight.shape[1])
    try take("patch_embed.proj.weight", start.inputs[1])
    try take("patch_embed.proj.bias", start.inputs[2])
    var x = start.output, added: ValueID?
    for _ in 0..<2 {
      if let node = next(x).first(where: { if case .core(.prependTokens) = $0.op { true } else { false } }), node.inputs[1] == x {
        guard special == 0, let tokens = constant(node.inputs[0]) else { throw RecoveryError("the tokens before the patches are not constant in this file") }
        special = tokens.shape[1]
        // Positions that were added to the patches alone: the class token has none.
        tensors["cls_token"] = special == 1 ? tokens : tokens.rows(0..<1)
        if special > 1 { tensors["register_tokens"] = tokens.rows(1..<special) }
        x = node.output
      } else if added == nil, let node = next(x).first(where: \.isAdd), let id = node.inputs.first(where: { constant($0)?.shape.rank == 3 }) {
        added = id
        positionsWithoutSpecial = special == 0
        positions = constant(id)
        x = node.output
      } else {
        break
      }
    }
    guard special > 0 else { throw RecoveryError("no class token is put before the patches\(found(after: x))") }
    // Rotary positions are each block's.
    guard added != nil else { return x }
    guard special == 1 || positionsWithoutSpecial else { throw RecoveryError("its \(special) tokens before the patches have positions, and registers have none in a checkpoint") }
    special = 1
    return try registers(x) ?? x
  }

  /// The tokens with registers behind the class token, where they are put there after positions were added; nil where they are not.
  private mutating func registers(_ x: ValueID) throws(RecoveryError) -> ValueID? {
    guard let cls = next(x).first(where: { if case .core(.sliceTokens(0, 1?)) = $0.op { true } else { false } }), let all = next(cls.output).first, case .generic(let op) = all.op,
      op.kind == .layout(.concat), all.inputs.count == 3, all.inputs[0] == cls.output, let (rest, node) = core(all.inputs[2]), case .sliceTokens(1, _) = rest, node.inputs[0] == x
    else { return nil }
    guard registers == 0, let tokens = constant(all.inputs[1]), let (values, count) = RecogniseTokens.sharedTokens(tokens, width: width) else {
      throw RecoveryError("the tokens behind the class token are not constant in this file, or not the same for all images")
    }
    tensors["register_tokens"] = Tensor(values, shape: [1, count, width])
    return all.output
  }
  var registers: Int { tensors["register_tokens"]?.shape[1] ?? 0 }
  /// Whether positions are added to the patches before the class token is there.
  private(set) var positionsWithoutSpecial = false

  // MARK: Blocks

  /// Reads the block that begins at x and gives its end; nil where none begins.
  private mutating func block(_ x: ValueID) throws(RecoveryError) -> ValueID? {
    guard let (norm1, mixed, qkv, turns) = attention(x) else { return nil }
    let name = "blocks.\(depth)"
    try norm(norm1, "\(name).norm1")
    guard case .core(.attention(let heads, let scale, queries: nil)) = mixed.op else { return nil }
    let headWidth = Double(width / heads)
    guard abs(scale * headWidth.squareRoot() - 1) < 1e-4 else { throw RecoveryError("\(name) scales its attention by \(scale) and not by 1/√\(Int(headWidth))") }
    let turned = try turning(turns, parts: qkv.count, name)
    if depth > 0, turned != angles { throw RecoveryError("\(name) turns queries and keys otherwise than the blocks before it") }
    angles = turned
    let qkvBias = try joined(qkv, "\(name).attn.qkv")
    let (scaled1, middle) = try branch(mixed.output, onto: x, "\(name).attn.proj", "\(name).ls1")
    guard let norm2 = next(middle).first(where: { if case .core(.layerNorm) = $0.op { true } else { false } }), let fed = feedForward(norm2.output)
    else { throw RecoveryError("\(name) has no MLP of two linear layers with an activation or a gate between them\(found(after: middle))") }
    try norm(norm2, "\(name).norm2")
    let first = "\(name).mlp.\(fed.kind == .mlp ? "fc1" : "w12")", second = "\(name).mlp.\(fed.kind == .mlp ? "fc2" : "w3")"
    for node in fed.layers { _ = try linear(node, first) }
    if fed.layers.count == 2 { try join(fed.layers, first) }
    let (scaled2, out) = try branch(fed.result, onto: middle, second, "\(name).ls2")
    guard scaled1 == scaled2 else { throw RecoveryError("\(name) scales only one of its two branches") }
    guard let rows = tensors[first + ".weight"]?.shape[0], tensors[first + ".bias"] != nil, tensors[second + ".bias"] != nil, tensors["\(name).attn.proj.bias"] != nil
    else { throw RecoveryError("\(name) has linear layers without a bias") }
    let found = Shared(heads: heads, feedForward: fed.kind, hidden: fed.kind == .mlp ? rows : rows / 2, activation: fed.activation, layerScale: scaled1, qkvBias: qkvBias)
    if let first = shared, first != found { throw RecoveryError("\(name) is built otherwise than the blocks before it") }
    shared = found
    depth += 1
    return out
  }

  /// What reads a block's second norm: one layer and its activation or gate; or two layers, of which one is activated and multiplied by the other. `result` is what the last layer reads.
  private func feedForward(_ x: ValueID) -> (kind: ViTConfig.FeedForward, layers: [Node], activation: Activation, result: ValueID)? {
    for first in next(x) {
      guard let activated = next(first.output).first, case .core(let op) = activated.op else { continue }
      if case .gate(let f) = op { return (.swiglu, [first], f, activated.output) }
      guard case .activation(let f) = op else { continue }
      guard let product = next(activated.output).first, case .core(.multiply) = product.op else { return (.mlp, [first], f, activated.output) }
      guard let other = product.inputs.first(where: { $0 != activated.output }), let second = core(other)?.node, second.inputs[0] == x else { return nil }
      return (.swiglu, [first, second], f, product.output)
    }
    return nil
  }

  /// A gate and what it opens as one linear layer.
  private mutating func join(_ layers: [Node], _ name: String) throws(RecoveryError) {
    var weights: [Tensor] = [], biases: [Tensor] = []
    for node in layers {
      guard case .core(.linear(let epilogue)) = node.op else { throw RecoveryError("\(name) is no linear layer in this file") }
      weights.append(try weight(node, epilogue))
      guard let bias = epilogue.biasIndex.flatMap({ constant(node.inputs[$0]) }) else { throw RecoveryError("\(name) is a linear layer without a bias") }
      biases.append(bias)
    }
    guard weights[0].shape == weights[1].shape, weights[0].dtype == weights[1].dtype, biases[0].shape == biases[1].shape, biases[0].dtype == biases[1].dtype else {
      throw RecoveryError("\(name) is of two layers that are not alike")
    }
    (tensors[name + ".weight"], tensors[name + ".bias"]) = (Tensor.stacked(weights), Tensor.stacked(biases))
  }

  /// The norm, the attention, the linear layers between them, and what turns each one's result.
  private func attention(_ x: ValueID) -> (norm: Node, attention: Node, qkv: [Node], turns: [Node?])? {
    for node in next(x) {
      guard case .core(.layerNorm) = node.op else { continue }
      let readers = next(node.output).flatMap { next($0.output) }
      for reader in readers + readers.filter({ rotaryColumns($0) != nil }).flatMap({ next($0.output) }) {
        guard case .core(.attention) = reader.op else { continue }
        let turns = reader.inputs.map { id in producer[id].flatMap { rotaryColumns($0) == nil ? nil : $0 } }
        let linears = zip(reader.inputs, turns).compactMap { id, turn in core(turn?.inputs[0] ?? id)?.node }
        guard linears.count == reader.inputs.count, linears.allSatisfy({ if case .core(.linear) = $0.op { $0.inputs[0] == node.output } else { false } }) else { continue }
        return (node, reader, linears, turns)
      }
    }
    return nil
  }

  private func rotaryColumns(_ node: Node) -> Int? {
    guard case .core(.rotary(let columns, transposed: false)) = node.op else { return nil }
    return columns
  }

  /// What queries and keys are turned by, the same for both; nil where nothing is turned.
  private func turning(_ turns: [Node?], parts: Int, _ name: String) throws(RecoveryError) -> RotaryAnglesFound? {
    let found = turns.compactMap { $0 }
    if found.isEmpty { return nil }
    let isWhole = parts == 1 && rotaryColumns(found[0]) == 2 * width, isApart = parts == 3 && found.count == 2 && turns[2] == nil && found.allSatisfy { rotaryColumns($0) == width }
    guard isWhole || isApart else { throw RecoveryError("\(name) turns others than its queries and keys") }
    var result: RotaryAnglesFound?
    for node in found {
      guard let cos = constant(node.inputs[1]), let sin = constant(node.inputs[2]) else { throw RecoveryError("what \(name) turns queries and keys by is not constant") }
      let angles = RotaryAnglesFound(cos: cos.floats(), sin: sin.floats(), headWidth: cos.shape[1])
      guard result == nil || result == angles else { throw RecoveryError("\(name) turns its keys otherwise than its queries") }
      result = angles
    }
    return result
  }

  /// q, k, v as one linear layer. True where it has a bias.
  private mutating func joined(_ parts: [Node], _ name: String) throws(RecoveryError) -> Bool {
    var weights: [Tensor] = [], biases: [Tensor?] = []
    for node in parts {
      guard case .core(.linear(let epilogue)) = node.op else { throw RecoveryError("\(name) is no linear layer in this file") }
      weights.append(try weight(node, epilogue))
      biases.append(epilogue.biasIndex.flatMap { constant(node.inputs[$0]) })
    }
    tensors[name + ".weight"] = weights.count == 1 ? weights[0] : Tensor.stacked(weights)
    if biases.allSatisfy({ $0 == nil }) { return false }
    // Keys of DINOv3 have no bias, or one of zeros.
    if biases.contains(where: { $0 == nil }), angles == nil || biases.count != 3 || biases[0] == nil || biases[2] == nil { notes.append("\(name) has a bias for some of q, k, v only; the others get zeros") }
    let width = self.width
    let full = zip(biases, weights).map { bias, weight in bias ?? Tensor([Float](repeating: 0, count: weight.shape[0]), shape: [weight.shape[0]]) }
    guard full.allSatisfy({ $0.dtype == full[0].dtype }), weights.reduce(0, { $0 + $1.shape[0] }) == 3 * width else { throw RecoveryError("\(name) is not three times as wide as the tokens") }
    tensors[name + ".bias"] = full.count == 1 ? full[0] : Tensor.stacked(full)
    return true
  }

  /// The linear layer at the end of a branch, its scale, and the sum with x. True where there is a scale.
  private mutating func branch(_ value: ValueID, onto x: ValueID, _ name: String, _ scale: String) throws(RecoveryError) -> (Bool, ValueID) {
    guard let projection = next(value).first else { throw RecoveryError("\(name) is not in this file") }
    _ = try linear(projection, name)
    var end = projection.output, scaled = false
    if let node = next(end).first, case .core(.multiply) = node.op, let gamma = node.inputs.first(where: { constant($0) != nil }) {
      guard let tensor = constant(gamma), tensor.count == width else { throw RecoveryError("\(scale) does not hold a factor for each column") }
      tensors[scale + ".gamma"] = tensor.reshaped([width])
      end = node.output
      scaled = true
    }
    guard let sum = next(end).first(where: \.isAdd), sum.inputs.contains(x) else { throw RecoveryError("the result of \(name) is not added to what the branch began with\(found(after: end))") }
    return (scaled, sum.output)
  }

  // MARK: End

  /// The last norm, before or after a token is taken out, and a classifier.
  private mutating func end(_ x: ValueID) throws(RecoveryError) {
    var last: Node?, cls: ValueID?, normed: [ValueID] = []
    for node in next(x) {
      if case .core(.layerNorm) = node.op {
        last = node
        normed.append(node.output)
        output(node.output, "tokens")
        for reader in next(node.output) { if case .core(.selectToken(0)) = reader.op { cls = reader.output } }
      } else if case .core(.selectToken(0)) = node.op, let norm = next(node.output).first, case .core(.layerNorm) = norm.op {
        last = last ?? norm
        normed.append(norm.output)
        cls = norm.output
      }
    }
    guard let last else { throw RecoveryError("after block \(depth - 1) comes no norm\(found(after: x)); the file ends before the network does") }
    let after = reached(from: normed), beside = reached(from: [x], without: Set(normed))
    guard !graph.nodes.contains(where: { joins($0, after, beside) || mixes($0, after) }) else {
      throw RecoveryError("after block \(depth - 1) comes neither a block that is known nor the end of the network\(found(after: x))")
    }
    try norm(last, "norm")
    lastNormed = normed
    if let cls { output(cls, "cls") }
    for output in graph.outputs where head == nil && after.contains(output.value) { try classifier(output.value) }
  }

  /// A classifier that gives a value: of the class token alone, or of the features of a probe, side by side before one linear layer or a sum of linear layers.
  private mutating func classifier(_ value: ValueID) throws(RecoveryError) {
    guard let (features, weights, bias) = try summands(value), let classes = weights.first?.shape[0], let bias, bias.count == classes else { return }
    var parts: [ViTConfig.Probe.Part] = []
    for id in features {
      guard let part = part(id) else { return }
      parts.append(part)
    }
    let columns = features.count * width
    guard weights.allSatisfy({ $0.shape[0] == classes }), weights.reduce(0, { $0 + $1.shape[1] }) == columns else { return }
    let blocks = Set(parts.map(\.block)).count
    guard let tokens = ViTConfig.Probe.Tokens.allCases.first(where: { ViTConfig.Probe(classes: classes, tokens: $0, layers: blocks).parts(depth: depth) == parts }) else { return }
    let isHead = parts == [.init(block: depth - 1, isMean: false)], prefix = isHead ? "head" : "probe"
    head = isHead ? .classifier(classes: classes) : .probe(.init(classes: classes, tokens: tokens, layers: blocks))
    tensors[prefix + ".weight"] = weights.count == 1 ? weights[0] : Tensor.besideEachOther(weights)
    tensors[prefix + ".bias"] = bias.reshaped([classes])
    output(value, "logits")
  }

  /// What linear layers read whose sum is a value, their weights [out, in] in the same order, and the one bias; nil where it is no such sum.
  private func summands(_ value: ValueID) throws(RecoveryError) -> (features: [ValueID], weights: [Tensor], bias: Tensor?)? {
    var features: [ValueID] = [], weights: [Tensor] = [], biases: [Tensor] = [], open = [value]
    while let id = open.popLast() {
      // Two of each block at most; a hostile file may add a value to itself again and again.
      guard features.count + open.count < 2 * depth, let (op, node) = core(id) else { return nil }
      switch op {
      case .add: open += [node.inputs[1], node.inputs[0]]
      case .linear(let epilogue):
        guard constant(node.inputs[1]) != nil, epilogue.activation == nil, !epilogue.scale, !epilogue.residual, epilogue.integers == nil else { return nil }
        features += sideBySide(node.inputs[0])
        weights.append(try weight(node, epilogue))
        if let i = epilogue.biasIndex, let bias = constant(node.inputs[i]) { biases.append(bias) }
      default: return nil
      }
    }
    return biases.count > 1 ? nil : (features, weights, biases.first)
  }

  /// The values of which rows are put together.
  private func sideBySide(_ value: ValueID) -> [ValueID] {
    guard let node = producer[value], case .generic(let op) = node.op, op.kind == .layout(.concat), op.int("axis") == 1 || op.int("axis") == -1 else { return [value] }
    return node.inputs
  }

  /// The class token of a block after the last norm, or the mean of its patch tokens; nil where a value is neither.
  private func part(_ value: ValueID) -> ViTConfig.Probe.Part? {
    guard let (op, node) = core(value) else { return nil }
    switch op {
    case .selectToken(index: 0): return block(ofNormed: node.inputs[0]).map { .init(block: $0, isMean: false) }
    case .layerNorm:
      // The token was taken out before the norm.
      guard let (selected, inner) = core(node.inputs[0]), case .selectToken(index: 0) = selected, isLastNorm(node) else { return nil }
      return blockOutputs.firstIndex(of: inner.inputs[0]).map { .init(block: $0, isMean: false) }
    case .meanTokens:
      guard let (slice, inner) = core(node.inputs[0]), case .sliceTokens(start: 1 + registers, _) = slice else { return nil }
      return block(ofNormed: inner.inputs[0]).map { .init(block: $0, isMean: true) }
    default: return nil
    }
  }

  /// The block whose tokens a value is, after the last norm.
  private func block(ofNormed value: ValueID) -> Int? {
    guard let (op, node) = core(value), case .layerNorm = op, isLastNorm(node) else { return nil }
    return blockOutputs.firstIndex(of: node.inputs[0])
  }

  /// Whether a node is the last norm, on whatever it may be.
  private func isLastNorm(_ node: Node) -> Bool {
    ["norm.weight": 1, "norm.bias": 2].allSatisfy { name, i in constant(node.inputs[i]).map { $0.floats().map(\.bitPattern) == tensors[name]?.floats().map(\.bitPattern) } == true }
  }

  /// These values and all that are computed from them, without some values and what is computed from those alone.
  private func reached(from start: [ValueID], without left: Set<ValueID> = []) -> Set<ValueID> {
    var reached = Set(start), open = start
    while let id = open.popLast() {
      for result in next(id).flatMap(\.outputs) where !left.contains(result) && reached.insert(result).inserted { open.append(result) }
    }
    return reached
  }

  /// Whether a node adds what comes `after` a norm to what passes `beside` it, as a block ends: then that norm is a block's first and not the last. Outputs that only stand beside each
  /// other, or are compared, may well be of both.
  private func joins(_ node: Node, _ after: Set<ValueID>, _ beside: Set<ValueID>) -> Bool {
    guard node.isSum, node.inputs.contains(where: { after.contains($0) }) else { return false }
    return node.inputs.contains { beside.contains($0) && !after.contains($0) }
  }

  /// Whether a node compares or weights tokens by each other, as attention does: where `values` come after a norm, that norm is a block's first and not the last. A product whose
  /// results are normed nowhere is no attention's: similarities of features.
  private func mixes(_ node: Node, _ values: Set<ValueID>) -> Bool {
    let count = node.inputs.count { values.contains($0) }
    switch node.op {
    case .core(.attention), .core(.attentionWeights): return count > 0
    case .core: return false
    case .generic(let op):
      switch op.kind {
      case .attention: return count > 0
      case .product: return count > 1 && leadsToNorm(node)
      default: return false
      }
    }
  }

  private func leadsToNorm(_ node: Node) -> Bool {
    let results = reached(from: node.outputs)
    return graph.nodes.contains { reader in reader.isNorm && reader.inputs.contains { results.contains($0) } }
  }

  /// Names the outputs that come after the last norm by layers that a checkpoint has no place for: pooling, heads of other kinds. Where the file has no others, they are lost.
  private mutating func noteOutputsBeyond() {
    let beyond = reached(from: lastNormed), known = Set(outputs.values)
    for output in graph.outputs where beyond.contains(output.value) && !known.contains(output.name) {
      let sentence = "the output '\(printable(output.name))' is computed after the last norm by layers that a checkpoint has no place for; they are left out"
      if known.isEmpty { losses.append(sentence) } else { notes.append(sentence) }
    }
  }

  private mutating func output(_ id: ValueID, _ name: String) {
    for output in graph.outputs where output.value == id { outputs[name] = output.name }
  }
}

extension Node {
  /// A sum, alone or with what follows it in one operator.
  fileprivate var isSum: Bool {
    guard case .generic(let op) = op else { return isAdd }
    switch op.kind {
    case .arithmetic(.add), .arithmetic(.sum), .normalization(.skipLayer), .normalization(.skipSimplifiedLayer), .quantization(.linearAdd): return true
    default: return false
    }
  }

  /// A norm of any kind, softmax among them.
  fileprivate var isNorm: Bool {
    switch op {
    case .core(.layerNorm), .core(.softmax): return true
    case .core: return false
    case .generic(let op):
      switch op.kind {
      case .normalization, .quantization(.linearSoftmax): return true
      default: return false
      }
    }
  }
}
