// How int8 and bf16 plans are made: runs of operators that work row by row (linear layers, norms, and attention before them) become chains. What has no such form is
// lowered as in f32. Nothing here computes; ChainStep.swift runs it.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

extension Compiler {
  /// Lowers the chain that begins at node `index` and returns whether it did; false where none begins there. Nodes of a training step may be taken ahead of others that
  /// stand between them and only make gradients of parameters.
  mutating func chain(at index: Int, flops: [Int]) throws -> Bool {
    guard store.precision != .f32, let (images, rows) = Self.rows(shapes[graph.nodes[index].output]!) else { return false }
    var chosen: [Int] = []
    var produced: Set<ValueID> = [], passed: Set<ValueID> = []
    for i in index..<graph.nodes.count where !lowered.contains(i) {
      let node = graph.nodes[i]
      if !node.inputs.contains(where: { passed.contains($0) }), isChainable(node, first: chosen.isEmpty, produced, images: images, rows: rows) {
        chosen.append(i)
        produced.insert(node.output)
      } else if !chosen.isEmpty, isParameterGradient(node, passed) {
        passed.insert(node.output)
      } else {
        break
      }
    }
    // In a training step rows alone are not worth a chain; attention may have nothing but words to read.
    guard !chosen.isEmpty, live.isEmpty || chosen.contains(where: { i in
      switch graph.nodes[i].op {
      case .core(.linear): true
      case .core(.attention): heads[graph.nodes[i].inputs[0]] != nil
      default: false
      }
    }) else { return false }
    lowered.formUnion(chosen)
    var builder = ChainBuilder(blocks: RowBlocks(images: images, rows: rows, threads: threads, most: store.table.c.pointee.chain_rows), inside: Set(chosen))
    for i in chosen where !builder.gated.contains(i) {
      let node = graph.nodes[i]
      guard case .core(let core) = node.op else { continue }
      builder.flops = Double(flops[i])
      switch core {
      case .layerNorm(let epsilon): try chainNorm(node, epsilon: epsilon, &builder)
      case .linear(let epilogue): try chainLinear(node, epilogue, &builder)
      case .rotary: break // its linear layer's operation turns what it makes
      case .attention(let heads, let scale, let queries): try chainAttention(node, heads: heads, scale: scale, queries: queries, &builder)
      case .activation(let a): try chainRows(node, .activation(code(a)), &builder)
      case .gate(let a): try chainRows(node, .gate(gate(a)), &builder)
      case .add: try chainRows(node, .add, &builder)
      case .training(.activationGradient(let a)): try chainRows(node, .activationGradient(code(a)), &builder)
      case .training(.gateGradient(let a)): try chainRows(node, .gateGradient(code(a)), &builder)
      case .training(.layerNormGradient(let epsilon)): try chainRows(node, .layerNormGradient(Float(epsilon)), &builder)
      default: preconditionFailure("not a part of chains: \(node.name)")
      }
    }
    finish(builder, name: graph.nodes[index].name + (chosen.count > 1 ? " … " + graph.nodes[chosen[chosen.count - 1]].name : ""),
           flops: chosen.reduce(0.0) { $0 + Double(flops[$1]) })
    return true
  }

  /// The product of a patch embedding on rows of patches.
  mutating func chainPatches(_ node: Node, patches: Int, flops: Double) throws {
    let out = shapes[node.output]!
    var builder = ChainBuilder(blocks: RowBlocks(images: out[0], rows: out[1], threads: threads, most: store.table.c.pointee.chain_rows), inside: [])
    builder.flops = flops
    let layout = buffers[patches].layout
    let x = words(node.name, of: .arena(.buffer(patches), layout.stride), columns: layout.columns, &builder)
    try product(node, x: x, weight: node.inputs[1], factors: nil, bias: node.inputs.count > 2 ? 2 : nil, scale: nil, residual: nil, activation: nil, &builder)
    finish(builder, name: node.name, flops: flops)
  }

