// A graph, the shapes of its inputs and a CPU become a plan: constant parts evaluated, weights packed, values placed in one arena, steps
// with their pointers. All that can fail fails here.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

struct Compiler {
  let graph: Graph
  let shapes: [ValueID: Shape]
  let store: WeightStore
  let threads: Int
  /// Constants of the graph whose values change between runs, in the tensor's own memory: parameters in training. Nothing is folded or packed ahead of them.
  var live: Set<ValueID> = []
  /// Memory of the caller's in which outputs are wanted, dense.
  var sinks: [ValueID: FloatBlock] = [:]
  /// The same for outputs, by name, whose value another output has too: they get copies.
  var copies: [String: FloatBlock] = [:]
  /// Panels of live weights, packed in each run, once for all who read them.
  var livePanels: [LivePanels: Int] = [:]
  /// Rows of patches of an image.
  private var patchRows: [PatchRows: Int] = [:]

  struct LivePanels: Hashable {
    var id: ValueID
    var transposed: Bool
    var form: PackStep.Form
  }
  private struct PatchRows: Hashable {
    var image: ValueID
    var patch: Int
  }

  /// What does not change between runs: the graph's own constants, and what follows from them and the shapes alone.
  var constants: [ValueID: Tensor] = [:]
  /// Those of `constants` that belong to this plan's shapes only.
  private var planOnly: [ValueID: FloatBlock] = [:]
  /// Those that a step reads. The others (positions that are cut before they are added) are not kept.
  private var readPlanOnly: Set<ValueID> = []
  private var pending: [PendingStep] = []
  var buffers: [Buffer] = []
  var placed: [ValueID: Int] = [:]
  var scratchFloats = 0
  /// Of positions and other constants that belong to the plan's shapes.
  private var positionBytes = 0
  /// Positions of the nodes that read each value.
  let allReaders: [ValueID: [Int]]
  /// Values whose attention weights are wanted: they are computed in f32, in every precision.
  let keptInF32: Set<ValueID>
  /// What is multiplied by weights that are computed in each run: such products, and their gradients, are f32 in every precision.
  let plainInputs: Set<ValueID>
  /// Nodes that were lowered ahead of their turn.
  var lowered: Set<Int> = []
  /// Weights whose linear layers are computed in f32, in every precision.
  var keptWeights: Set<ValueID> = []
  /// Most bytes between the two layers of a feed-forward part in f32.
  var hiddenBytes = SessionOptions.defaultHiddenBytes
  /// Quantized queries, keys and values, by the value that they were made from.
  var heads: [ValueID: HeadsPlace] = [:]
  /// Rows that are words already.
  var integerRowsMade: [IntegerRowsKey: IntegerRows] = [:]
  /// Where the plan's memory comes from, if not from its own.
  var sharedArena: SharedArena?
  /// Numbers that steps read and no value holds.
  private var kept: [FloatBlock] = []
  mutating func keep(_ block: FloatBlock) { kept.append(block) }

  /// A step before the arena exists: `make` is called when operands have addresses.
  private struct PendingStep {
    var name: String
    var flops: Double
    var reads: [Place]
    var writes: [Int]
    var make: (Resolver) -> (Step.Kind, Int)
  }
  struct Buffer {
    var layout: Layout
    /// The caller's memory instead of the arena.
    var sink: FloatBlock?
    /// Threads share its columns, not its rows, when it is written.
    var byColumns = false
    var first = Int.max
    var last = -1
  }
  enum Place {
    case buffer(Int)
    case input(slot: Int, Layout)
    case constant(FloatBlock, Layout)
  }
  struct Resolver {
    let offsets: [Int]
    let arena: UnsafeMutableRawPointer
    let buffers: [Buffer]
    func callAsFunction(_ place: Place) -> Operand {
      switch place {
      case .buffer(let i): Operand(fixed: buffers[i].sink?.pointer ?? (arena + offsets[i]).assumingMemoryBound(to: Float.self), slot: -1, layout: buffers[i].layout)
      case .input(let slot, let layout): Operand(fixed: nil, slot: slot, layout: layout)
      case .constant(let block, let layout): Operand(fixed: block.pointer, slot: -1, layout: layout)
      }
    }
  }

