// What a rule of recognition sees while it walks a graph: the nodes written so far, what is known of each value, and how to write new nodes. It decides nothing.

internal import DinoGraph
internal import DinoOperators
internal import DinoTensor

struct RewriteContext {
  private(set) var graph: Graph
  private(set) var facts: [ValueID: ValueFact]
  /// Float constants that were 8-bit integers in the file.
  private(set) var integers: [ValueID: ScaledIntegers]
  /// Bytes that dequantized constants may still take: in proportion to what the graph holds, as in Folding.swift.
  private var budget: Int
  /// Nodes written so far, in order.
  private(set) var written: [Node] = []
  /// Which written node gives a value.
  private var producer: [ValueID: Int] = [:]
  /// How often nodes and outputs read each value, before this walk.
  private var uses: [ValueID: Int] = [:]
  private var views: [ValueID: StridedView] = [:]

  init(_ imported: ImportedGraph) {
    graph = imported.graph
    facts = imported.facts
    integers = imported.integers
    budget = (64 << 20) + 8 * min(graph.constants.values.reduce(0) { $0 + $1.tensor.byteCount }, 1 << 40)
    for node in graph.nodes { for id in node.inputs { uses[id, default: 0] += 1 } }
    for output in graph.outputs { uses[output.value, default: 0] += 1 }
  }

  // MARK: Looking

  func node(_ id: ValueID) -> Node? { producer[id].map { written[$0] } }
  func shape(_ id: ValueID) -> Shape? { facts[id]?.shape }
  func dtype(_ id: ValueID) -> DType? { facts[id]?.dtype }
  func constant(_ id: ValueID) -> Tensor? { graph.constants[id]?.tensor }
  func useCount(_ id: ValueID) -> Int { uses[id] ?? 0 }
  func isOutput(_ id: ValueID) -> Bool { graph.outputs.contains { $0.value == id } }

  /// The foreign operator that gives a value.
  func generic(_ id: ValueID) -> (kind: GenericKind, op: Generic, node: Node)? {
    guard let node = node(id), case .generic(let op) = node.op else { return nil }
    return (op.kind, op, node)
  }

  /// 32-bit floats of a known shape without an empty axis: what Core operators read.
  func isFloat(_ id: ValueID) -> Bool { dtype(id) == .f32 && shape(id).map { $0.dims.allSatisfy { $0 > 0 } } == true }

  /// A constant of one element, as a float.
  func scalar(_ id: ValueID) -> Float? {
    guard let tensor = constant(id), tensor.count == 1, tensor.dtype == .f32 || tensor.dtype == .f64 || tensor.dtype == .f16 || tensor.dtype == .bf16 else { return nil }
    return tensor.floats()[0]
  }

  /// A constant of 32-bit floats that holds a number for each column: [n], or [1, …, n].
  func vector(_ id: ValueID, count: Int) -> Tensor? {
    guard let tensor = constant(id), tensor.dtype == .f32, tensor.count == count, tensor.shape.dims.last == count else { return nil }
    return tensor
  }

  /// The operands of a binary operator of this kind, as (other, constant of one element).
  func withScalar(_ id: ValueID, _ kind: ArithmeticKind) -> (value: ValueID, scalar: Float)? {
    guard let (k, _, node) = generic(id), k == .arithmetic(kind), node.inputs.count == 2 else { return nil }
    if let s = scalar(node.inputs[1]) { return (node.inputs[0], s) }
    if kind == .add || kind == .mul, let s = scalar(node.inputs[0]) { return (node.inputs[1], s) }
    return nil
  }

  // MARK: Writing

  /// A node as it is.
  mutating func keep(_ node: Node) {
    for id in node.outputs { producer[id] = written.count }
    written.append(node)
  }