  private static func rows(_ shape: Shape) -> (images: Int, rows: Int)? {
    switch shape.rank {
    case 3: (shape[0], shape[1])
    case 2: (1, shape[0])
    default: nil
    }
  }

  private func isChainable(_ node: Node, first: Bool, _ produced: Set<ValueID>, images: Int, rows: Int) -> Bool {
    guard case .core(let core) = node.op, let r = Self.rows(shapes[node.output]!), r == (images, rows), images * rows > 0, constants[node.output] == nil, sinks[node.output] == nil else { return false }
    func isKnown(_ id: ValueID) -> Bool { constants[id] != nil || live.contains(id) }
    switch core {
    case .layerNorm: return constants[node.inputs[0]] == nil && isKnown(node.inputs[1]) && isKnown(node.inputs[2])
    case .linear(let epilogue):
      let weight = node.inputs[1]
      return epilogue.integers == nil && constants[node.inputs[0]] == nil && (live.contains(weight) || !epilogue.transposedWeight && constants[weight] != nil)
        && !keptInF32.contains(node.output) && !keptWeights.contains(weight)
    case .rotary: return produced.contains(node.inputs[0]) && turn(of: node.inputs[0]) != nil
    case .attention: return first || node.inputs.allSatisfy { !produced.contains($0) && (placed[$0] != nil || heads[$0] != nil) }
    case .gate: return constants[node.inputs[0]] == nil
    // What training has between linear layers.
    case .activation: return !live.isEmpty
    case .add: return !live.isEmpty && node.inputs.allSatisfy { shapes[$0] == shapes[node.output] }
    case .training(.activationGradient), .training(.gateGradient): return true
    case .training(.layerNormGradient): return isKnown(node.inputs[2])
    default: return false
    }
  }

  /// Whether a node's result leads to gradients of parameters alone, as far as what was `passed` over tells.
  private func isParameterGradient(_ node: Node, _ passed: Set<ValueID>) -> Bool {
    switch node.op {
    case .core(.training(.weightGradient)), .core(.training(.patchWeightGradient)), .core(.training(.sumTo)), .core(.training(.layerNormWeightGradient)): true
    case .core(.add): node.inputs.contains { passed.contains($0) }
    default: false
    }
  }

  // MARK: Operations

  private mutating func chainRows(_ node: Node, _ function: ChainRowFunction.Function, _ b: inout ChainBuilder) throws {
    let x = try source(node.inputs[0], b), other = node.inputs.count > 1 ? try source(node.inputs[1], b) : x
    var columns = shapes[node.output]![-1], weight: UnsafePointer<Float>?, inPlace: ChainPlace?
    switch function {
    case .layerNormGradient: weight = try vector(node.inputs[2], node)
    case .gateGradient: columns /= 2
    // What nobody else reads becomes its own first half: rows of it are in the nearest cache then.
    case .gate: if case .scratch = x, readers(of: node.inputs[0]).count == 1, isInside(node.output, b) { inPlace = x }
    case .activation, .add, .activationGradient: break
    }
    let y = inPlace ?? destination(node.output, &b)
    b.add(node.name, [x, other, y]) { r in .rows(ChainRowFunction(function: function, a: r.rows(x), b: r.rows(other), weight: weight, y: r.rows(y), columns: columns)) }
    b.values[node.output] = y
  }