  init(graph: Graph, shapes: [ValueID: Shape], store: WeightStore, threads: Int) {
    self.graph = graph
    self.shapes = shapes
    self.store = store
    self.threads = threads
    var readers: [ValueID: [Int]] = [:], kept: Set<ValueID> = [], plain: Set<ValueID> = []
    for (i, node) in graph.nodes.enumerated() {
      for id in node.inputs { readers[id, default: []].append(i) }
      if case .core(.attentionWeights) = node.op { kept.formUnion(node.inputs) }
      if case .core(.linear) = node.op, graph.constants[node.inputs[1]] == nil { plain.insert(node.inputs[0]) }
    }
    allReaders = readers
    keptInF32 = kept
    plainInputs = plain
  }

  mutating func compile() throws(RuntimeError) -> Plan {
    try lowerAll()
    return try assemble()
  }

  /// What a plan would take, in bytes; for a store that measures.
  mutating func measure() throws(RuntimeError) -> MemoryEstimate {
    precondition(store.isMeasuring)
    try lowerAll()
    var outputs = 0
    for output in graph.outputs {
      do { if case .buffer(let b) = try delivered(output) { buffers[b].last = pending.count } } catch { throw .unsupported(node: output.name, reason: "\(error)") }
      outputs += shapes[output.value]!.count * 4
    }
    let (memory, perThread) = layOut()
    return MemoryEstimate(weights: store.bytes, weightPages: store.residentBytes, positions: positionBytes, values: memory.arenaBytes, scratch: perThread * threads, outputs: outputs)
  }

  /// Places in the arena, and each thread's scratch.
  private func layOut() -> (MemoryPlan, Int) {
    // A step writes while others of the same step read: a buffer lives through the whole of its first and last step.
    var requests = buffers.map { BufferRequest(bytes: $0.sink == nil ? $0.layout.floats * 4 + 64 : 0, first: $0.first, last: $0.last) }
    // Apart, so that what a core fetches ahead of the end of its own is not the beginning of another's.
    let scratch = (scratchFloats * 4 + 127) / 64 * 64 + 2048
    let shared = MemoryPlan(requests)
    // Not where memory is scarce, nor where values leave the caches anyway.
    guard hiddenBytes >= SessionOptions.defaultHiddenBytes, shared.arenaBytes <= Self.bytesInCaches else { return (shared, scratch) }
    // Values that are written in other pieces by other threads get memory of their own: a cache line that another core wrote last must be fetched from there before it
    // can be written again.
    for (i, b) in buffers.enumerated() where b.byColumns { requests[i].kind = b.layout.columns }
    let apart = MemoryPlan(requests)
    return (apart.arenaBytes <= Self.bytesInCaches ? apart : shared, scratch)
  }
  private static let bytesInCaches = 8 << 20

  private mutating func lowerAll() throws(RuntimeError) {
    for (id, c) in graph.constants {
      guard c.tensor.dtype.convertsToFloat else { throw .unsupported(node: "constant \(c.name)", reason: "its type \(c.tensor.dtype.rawValue) does not convert to F32") }
      if !live.contains(id) { constants[id] = c.tensor }
      // Integers are read as they are by int8 layers alone.
      if c.scales != nil, store.precision != .int8 || keptWeights.contains(id) { do { constants[id] = try store.folded(id, shape: c.tensor.shape) { c.values } } catch { throw .outOfMemory(error, what: c.name) } }
    }
    let flops = graph.flops(shapes: shapes)
    var index = 0
    while index < graph.nodes.count {
      if lowered.contains(index) {
        index += 1
        continue
      }
      let node = graph.nodes[index]
      do {
        var taken = try fold(node) ? 1 : 0
        if taken == 0, try chain(at: index, flops: flops) { continue }
        if taken == 0 { taken = try rowBlocks(at: index, flops: flops) }
        if taken == 0 { try lower(node, flops: Double(flops[index])) }
        index += max(taken, 1)
      } catch let error as RuntimeError {
        throw error
      } catch let error as StorageError {
        throw .outOfMemory(error, what: node.name)
      } catch {
        throw .unsupported(node: node.name, reason: "\(error)")
      }
    }
  }