  /// A Core node whose result is a value that others read already, or a new one. Nil, and nothing is written, where the shapes do not fit.
  @discardableResult
  mutating func core(_ op: Core, _ inputs: [ValueID], name: String, as result: ValueID? = nil) -> ValueID? {
    var operands: [Shape] = []
    for (i, id) in inputs.enumerated() {
      guard isFloat(id) || i == 1 && op.readsIntegers && constant(id) != nil, let shape = shape(id) else { return nil }
      operands.append(shape)
    }
    let probe = Node(op: .core(op), inputs: inputs, output: result ?? ValueID(0), name: name)
    guard let shape = try? probe.outputShape(operands) else { return nil }
    if let result, let expected = facts[result]?.shape, expected != shape { return nil }
    var node = probe
    if result == nil { node.output = graph.makeValue() }
    facts[node.output] = ValueFact(dtype: .f32, shape: shape)
    views[node.output] = nil
    keep(node)
    return node.output
  }

  mutating func generic(_ op: Generic, _ inputs: [ValueID], name: String, as result: ValueID) {
    keep(Node(op, inputs: inputs, outputs: [result], name: name))
  }

  /// A foreign node whose result is new; nil, and nothing is written, where it cannot be made of these inputs.
  mutating func generic(_ op: Generic, _ inputs: [ValueID], name: String) -> ValueID? {
    guard let fact = try? op.infer(inputs.map { $0 == .absent ? nil : facts[$0] }, outputs: 1).first else { return nil }
    let result = graph.makeValue()
    facts[result] = fact
    generic(op, inputs, name: name, as: result)
    return result
  }

  /// A foreign operator with new results of floats.
  mutating func generic(_ op: Generic, _ inputs: [ValueID], shapes: [Shape], name: String) -> [ValueID] {
    let results = shapes.map { shape in
      let id = graph.makeValue()
      facts[id] = ValueFact(dtype: .f32, shape: shape)
      return id
    }
    keep(Node(op, inputs: inputs, outputs: results, name: name))
    return results
  }

  mutating func generic(_ op: Generic, _ inputs: [ValueID], shape: Shape, name: String) -> ValueID { generic(op, inputs, shapes: [shape], name: name)[0] }

  /// Whether so many integers may still become floats.
  func affordsDequantizing(_ count: Int) -> Bool { count <= budget / 4 }

  /// The floats that constant integers stand for, as a constant.
  mutating func dequantized(_ name: String, _ x: Tensor, scale: Tensor, zero: Tensor?, axis: Int) -> ValueID? {
    let op = Generic(.quantization(.dequantize), version: 13, attributes: scale.count == 1 ? [:] : ["axis": .int(axis)])
    // One number is one number, whatever its shape.
    func plain(_ t: Tensor) -> Tensor { t.count == 1 ? t.reshaped([]) : t.shape.rank == 1 ? t : t.reshaped([t.count]) }
    guard affordsDequantizing(x.count), let made = try? op.evaluate([x, plain(scale), zero.map(plain)], outputs: 1).first else { return nil }
    budget -= 4 * x.count
    let id = constant(name, made)
    if let source = ScaledIntegers(op, [x, plain(scale), zero.map(plain)]) { integers[id] = source }
    return id
  }

  mutating func constant(_ name: String, _ tensor: Tensor) -> ValueID {
    let id = graph.constant(name, tensor)
    facts[id] = ValueFact(tensor)
    return id
  }

  func name(ofConstant id: ValueID) -> String { graph.constants[id]?.name ?? "" }

  /// What was read from `old` is read from `new` from here on: by nodes that come later, and by outputs.
  mutating func forward(_ old: ValueID, to new: ValueID) { forwarded[old] = new }
  private var forwarded: [ValueID: ValueID] = [:]

  func resolved(_ node: Node) -> Node {
    if forwarded.isEmpty { return node }
    var node = node
    node.inputs = node.inputs.map { forwarded[$0] ?? $0 }
    return node
  }