  private mutating func chainNorm(_ node: Node, epsilon: Double, _ b: inout ChainBuilder) throws {
    let columns = shapes[node.output]![-1]
    let x = try source(node.inputs[0], b)
    // Linear layers of the same chain read the words; everyone else f32.
    let readers = readers(of: node.output)
    let quantizedReaders = readers.filter { b.inside.contains($0) && isPlainInput(of: graph.nodes[$0], node.output) }
    let wantsFloats = readers.count > quantizedReaders.count || isOutput(node.output)
    var weight = try vector(node.inputs[1], node), bias = try vector(node.inputs[2], node)
    var factors: [Float]?
    let consumers = quantizedReaders.map { graph.nodes[$0].inputs[1] }
    // Where the weights are integers already, whoever made them has folded what there was to fold.
    if store.precision == .int8, !wantsFloats, !consumers.isEmpty, consumers.allSatisfy({ graph.constants[$0]?.scales == nil }) {
      let balance = try store.balance(weight: node.inputs[1], bias: node.inputs[2], consumers: consumers, graph: constants)
      weight = UnsafePointer(balance.weight.pointer)
      bias = UnsafePointer(balance.bias.pointer)
      factors = balance.factors
    }
    let y: ChainPlace
    if wantsFloats { y = destination(node.output, &b) } else { y = .scratch(b.scratch(words: columns + 16), 0) }
    let w = quantizedReaders.isEmpty ? nil : newWords(columns: columns, &b)
    let kernel = normKernel
    b.add(node.name, [x, y] + (w.map { [$0.rows, .scratch($0.scales, 0)] } ?? [])) { r in
      .norm(ChainNorm(kernel: kernel, x: r.rows(x), weight: weight, bias: bias, epsilon: Float(epsilon), y: r.rows(y), words: w.map { r.words($0) }, columns: columns))
    }
    b.values[node.output] = wantsFloats ? y : nil
    if let w { b.quantized[node.output] = (w, factors) }
  }

  private mutating func chainLinear(_ node: Node, _ e: LinearEpilogue, _ b: inout ChainBuilder) throws {
    let x = node.inputs[0]
    let found: (words: ChainWordsPlace, factors: [Float]?)
    if let w = b.quantized[x] {
      found = w
    } else {
      found = (words(node.name, of: try source(x, b), columns: shapes[x]![-1], &b), nil)
      b.quantized[x] = found
    }
    try product(node, x: found.words, weight: node.inputs[1], transposed: e.transposedWeight, factors: found.factors, bias: e.biasIndex, scale: e.scaleIndex, residual: e.residualIndex,
                activation: e.activation, &b)
  }

  private mutating func words(_ name: String, of x: ChainPlace, columns: Int, _ b: inout ChainBuilder) -> ChainWordsPlace {
    let w = newWords(columns: columns, &b), kernel = wordsKernel
    b.add(name + ".words", [x, w.rows, .scratch(w.scales, 0)]) { r in .words(ChainWords(kernel: kernel, x: r.rows(x), words: r.words(w), columns: columns)) }
    return w
  }