  // MARK: Constant parts

  /// Evaluates a node that does not depend on what the inputs hold. True where that was done.
  private mutating func fold(_ node: Node) throws -> Bool {
    guard case .core = node.op else { return false }
    switch node.op {
    case .core(.positionEmbedding(let patch, let special, let rows, let columns, let resize)):
      return try foldPositions(node) { positions, image, shape in
        ReferenceEvaluator.positions(positions, width: shape[2], image: image, patch: patch, special: special, rows: rows, columns: columns, resize: resize)
      }
    case .core(.rotaryAngles(let patch, let special, let sine)):
      return try foldPositions(node) { periods, image, _ in ReferenceEvaluator.angles(periods, image: image, patch: patch, special: special, sine: sine) }
    default: break
    }
    let operands = try node.inputs.compactMap { try plain($0) }
    guard operands.count == node.inputs.count else { return false }
    let shape = shapes[node.output]!
    let onlyOwn = node.inputs.allSatisfy { graph.constants[$0] != nil }
    let compute = { Tensor(ReferenceEvaluator.evaluate(node.op, operands.map { ReferenceValue(shape: $0.shape, values: $0.floats()) }, shape: shape), shape: shape) }
    constants[node.output] = onlyOwn ? try store.folded(node.output, shape: shape, compute) : store.isMeasuring ? try store.unread(shape) : compute()
    return true
  }

  /// What follows from a constant and the image's shape. True where that constant is one.
  private mutating func foldPositions(_ node: Node, _ make: (_ values: [Float], _ image: Shape, _ shape: Shape) -> [Float]) throws -> Bool {
    guard let values = constants[node.inputs[0]] else { return false }
    let shape = shapes[node.output]!
    positionBytes += shape.count * 4
    if store.isMeasuring {
      constants[node.output] = try store.unread(shape)
      planOnly[node.output] = try FloatBlock(count: 1)
      return true
    }
    let block = try FloatBlock(make(values.floats(), shapes[node.inputs[1]]!, shape))
    planOnly[node.output] = block
    // The same memory: at a large size positions are as large as a value.
    constants[node.output] = Tensor(dtype: .f32, shape: shape, storage: block.storage, byteOffset: 0)
    return true
  }

  /// A constant in numbers that mean what they say.
  func plain(_ id: ValueID) throws(StorageError) -> Tensor? {
    guard let c = graph.constants[id], c.scales != nil else { return constants[id] }
    return try store.folded(id, shape: c.tensor.shape) { c.values }
  }

  mutating func place(_ id: ValueID) throws -> Place {
    if let b = placed[id] { return .buffer(b) }
    let shape = shapes[id]!
    if let slot = graph.inputs.firstIndex(where: { $0.value == id }) { return .input(slot: slot, .dense(shape)) }
    if live.contains(id), let constant = graph.constants[id] { return .constant(FloatBlock(viewing: constant.tensor), .dense(shape)) }
    guard let tensor = try plain(id) else { throw RuntimeError.unsupported(node: "value \(id.index)", reason: "nothing produces it") }
    if let block = planOnly[id] {
      readPlanOnly.insert(id)
      return .constant(block, .dense(shape))
    }
    if graph.constants[id] != nil { return .constant(try store.floats(tensor), .dense(shape)) }
    let block = store.isMeasuring ? try FloatBlock(count: 1) : try FloatBlock(tensor)
    if store.isMeasuring { positionBytes += tensor.count * 4 }
    planOnly[id] = block
    readPlanOnly.insert(id)
    return .constant(block, .dense(shape))
  }