  /// The graph of what was written, without what nobody reads.
  func finished() -> ImportedGraph {
    var result = graph
    result.nodes = written
    result.outputs = graph.outputs.map { GraphOutput(name: $0.name, value: forwarded[$0.value] ?? $0.value) }
    return ImportedGraph(graph: result.withoutDeadValues(), facts: facts, integers: integers)
  }

  // MARK: Views

  /// Where the elements of a value lie, through everything that only moves them.
  mutating func view(_ id: ValueID) -> StridedView? {
    if let known = views[id] { return known }
    guard let dims = shape(id)?.dims else { return nil }
    let view = node(id).flatMap { moved(id, by: $0) } ?? StridedView(whole: id, dims: dims)
    views[id] = view
    return view
  }

  /// The view of an output of a node that is not written yet; nil where the node does more than move elements.
  mutating func moved(_ id: ValueID, by node: Node) -> StridedView? {
    guard case .generic(let op) = node.op, let dims = shape(id)?.dims, let input = node.inputs.first, input != .absent, let base = view(input) else { return nil }
    switch op.kind {
    case .layout(.reshape), .layout(.squeeze), .layout(.unsqueeze), .layout(.flatten): return base.reshaped(dims)
    case .unary(.identity): return base
    case .unary(.cast): return dtype(input) == dtype(id) ? base : nil
    case .layout(.expand): return base.dims == dims ? base : nil
    case .layout(.transpose): return base.transposed(op.ints("perm") ?? Array(dims.indices.reversed()))
    case .indexing(.gather):
      guard let index = constant(node.inputs[1]), index.count == 1, index.shape.rank == 0, var i = index.integers()?.first, let from = shape(input) else { return nil }
      let axis = op.int("axis") ?? 0, at = axis < 0 ? axis + from.rank : axis
      guard from.dims.indices.contains(at) else { return nil }
      if i < 0 { i += from[at] }
      return base.selected(axis: at, index: i)
    case .layout(.split):
      guard let from = shape(input) else { return nil }
      let axis = op.int("axis") ?? 0, at = axis < 0 ? axis + from.rank : axis
      var start = 0
      for other in node.outputs.prefix(while: { $0 != id }) {
        guard let s = shape(other), s.dims.indices.contains(at) else { return nil }
        start += s[at]
      }
      guard dims.indices.contains(at) else { return nil }
      return base.sliced(axis: at, from: start, count: dims[at])
    case .layout(.slice): return slice(of: base, op, node)
    default: return nil
    }
  }

  /// What a Slice takes of a view; nil where its bounds are not constant, it steps backwards, or nothing is left.
  func slice(of base: StridedView, _ op: Generic, _ node: Node) -> StridedView? {
    func list(_ attribute: String, _ input: Int) -> [Int]? {
      if let values = op.ints(attribute) { return values }
      guard input < node.inputs.count, node.inputs[input] != .absent else { return nil }
      return constant(node.inputs[input])?.integers()
    }
    guard let starts = list("starts", 1), let ends = list("ends", 2), starts.count == ends.count else { return nil }
    let axes = list("axes", 3) ?? Array(starts.indices), steps = list("steps", 4) ?? Array(repeating: 1, count: starts.count)
    guard axes.count == starts.count, steps.count == starts.count else { return nil }
    var view = base
    for i in axes.indices {
      let axis = axes[i] < 0 ? axes[i] + view.dims.count : axes[i]
      guard view.dims.indices.contains(axis), steps[i] > 0 else { return nil }
      let n = view.dims[axis]
      func bound(_ v: Int) -> Int { min(max(v < 0 ? (v <= -n ? 0 : v + n) : v, 0), n) }
      let from = bound(starts[i]), to = bound(ends[i])
      guard to > from, let next = view.sliced(axis: axis, from: from, count: (to - from + steps[i] - 1) / steps[i], step: steps[i]) else { return nil }
      view = next
    }
    return view
  }
}

extension Core {
  /// A product of integers: its weight is no float.
  fileprivate var readsIntegers: Bool { if case .linear(let e) = self { e.integers != nil } else { false } }
}