  private mutating func product(_ node: Node, x: ChainWordsPlace, weight id: ValueID, transposed: Bool = false, factors: [Float]?, bias: Int?, scale: Int?, residual: Int?, activation: Activation?,
                                _ b: inout ChainBuilder) throws {
    let shape = shapes[id]!, columns = shape[transposed ? 1 : 0], depth = shape.count / max(columns, 1)
    let panels: (ChainResolver) -> (base: UnsafeRawPointer, bytes: Int, scales: UnsafePointer<Float>?)
    if live.contains(id) {
      let packed = try packedEachRun(id, transposed: transposed, form: .rounded, name: node.name)
      b.reads.append(.buffer(packed))
      panels = { r in
        let block = r.resolver(.buffer(packed))
        return (UnsafeRawPointer(block.fixed!), block.layout.stride * 4, nil)
      }
    } else if store.precision == .int8 {
      let w = try store.int8(id, constants[id]!, scales: graph.constants[id]?.scales, outFeatures: columns, factors: factors)
      panels = { _ in (w.packed.base, w.packed.panelBytes, w.scales) }
    } else {
      let w = try store.bf16(id, constants[id]!, outFeatures: columns)
      panels = { _ in (w.base, w.panelBytes, nil) }
    }
    let biasPointer = try bias.map { try vector(node.inputs[$0], node) }
    let scalePointer = try scale.map { try vector(node.inputs[$0], node) }
    let add = try residual.map { try source(node.inputs[$0], b) }
    let kernel = productKernel, act = code(activation)
    // Queries, keys and values that only attention reads leave the chain quantized, those with rotary positions turned before.
    let turn = turn(of: node.output).flatMap { b.inside.contains($0) ? graph.nodes[$0] : nil }, made = turn?.output ?? node.output
    let toHeads = headsShape(made), heads = toHeads.map { newHeads(of: made, heads: $0.heads, &b) }
    let angles = try turn.map { RotaryAngleTable(cos: try vector($0.inputs[1], $0), sin: try vector($0.inputs[2], $0), headWidth: shapes[$0.inputs[1]]![1]) }
    let gateNode = add == nil ? self.gateNode(reading: node.output, b) : nil, gate = gateNode.map { self.gate($0.activation) }
    let y: ChainPlace?, group: Int
    var out: ChainPlace?
    // What only the next layers multiply leaves the product as their words. (Integers need the whole row first.)
    var direct: ChainWordsPlace?
    if let gateNode {
      group = ChainGated.group(panelColumns: panelColumns)
      let stride = b.stride(2 * group), made = destination(gateNode.output, &b)
      (y, out) = (.scratch(b.scratch(words: b.blocks.mostRows * stride), stride), made)
      b.gated.insert(gateNode.position)
      b.values[gateNode.output] = made
    } else if store.precision == .bf16, isOnlyMultiplied(node.output, b) {
      (y, group) = (nil, 0)
      direct = newWords(columns: columns, &b)
    } else if let heads, toHeads?.alone == true {
      group = ChainHeads.group(heads: heads.heads, headWidth: heads.headWidth, panelColumns: panelColumns)
      let stride = b.stride(3 * group * heads.headWidth)
      y = .scratch(b.scratch(words: b.blocks.mostRows * stride), stride)
    } else {
      group = heads?.heads ?? 0
      y = destination(made, &b)
    }
    let position = b.panels.count, panelColumns = panelColumns, headKernel = headKernels?.heads
    b.panels.append { panels($0).0 }
    b.add(node.name, flops: b.flops, [x.rows, .scratch(x.scales, 0)] + [y, direct?.rows, add, out].compactMap { $0 }) { r in
      let (base, bytes, scales) = panels(r)
      let product = ChainLinear(kernel: kernel, x: r.words(x), y: y.map { r.rows($0) }, words: direct.map { r.rows($0.rows) }, panels: base, panelBytes: bytes, panelColumns: panelColumns, next: r.panels(after: position),
                                depth: depth, columns: columns, weightScales: scales, bias: biasPointer, scale: scalePointer, residual: add.map { r.rows($0) }, activation: act)
      if let out, let gate { return .gated(ChainGated(product: product, y: product.y!, gate: gate, out: r.rows(out), group: group)) }
      return heads.map { .heads(ChainHeads(product: product, angles: angles, y: product.y!, kernel: headKernel!, out: r.heads($0), group: group)) } ?? .linear(product)
    }
    b.values[made] = gateNode == nil ? y : nil
    if let direct { b.quantized[node.output] = (direct, nil) }
  }

  /// Whether all that read a value are linear layers of the chain that multiply it.
  private func isOnlyMultiplied(_ id: ValueID, _ b: ChainBuilder) -> Bool {
    let readers = readers(of: id)
    return !readers.isEmpty && !isOutput(id) && readers.allSatisfy { b.inside.contains($0) && isPlainInput(of: graph.nodes[$0], id) }
  }

  /// The gate that alone reads a value, where it is in the chain and its second half begins with a panel.
  private func gateNode(reading id: ValueID, _ b: ChainBuilder) -> (position: Int, activation: Activation, output: ValueID)? {
    let readers = readers(of: id)
    guard readers.count == 1, b.inside.contains(readers[0]), !isOutput(id), case .core(.gate(let activation)) = graph.nodes[readers[0]].op, shapes[id]![-1] / 2 % panelColumns == 0 else { return nil }
    return (readers[0], activation, graph.nodes[readers[0]].output)
  }