  mutating func vector(_ id: ValueID, _ node: Node) throws -> UnsafePointer<Float> {
    guard case .constant(let block, _) = try place(id) else { throw RuntimeError.unsupported(node: node.name, reason: "a weight, bias or scale is not constant") }
    return UnsafePointer(block.pointer)
  }

  // MARK: Values and steps

  mutating func buffer(_ layout: Layout, sink: FloatBlock? = nil) -> Int {
    buffers.append(Buffer(layout: layout, sink: sink))
    return buffers.count - 1
  }

  mutating func result(_ node: Node) -> Int {
    let shape = shapes[node.output]!, sink = sinks[node.output]
    let b = buffer(sink == nil ? .padded(shape) : .dense(shape), sink: sink)
    switch node.op {
    case .core(.linear), .core(.attention): buffers[b].byColumns = true
    default: break
    }
    placed[node.output] = b
    return b
  }

  mutating func step(_ name: String, flops: Double = 0, reads: [Place], writes: [Int], _ make: @escaping (Resolver) -> (Step.Kind, Int)) {
    let index = pending.count
    for case .buffer(let b) in reads { buffers[b].last = max(buffers[b].last, index) }
    for b in writes {
      buffers[b].first = min(buffers[b].first, index)
      buffers[b].last = max(buffers[b].last, index)
    }
    pending.append(PendingStep(name: name, flops: flops, reads: reads, writes: writes, make: make))
  }

  /// Chunks for a step that moves `floats`: enough for the threads, none smaller than about 32 K floats.
  func chunks(_ floats: Int, rows: Int) -> Int { max(1, min(rows, min(4 * threads, floats / 32_768))) }

  private mutating func lower(_ node: Node, flops: Double) throws {
    let shape = shapes[node.output]!
    switch node.op {
    case .core(let core):
      switch core {
      case .patchEmbedding(let patch): try patchEmbedding(node, patch: patch, flops: flops)
      case .linear(let e):
        if let input = e.integers { return try integerLinear(node, e, input, flops: flops) }
        try linear(node, x: place(node.inputs[0]), weight: node.inputs[1], transposed: e.transposedWeight, bias: e.biasIndex, scale: e.scaleIndex, residual: e.residualIndex,
                   activation: e.activation, flops: flops)
      case .layerNorm(let epsilon):
        let x = try place(node.inputs[0]), weight = try vector(node.inputs[1], node), bias = try vector(node.inputs[2], node)
        let y = result(node), layout = buffers[y].layout
        let n = chunks(layout.rows * layout.columns, rows: layout.rows)
        step(node.name, flops: flops, reads: [x], writes: [y]) { r in
          (.layerNorm(LayerNormStep(x: r(x), y: r(.buffer(y)), weight: weight, bias: bias, epsilon: Float(epsilon), chunks: n)), n)
        }
      case .attention(let heads, let scale, let queries):
        let y = result(node)
        let (places, make) = try attention(node, heads: heads, scale: scale, queries: queries)
        let table = store.table
        scratchFloats = max(scratchFloats, table.c.pointee.f32_attention_scratch(shape[2] / heads))
        step(node.name, flops: flops, reads: places, writes: [y]) { r in
          let made = AttentionStep.make(inputs: make(r), out: r(.buffer(y)), table: table)
          return (.attention(made.step), made.chunks)
        }
      case .attentionWeights(let heads, let scale, let first):
        let y = result(node)
        let (places, make) = try attention(node, heads: heads, scale: scale)
        step(node.name, flops: flops, reads: places, writes: [y]) { r in
          let made = AttentionWeightsStep.make(inputs: make(r), out: r(.buffer(y)), firstRowOnly: first)
          return (.attentionWeights(made.step), made.chunks)
        }
      case .prependTokens:
        let special = try place(node.inputs[0]), x = try place(node.inputs[1])
        let s = shapes[node.inputs[0]]![1], n = shapes[node.inputs[1]]![1], batch = shape[0]
        let y = result(node)
        rows(node.name + ".special", .copy, x: special, y: y, groups: batch, group: s, period: 0, offset: 0, targetPeriod: s + n, target: 0)
        rows(node.name, .copy, x: x, y: y, groups: batch, group: n, period: n, offset: 0, targetPeriod: s + n, target: s)
      case .add: try elementwise(node, .add, shape, flops)
      case .multiply: try elementwise(node, .multiply, shape, flops)
      case .activation(let a): try simpleRows(node, .activation(code(a)))
      case .gate(let a): try simpleRows(node, .gate(gate(a)))
      case .round(let s): try simpleRows(node, .round(scale: s.scale, low: Float(s.lower - s.zero), high: Float(s.upper - s.zero)))
      case .softmax: try simpleRows(node, .softmax)
      case .l2Normalize(let epsilon): try simpleRows(node, .l2Normalize(Float(epsilon)))
      case .rotary(let columns, let transposed):
        let x = try place(node.inputs[0]), cos = try vector(node.inputs[1], node), sin = try vector(node.inputs[2], node)
        let tokens = shape[1], width = shapes[node.inputs[1]]![1], y = result(node), layout = buffers[y].layout
        let n = chunks(layout.rows * layout.columns, rows: layout.rows)
        step(node.name, flops: flops, reads: [x], writes: [y]) { r in
          let angles = RotaryAngleTable(cos: cos, sin: sin, headWidth: width)
          return (.rotary(RotaryStep(x: r(x), y: r(.buffer(y)), angles: angles, tokens: tokens, columns: columns, transposed: transposed, chunks: n)), n)
        }
      case .rotaryAngles: throw RuntimeError.unsupported(node: node.name, reason: "its periods are not constant")
      case .selectToken(let index): try pickTokens(node, start: index, count: 1)
      case .sliceTokens(let start, _): try pickTokens(node, start: start, count: shape[1])
      case .meanTokens:
        let x = try place(node.inputs[0]), tokens = shapes[node.inputs[0]]![1], batch = shape[0]
        let y = result(node)
        step(node.name, flops: flops, reads: [x], writes: [y]) { r in (.meanTokens(MeanTokensStep(x: r(x), y: r(.buffer(y)), tokens: tokens)), batch) }
      case .weightNorm: try rowGradient(node, .weightNorm, node.inputs)
      case .training(let op): try lower(node, op, flops: flops)
      case .positionEmbedding(let patch, let special, let rows, let columns, let resize):
        try positions(node, patch: patch, special: special, rows: rows, columns: columns, resize: resize)
      }
    case .generic(let op): throw RuntimeError.unsupported(node: node.name, reason: "\(op.kind.name) is a foreign operator: a Program runs it")
    }
  }

  func code(_ a: Activation?) -> Int32 {
    switch a {
    case nil: Int32(DK_NONE)
    case .gelu: Int32(DK_GELU)
    case .geluTanh: Int32(DK_GELU_TANH)
    case .relu: Int32(DK_RELU)
    case .silu: Int32(DK_SILU)
    }
  }

  func gate(_ a: Activation) -> Gate {
    let table = store.table.c.pointee
    return Gate(kernel: store.precision == .int8 ? table.i8.pointee.gate : table.f32_gate, activation: code(a))
  }

  /// The patches of an image as rows, made once in a plan.
  mutating func patches(of image: ValueID, patch: Int, name: String) throws -> Int {
    let key = PatchRows(image: image, patch: patch)
    if let known = patchRows[key] { return known }
    let s = shapes[image]!, x = try place(image)
    let patches = buffer(.padded([s[0] * (s[2] / patch) * (s[3] / patch), s[1] * patch * patch]))
    step(name + ".patches", reads: [x], writes: [patches]) { r in
      let s = PatchesStep(image: r(x), y: r(.buffer(patches)), batch: s[0], channels: s[1], height: s[2], width: s[3], patch: patch)
      return (.patches(s), s.chunks)
    }
    patchRows[key] = patches
    return patches
  }