  /// The number of heads, where readers of a value are attention nodes that take q, k and v from it and run on words; and whether nobody wants it in f32 as well, as
  /// attention's gradient does.
  private func headsShape(_ id: ValueID) -> (heads: Int, alone: Bool)? {
    guard headKernels != nil, shapes[id]!.rank == 3, !isOutput(id), !keptInF32.contains(id) else { return nil }
    var found: Int?, alone = true
    for i in readers(of: id) {
      switch graph.nodes[i].op {
      case .core(.attention(let heads, _, _)):
        guard graph.nodes[i].inputs.count == 1, found == nil || found == heads else { return nil }
        found = heads
      case .core(.training): alone = false
      default: return nil
      }
    }
    return found.map { ($0, alone) }
  }

  /// The node of rotary positions that alone reads a linear layer's result and can be that layer's last operation: on its queries and keys, for attention on words. (The backward
  /// part needs what is turned, not what was before.)
  private func turn(of id: ValueID) -> Int? {
    guard !isOutput(id), !keptInF32.contains(id), case let found = readers(of: id), found.count == 1 else { return nil }
    let node = graph.nodes[found[0]]
    guard case .core(.rotary(let columns, transposed: false)) = node.op, node.inputs[0] == id, constants[node.inputs[1]] != nil, constants[node.inputs[2]] != nil,
          let heads = headsShape(node.output)?.heads, case let width = shapes[id]![2], columns == width / 3 * 2, columns == 2 * heads * shapes[node.inputs[1]]![1] else { return nil }
    return found[0]
  }

  /// Places for quantized queries, keys and values.
  private mutating func newHeads(of id: ValueID, heads count: Int, _ b: inout ChainBuilder) -> HeadsPlace {
    let s = shapes[id]!, width = s[2] / 3, headWidth = width / count, depth = wordDepth, byChannel = headKernels!.byChannel
    let words = (headWidth + depth - 1) / depth * count, groups = (s[1] + depth - 1) / depth
    let q = buffer(.padded([s[0] * s[1], words])), k = buffer(.padded([s[0] * s[1], words]))
    let v = buffer(.padded(byChannel ? [s[0] * width + 1, groups] : [s[0] * groups, width])) // by channel one row more: the last is read beyond its end
    let scales = buffer(.padded([3 * s[0] * count, s[1]]))
    let made = HeadsPlace(q: q, k: k, v: v, scales: scales, heads: count, headWidth: headWidth, images: s[0], tokens: s[1], depth: depth, byChannel: byChannel)
    heads[id] = made
    b.writes += [q, k, v, scales]
    return made
  }

  private mutating func chainAttention(_ node: Node, heads count: Int, scale: Double, queries: Int?, _ b: inout ChainBuilder) throws {
    let y = destination(node.output, &b), width = shapes[node.output]![2]
    if node.inputs.count == 1, let h = heads[node.inputs[0]], let kernels = headKernels {
      let scratch = b.scratch(words: kernels.scratch(h.headWidth))
      b.reads += [h.q, h.k, h.v, h.scales].map { .buffer($0) }
      b.add(node.name, flops: b.flops, [y, .scratch(scratch, 0)]) { r in .wordsAttention(ChainWordsAttention(kernel: kernels.attention, heads: r.heads(h), queries: queries ?? h.tokens, scale: Float(scale), out: r.rows(y), scratch: r.offset(scratch))) }
    } else {
      let (places, make) = try attention(node, heads: count, scale: scale, queries: queries)
      let scratch = b.scratch(words: store.table.c.pointee.f32_attention_scratch(width / count))
      b.reads += places
      b.add(node.name, flops: b.flops, [y, .scratch(scratch, 0)]) { r in .attention(ChainAttention(inputs: make(r.resolver), out: r.rows(y), scratch: r.offset(scratch))) }
    }
    b.values[node.output] = y
  }

  // MARK: Kernels of the precision