  private mutating func patchEmbedding(_ node: Node, patch: Int, flops: Double) throws {
    let patches = try patches(of: node.inputs[0], patch: patch, name: node.name)
    if store.precision != .f32, !keptWeights.contains(node.inputs[1]) { return try chainPatches(node, patches: patches, flops: flops) }
    try linear(node, x: .buffer(patches), weight: node.inputs[1], bias: node.inputs.count > 2 ? 2 : nil, scale: nil, residual: nil, activation: nil, flops: flops)
  }

  private mutating func linear(_ node: Node, x: Place, weight id: ValueID, transposed: Bool = false, bias: Int?, scale: Int?, residual: Int?, activation: Activation?, flops: Double) throws {
    let biasPointer = try bias.map { try vector(node.inputs[$0], node) }
    let scalePointer = try scale.map { try vector(node.inputs[$0], node) }
    let add = try residual.map { try place(node.inputs[$0]) }
    let threads = threads, table = store.table, act = code(activation)
    let reads = [x] + (add.map { [$0] } ?? []), parts = isQueriesKeysValues(node.output) ? 3 : 1
    func layer(_ y: Int) -> (Resolver) -> LayerOperands {
      { r in LayerOperands(x: r(x), y: r(.buffer(y)), bias: biasPointer, scale: scalePointer, residual: add.map { r($0) }, activation: act) }
    }
    if let weight = try plain(id) {
      let packed = try store.packed(weight, outFeatures: weight.shape[transposed ? 1 : 0], transposed: transposed), y = result(node), linearStep = linearStep, layer = layer(y)
      splitScratch(packed)
      return step(node.name, flops: flops, reads: reads, writes: [y]) { r in linearStep(packed, layer(r), parts) }
    }
    if let split = table.c.pointee.split?.pointee, Layout.dense(shapes[node.output]!).rows >= SplitLinearStep.leastRows {
      let panels = try packedEachRun(id, transposed: transposed, form: .split, name: node.name), y = result(node), depth = shapes[id]!.count / shapes[node.output]![-1], layer = layer(y)
      scratchFloats = max(scratchFloats, SplitLinearStep.scratch(depth: depth, split))
      return step(node.name, flops: flops, reads: reads + [.buffer(panels)], writes: [y]) { r in
        let made = SplitLinearStep(layer: layer(r), panels: r(.buffer(panels)), depth: depth, kernels: split, threads: threads)
        return (.split(made), made.chunks)
      }
    }
    let b = try packedEachRun(id, transposed: transposed, form: .plain, name: node.name), y = result(node), out = shapes[node.output]![-1], columns = table.panelColumns, layer = layer(y)
    step(node.name, flops: flops, reads: reads + [.buffer(b)], writes: [y]) { r in
      let block = r(.buffer(b)), weights = WeightPanels(base: UnsafePointer(block.fixed!), outFeatures: out, inFeatures: block.layout.columns / columns, panelColumns: columns)
      let made = LinearStep.make(layer(r), weights: weights, table: table, threads: threads, parts: parts)
      return (.linear(made.step), made.chunks)
    }
  }

  /// Room for the rows that a layer splits.
  mutating func splitScratch(_ weights: PackedWeights) {
    if let split = store.split { scratchFloats = max(scratchFloats, SplitLinearStep.scratch(depth: weights.inFeatures, split)) }
  }