  private var normKernel: NormToWords { store.precision == .int8 ? store.table.c.pointee.i8.pointee.layer_norm : store.table.c.pointee.bf16.pointee.layer_norm }
  private var wordsKernel: RowsToWords { store.precision == .int8 ? store.table.c.pointee.i8.pointee.quantize : store.table.c.pointee.bf16.pointee.convert }
  private var productKernel: WordsProduct { store.precision == .int8 ? store.table.c.pointee.i8.pointee.gemm : store.table.c.pointee.bf16.pointee.gemm }
  /// Attention on quantized heads, where the table has it.
  private var headKernels: HeadKernels? {
    if store.precision == .int8 {
      let k = store.table.c.pointee.i8.pointee
      return HeadKernels(heads: k.quantize_heads, attention: k.attention, scratch: k.attention_scratch, byChannel: k.values_by_channel != 0)
    }
    let k = store.table.c.pointee.bf16.pointee
    guard let heads = k.heads, let attention = k.attention, let scratch = k.attention_scratch else { return nil }
    return HeadKernels(heads: heads, attention: attention, scratch: scratch, byChannel: true)
  }
  private var panelColumns: Int { store.precision == .int8 ? store.table.c.pointee.i8.pointee.nr : store.table.c.pointee.bf16.pointee.nr }
  private var wordDepth: Int { store.precision == .int8 ? store.table.c.pointee.i8.pointee.depth : store.table.c.pointee.bf16.pointee.depth }

  // MARK: Places

  /// Where an operand of the chain is: in scratch if the chain made it and nobody else reads it, else in the arena.
  private mutating func source(_ id: ValueID, _ b: ChainBuilder) throws -> ChainPlace {
    if let known = b.values[id] { return known }
    let p = try place(id)
    switch p {
    case .buffer(let i): return .arena(p, buffers[i].layout.stride)
    case .input(_, let layout), .constant(_, let layout): return .arena(p, layout.stride)
    }
  }

  /// Whether nobody but the chain reads a value.
  private func isInside(_ id: ValueID, _ b: ChainBuilder) -> Bool { !isOutput(id) && readers(of: id).allSatisfy { b.inside.contains($0) } }

  private mutating func destination(_ id: ValueID, _ b: inout ChainBuilder) -> ChainPlace {
    if isInside(id, b) {
      let stride = b.stride(shapes[id]![-1])
      return .scratch(b.scratch(words: b.blocks.mostRows * stride), stride)
    }
    let i = buffer(.padded(shapes[id]!))
    placed[id] = i
    b.writes.append(i)
    return .arena(.buffer(i), buffers[i].layout.stride)
  }

  private func newWords(columns: Int, _ b: inout ChainBuilder) -> ChainWordsPlace {
    let stride = b.stride((columns + wordDepth - 1) / wordDepth)
    // The last vector of a row may be written whole.
    return ChainWordsPlace(rows: .scratch(b.scratch(words: b.blocks.mostRows * stride + 16), stride), scales: b.scratch(words: 2 * b.blocks.mostRows))
  }

  private func readers(of id: ValueID) -> [Int] { allReaders[id] ?? [] }
  private func isOutput(_ id: ValueID) -> Bool { graph.outputs.contains { $0.value == id } }
  /// Whether a linear layer's only use of `id` is as what it multiplies.
  private func isPlainInput(of node: Node, _ id: ValueID) -> Bool {
    if case .core(.linear) = node.op { return node.inputs[0] == id && !node.inputs.dropFirst().contains(id) }
    return false
  }

  private mutating func finish(_ b: ChainBuilder, name: String, flops: Double) {
    let memory = MemoryPlan(b.requests)
    scratchFloats = max(scratchFloats, (memory.arenaBytes + 3) / 4)
    let made = b.operations, labels = b.labels, blocks = b.blocks, panels = b.panels
    step(name, flops: flops, reads: b.reads, writes: b.writes) { resolver in
      let r = ChainResolver(resolver: resolver, offsets: memory.offsets, panels: panels)
      return (.chain(ChainStep(operations: made.map { $0(r) }, labels: labels, rowBlocks: blocks)), blocks.count)
    }
  }
}