  /// A linear layer over packed weights, by the products that they were packed for.
  var linearStep: (PackedWeights, LayerOperands, _ parts: Int) -> (Step.Kind, Int) {
    let table = store.table, threads = threads, split = store.split
    return { weights, layer, parts in
      if let split {
        let panels = Operand(fixed: UnsafeMutablePointer(mutating: weights.base), slot: 0, layout: Layout(rows: weights.panelCount, columns: weights.panelFloats, stride: weights.panelFloats))
        let step = SplitLinearStep(layer: layer, panels: panels, depth: weights.inFeatures, kernels: split, threads: threads)
        return (.split(step), step.chunks)
      }
      let made = LinearStep.make(layer, weights: weights.panels, table: table, threads: threads, parts: parts)
      return (.linear(made.step), made.chunks)
    }
  }

  /// Whether a value is the queries, keys and values of attention beside each other.
  private func isQueriesKeysValues(_ id: ValueID) -> Bool {
    (allReaders[id] ?? []).contains { if case .core(.attention) = graph.nodes[$0].op { graph.nodes[$0].inputs.count == 1 } else { false } }
  }

  /// Where q, k, v are: three values, or the thirds of one.
  mutating func attention(_ node: Node, heads: Int, scale: Double, queries: Int? = nil) throws -> ([Place], (Resolver) -> AttentionInputs) {
    let s = shapes[node.inputs[0]]!
    let packed = node.inputs.count == 1
    let width = packed ? s[2] / 3 : s[2]
    var places: [Place] = []
    for id in node.inputs { places.append(try place(id)) }
    let all = places
    return (all, { r in
      let q = r(all[0]), k = packed ? q : r(all[1]), v = packed ? q : all.count > 2 ? r(all[2]) : k
      return AttentionInputs(q: q, k: k, v: v, columns: packed ? (0, width, 2 * width) : (0, 0, 0), batch: s[0], tokens: s[1], queries: queries ?? s[1], heads: heads,
                             headWidth: width / heads, scale: Float(scale))
    })
  }

  private mutating func elementwise(_ node: Node, _ f: ElementwiseStep.Function, _ shape: Shape, _ flops: Double) throws {
    let a = try place(node.inputs[0]), b = try place(node.inputs[1])
    let sa = shapes[node.inputs[0]]!, sb = shapes[node.inputs[1]]!
    let y = result(node), layout = buffers[y].layout
    let n = chunks(layout.rows * layout.columns, rows: layout.rows)
    step(node.name, flops: flops, reads: [a, b], writes: [y]) { r in
      (.elementwise(.make(f, a: r(a), aShape: sa, b: r(b), bShape: sb, y: r(.buffer(y)), yShape: shape, chunks: n)), n)
    }
  }

  mutating func rows(_ name: String, _ f: RowsStep.Function, x: Place, y: Int, groups: Int, group: Int, period: Int, offset: Int, targetPeriod: Int, target: Int) {
    let n = chunks(groups * group * buffers[y].layout.columns, rows: groups * group)
    step(name, reads: [x], writes: [y]) { r in
      (.rows(RowsStep(function: f, x: r(x), y: r(.buffer(y)), groups: groups, group: group, period: period, offset: offset, targetPeriod: targetPeriod,
                      target: target, chunks: n)), n)
    }
  }

  private mutating func simpleRows(_ node: Node, _ f: RowsStep.Function) throws {
    let x = try place(node.inputs[0]), y = result(node)
    let n = buffers[y].layout.rows
    rows(node.name, f, x: x, y: y, groups: 1, group: n, period: 0, offset: 0, targetPeriod: 0, target: 0)
  }

  private mutating func pickTokens(_ node: Node, start: Int, count: Int) throws {
    let s = shapes[node.inputs[0]]!
    let x = try place(node.inputs[0]), y = result(node)
    rows(node.name, .copy, x: x, y: y, groups: s[0], group: count, period: s[1], offset: start, targetPeriod: count, target: 0)
  }

  // MARK: Assembly