private struct HeadKernels {
  var heads: HeadsToWords
  var attention: WordsAttention
  var scratch: @convention(c) (Int) -> Int
  var byChannel: Bool
}

/// A place of rows while a chain is made: a block's scratch (by number) or a value's own memory; and the words from row to row.
enum ChainPlace {
  case scratch(Int, Int)
  case arena(Compiler.Place, Int)
}

struct ChainWordsPlace {
  var rows: ChainPlace
  var scales: Int
}

struct HeadsPlace {
  var q: Int, k: Int, v: Int, scales: Int
  var heads: Int, headWidth: Int, images: Int, tokens: Int, depth: Int, byChannel: Bool
}

/// A chain while it is made. Scratch blocks live from the first operation that names them to the last.
struct ChainBuilder {
  let blocks: RowBlocks
  /// Positions of its nodes.
  let inside: Set<Int>
  /// Positions of gates that are part of the product before them.
  var gated: Set<Int> = []
  var operations: [(ChainResolver) -> ChainStep.Operation] = []
  var labels: [OperationLabel] = []
  /// Of the node that is being lowered.
  var flops = 0.0
  var requests: [BufferRequest] = []
  /// Of its linear layers, in order.
  var panels: [(ChainResolver) -> UnsafeRawPointer] = []
  var values: [ValueID: ChainPlace] = [:]
  var quantized: [ValueID: (words: ChainWordsPlace, factors: [Float]?)] = [:]
  var reads: [Compiler.Place] = []
  var writes: [Int] = []

  init(blocks: RowBlocks, inside: Set<Int>) {
    self.blocks = blocks
    self.inside = inside
  }

  /// Rows an odd number of cache lines apart, as in the arena.
  func stride(_ columns: Int) -> Int { Layout.padded([1, columns]).stride }

  mutating func scratch(words: Int) -> Int {
    requests.append(BufferRequest(bytes: words * 4 + 64, first: operations.count, last: operations.count))
    return requests.count - 1
  }

  mutating func add(_ name: String, flops: Double = 0, _ places: [ChainPlace], _ make: @escaping (ChainResolver) -> ChainStep.Operation) {
    for place in places {
      switch place {
      case .scratch(let i, _): requests[i].last = operations.count
      case .arena(let p, _): reads.append(p)
      }
    }
    operations.append(make)
    labels.append(OperationLabel(name: name, flops: flops))
  }
}

/// Addresses for the operations of a chain.
struct ChainResolver {
  let resolver: Compiler.Resolver
  /// Bytes of scratch blocks.
  let offsets: [Int]
  let panels: [(ChainResolver) -> UnsafeRawPointer]

  func panels(after i: Int) -> UnsafeRawPointer? { i + 1 < panels.count ? panels[i + 1](self) : nil }
  func offset(_ scratch: Int) -> Int { offsets[scratch] / 4 }
  func rows(_ place: ChainPlace) -> ChainRows {
    switch place {
    case .scratch(let i, let stride): ChainRows(operand: nil, offset: offset(i), stride: stride)
    case .arena(let p, let stride): ChainRows(operand: resolver(p), offset: 0, stride: stride)
    }
  }
  func words(_ place: ChainWordsPlace) -> WordRows { WordRows(rows: rows(place.rows), scales: offset(place.scales)) }
  func heads(_ p: HeadsPlace) -> QuantizedHeads {
    QuantizedHeads(q: resolver(.buffer(p.q)), k: resolver(.buffer(p.k)), v: resolver(.buffer(p.v)), scales: resolver(.buffer(p.scales)), heads: p.heads, headWidth: p.headWidth,
                   images: p.images, tokens: p.tokens, depth: p.depth, byChannel: p.byChannel)
  }
}