  private mutating func assemble() throws(RuntimeError) -> Plan {
    var outputs: [(name: String, place: Place, shape: Shape)] = []
    for output in graph.outputs {
      do { outputs.append((output.name, try delivered(output), shapes[output.value]!)) } catch let error as RuntimeError { throw error } catch {
        throw .unsupported(node: output.name, reason: "\(error)")
      }
    }
    // The last to write or read an output: from then on whoever wants it may have it, though the plan goes on.
    let lastUses = outputs.map { if case .buffer(let b) = $0.place { buffers[b].last } else { -1 } }
    for case (_, .buffer(let b), _) in outputs { buffers[b].last = pending.count }
    let (memory, perThread) = layOut()
    let arena: Storage
    // A training's graph has dozens of inputs, of which the first say enough.
    let named = graph.inputs.prefix(3).map { "\($0.name) \(shapes[$0.value] ?? [])" }.joined(separator: ", ")
    let planned = "the plan for \(named)\(graph.inputs.count > 3 ? " and \(graph.inputs.count - 3) more" : "")"
    // The system hands out more than it has and then ends processes: what cannot fit is refused here. Small plans are not worth the question.
    let bytes = memory.arenaBytes + perThread * threads
    if bytes > 256 << 20, let available = availableMemory(), bytes > available { throw .outOfMemory(bytes: bytes, what: planned) }
    do {
      if let sharedArena { arena = try sharedArena.atLeast(bytes) } else { arena = try Storage(byteCount: bytes) }
    } catch { throw .outOfMemory(error, what: planned) }
    let resolve = Resolver(offsets: memory.offsets, arena: arena.base, buffers: buffers)
    var steps: [Step] = []
    /// Where among `steps` each pending one is, or the one before where it has nothing to do.
    var positions: [Int] = []
    for p in pending {
      let (kind, chunks) = p.make(resolve)
      if chunks > 0 { steps.append(Step(kind: kind, name: p.name, chunks: chunks, flops: p.flops)) }
      positions.append(steps.count - 1)
    }
    Self.link(&steps)
    return Plan(steps: steps, arena: arena, arenaBytes: memory.arenaBytes, scratchOffset: memory.arenaBytes, scratchBytes: perThread,
                outputs: zip(outputs, lastUses).map { (name: $0.name, operand: resolve($0.place), shape: $0.shape, settled: $1 < 0 ? -1 : positions[$1]) },
                inputs: graph.inputs.map { (name: $0.name, shape: shapes[$0.value] ?? []) }, kept: planOnly.filter { readPlanOnly.contains($0.key) }.map(\.value) + kept, table: store.table, threads: threads)
  }

  /// Where an output lies: in the memory that was asked for, if any; what was computed elsewhere is copied there.
  private mutating func delivered(_ output: GraphOutput) throws -> Place {
    let place = try place(output.value)
    guard let sink = copies[output.name] ?? sinks[output.value] else { return place }
    if case .buffer(let b) = place, buffers[b].sink === sink { return place }
    let y = buffer(.dense(shapes[output.value]!), sink: sink), n = buffers[y].layout.rows
    rows(output.name, .copy, x: place, y: y, groups: 1, group: n, period: 0, offset: 0, targetPeriod: 0, target: 0)
    return .buffer(y)
  }

  /// Tells each linear step which weights are read after its own, to have them fetched early.
  private static func link(_ steps: inout [Step]) {
    var next: FollowingPanels?
    for i in steps.indices.reversed() {
      guard case .linear(var s) = steps[i].kind else { continue }
      s.following = next
      next = FollowingPanels(panels: s.panels, panelFloats: s.panelFloats, panelCount: (s.columns + s.panelColumns - 1) / s.panelColumns / s.parts)
      steps[i].kind = .linear(s)
    }
  }
}

extension RuntimeError {
  static func outOfMemory(_ error: StorageError, what: String) -> RuntimeError {
    if case .outOfMemory(let bytes) = error { return .outOfMemory(bytes: bytes, what: what) }
    return .unsupported(node: what, reason: "\(error)")
  }
}
