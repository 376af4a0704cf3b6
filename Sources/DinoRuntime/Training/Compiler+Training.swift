// How training operators, and Core operators on weights that change between runs, become steps. Nothing here computes.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

extension Compiler {
  private mutating func training(_ name: String, flops: Double = 0, reads: [Place], writes: [Int], _ make: @escaping (Resolver) -> (TrainingStep, Int)) {
    step(name, flops: flops, reads: reads, writes: writes) { r in
      let (step, chunks) = make(r)
      return (.training(step), chunks)
    }
  }

  /// The panels of a weight that changes between runs.
  /// From panel to panel it is the buffer's stride.
  mutating func packedEachRun(_ id: ValueID, transposed: Bool, form: PackStep.Form, name: String) throws -> Int {
    let key = LivePanels(id: id, transposed: transposed, form: form)
    if let known = livePanels[key] { return known }
    let shape = shapes[id]!, source = try place(id), table = store.table.c.pointee, columns: Int, floats: Int
    let first = shape[0], second = shape.count / first
    let out = transposed ? second : first, depth = transposed ? first : second
    switch form {
    case .plain: (columns, floats) = (table.nr, depth * table.nr)
    case .rounded: (columns, floats) = (table.bf16.pointee.nr, (table.bf16.pointee.panel_bytes(depth) + 63) / 64 * 16)
    case .split:
      (columns, floats) = (table.nr, SplitLinearStep.panelFloats(depth: depth, table.split.pointee))
      if !transposed { scratchFloats = max(scratchFloats, depth * columns) }
    }
    let panels = (out + columns - 1) / columns, y = buffer(Layout(rows: panels, columns: floats, stride: floats))
    training(name + ".pack", reads: [source], writes: [y]) { r in
      let w = r(source)
      return (.pack(PackStep(weight: w, row: shape.rank == 2 ? w.layout.stride : second, panels: r(.buffer(y)), columns: columns, outFeatures: out, depth: depth, transposed: transposed, form: form)), panels)
    }
    livePanels[key] = y
    return y
  }

  /// One function of rows of the last axis.
  mutating func rowGradient(_ node: Node, _ f: RowGradientStep.Function, _ ids: [ValueID]) throws {
    let places = try ids.map { try place($0) }, y = result(node), layout = buffers[y].layout
    if case .softCrossEntropy = f { scratchFloats = max(scratchFloats, layout.columns) }
    let n = max(1, min(layout.rows, chunks(layout.rows * layout.columns, rows: layout.rows)))
    training(node.name, reads: places, writes: [y]) { r in
      let o = places.map { r($0) }
      return (.rows(RowGradientStep(function: f, a: o[0], b: o.count > 1 ? o[1] : o[0], c: o.count > 2 ? o[2] : o[0], d: o.count > 3 ? o[3] : o[0], y: r(.buffer(y)), chunks: n)), n)
    }
  }

  mutating func positions(_ node: Node, patch: Int, special: Int, rows: Int, columns: Int, resize: PositionResize) throws {
    let s = shapes[node.inputs[1]]!, map: SparseRows
    if let resampling = PositionResampling(nativeRows: rows, nativeColumns: columns, height: s[2], width: s[3], patch: patch, resize: resize) {
      map = SparseRows(resampling.contributions(nativeColumns: columns), before: special)
    } else {
      map = SparseRows((0..<rows * columns).map { [(source: $0, weight: 1)] }, before: special)
    }
    try sparse(node, map)
  }

  private mutating func sparse(_ node: Node, _ map: SparseRows) throws {
    let x = try place(node.inputs[0]), y = result(node)
    training(node.name, reads: [x], writes: [y]) { r in (.sparse(SparseRowsStep(map: map, x: r(x), y: r(.buffer(y)))), map.count) }
  }

  mutating func lower(_ node: Node, _ op: TrainingOperator, flops: Double) throws {
    let shape = shapes[node.output]!, s = node.inputs.map { shapes[$0]! }
    switch op {
    case .concatenateBatch:
      let y = result(node)
      var start = 0
      for id in node.inputs {
        let x = try place(id), n = Layout.dense(shapes[id]!).rows
        rows(node.name, .copy, x: x, y: y, groups: 1, group: n, period: 0, offset: 0, targetPeriod: 0, target: start)
        start += n
      }
    case .splitBatch(let part):
      let x = try place(node.inputs[0]), y = result(node)
      let start = node.inputs[1..<part + 1].reduce(0) { $0 + Layout.dense(shapes[$1]!).rows }
      rows(node.name, .copy, x: x, y: y, groups: 1, group: buffers[y].layout.rows, period: 0, offset: start, targetPeriod: 0, target: 0)
    case .crossViewTargets(let views):
      let x = try place(node.inputs[0]), y = result(node), batch = s[0][0] / 2
      training(node.name, reads: [x], writes: [y]) { r in (.targets(TargetsStep(q: r(x), y: r(.buffer(y)), batch: batch, views: views)), views * batch) }
    case .softCrossEntropy:
      let places = try node.inputs.map { try place($0) }, y = result(node), count = s[0][0]
      let parts = buffer(Layout(rows: count, columns: 2, stride: 2))
      scratchFloats = max(scratchFloats, s[0][1])
      training(node.name + ".rows", reads: places, writes: [parts]) { r in
        (.loss(LossStep(logits: r(places[0]), target: r(places[1]), factor: r(places[2]), y: r(.buffer(parts)))), count)
      }
      training(node.name, reads: [.buffer(parts)], writes: [y]) { r in (.total(TotalStep(x: r(.buffer(parts)), y: r(.buffer(y)))), 1) }
    case .softCrossEntropyGradient: try rowGradient(node, .softCrossEntropy, [1, 2, 3, 0].map { node.inputs[$0] })
    case .weightGradient: try weightGradient(node, dy: place(node.inputs[0]), x: place(node.inputs[1]), flops: flops)
    case .patchWeightGradient(let patch):
      let patches = try patches(of: node.inputs[1], patch: patch, name: node.name)
      try weightGradient(node, dy: place(node.inputs[0]), x: .buffer(patches), flops: flops)
    case .positionGradient(let patch, let special, let rows, let columns, let resize):
      let image = s[1], map: SparseRows
      if let resampling = PositionResampling(nativeRows: rows, nativeColumns: columns, height: image[2], width: image[3], patch: patch, resize: resize) {
        map = SparseRows(transposing: resampling.contributions(nativeColumns: columns), sources: rows * columns, before: special)
      } else {
        map = SparseRows((0..<rows * columns).map { [(source: $0, weight: 1)] }, before: special)
      }
      try sparse(node, map)
    case .sumTo: try sum(node, s[0], to: shape)
    case .placeTokens(let start):
      let x = try place(node.inputs[0]), y = result(node), count = s[0].rank == 3 ? s[0][1] : 1
      training(node.name, reads: [x], writes: [y]) { r in
        (.place(PlaceTokensStep(x: r(x), y: r(.buffer(y)), tokens: shape[1], start: start, count: count, factor: nil)), shape[0])
      }
    case .spreadTokens:
      let x = try place(node.inputs[0]), y = result(node)
      training(node.name, reads: [x], writes: [y]) { r in
        (.place(PlaceTokensStep(x: r(x), y: r(.buffer(y)), tokens: shape[1], start: 0, count: 1, factor: 1 / Float(shape[1]))), shape[0])
      }
    case .layerNormGradient(let epsilon): try rowGradient(node, .layerNorm(Float(epsilon)), node.inputs)
    case .layerNormWeightGradient(let epsilon):
      // Partial sums of fixed blocks of rows: how many threads there are changes nothing.
      let dy = try place(node.inputs[0]), x = try place(node.inputs[1]), y = result(node)
      let count = Layout.dense(s[0]).rows, blocks = (count + LayerNormSumsStep.blockRows - 1) / LayerNormSumsStep.blockRows
      let parts = buffer(.padded([blocks, s[0][-1]]))
      training(node.name + ".parts", reads: [dy, x], writes: [parts]) { r in
        (.layerNormSums(LayerNormSumsStep(dy: r(dy), x: r(x), y: r(.buffer(parts)), epsilon: Float(epsilon))), blocks)
      }
      sumRows(node.name, x: .buffer(parts), y: y, terms: blocks, results: 1)
    case .activationGradient(let f): try rowGradient(node, .activation(code(f)), node.inputs)
    case .gateGradient(let f): try rowGradient(node, .gate(code(f)), node.inputs)
    case .attentionGradient(let heads, let scale):
      let dy = try place(node.inputs[0]), qkv = try place(node.inputs[1]), y = result(node), table = store.table.c.pointee, rounded = table.bf16.pointee
      let width = s[0][2], queries = s[0][1], tokens = s[1][1]
      var kernel: AttentionGradientStep.Kernel = table.f32_attention_gradient, scratch: @convention(c) (Int, Int) -> Int = table.f32_attention_gradient_scratch
      if store.precision == .bf16, let own = rounded.attention_gradient, let size = rounded.attention_gradient_scratch { (kernel, scratch) = (own, size) }
      scratchFloats = max(scratchFloats, scratch(tokens, width / heads))
      training(node.name, flops: flops, reads: [dy, qkv], writes: [y]) { r in
        (.attention(AttentionGradientStep(kernel: kernel, dy: r(dy), qkv: r(qkv), y: r(.buffer(y)), tokens: tokens, queries: queries, heads: heads, width: width, scale: Float(scale))), s[0][0] * heads)
      }
    case .l2NormalizeGradient(let epsilon): try rowGradient(node, .l2Normalize(Float(epsilon)), node.inputs)
    case .weightNormGradient: try rowGradient(node, .weightNormByV, node.inputs)
    case .weightNormScaleGradient: try rowGradient(node, .weightNormByG, node.inputs)
    case .softmaxGradient: try rowGradient(node, .softmax, node.inputs)
    case .batchNorm(let epsilon): try columns(node, .forward, node.inputs, epsilon)
    case .batchNormGradient(let epsilon): try columns(node, .gradient, [1, 2, 2, 0].map { node.inputs[$0] }, epsilon)
    case .batchNormWeightGradient(let epsilon): try columns(node, .weightGradient, [1, 1, 1, 0].map { node.inputs[$0] }, epsilon)
    case .sinkhorn(let iterations):
      let x = try place(node.inputs[0]), y = result(node)
      scratchFloats = max(scratchFloats, s[0][1])
      training(node.name, reads: [x], writes: [y]) { r in (.sinkhorn(SinkhornStep(x: r(x), y: r(.buffer(y)), iterations: iterations)), 1) }
    case .koleo(let groups), .koleoGradient(let groups):
      let isGradient = node.inputs.count == 2, places = try node.inputs.map { try place($0) }, y = result(node)
      training(node.name, reads: places, writes: [y]) { r in
        (.koleo(KoLeoStep(x: r(places[isGradient ? 1 : 0]), dloss: isGradient ? r(places[0]) : nil, y: r(.buffer(y)), groups: groups)), isGradient ? groups : 1)
      }
    case .columnStatistics: try columns(node, .statistics, [node.inputs[0]], 0)
    case .cosineDistance:
      let a = try place(node.inputs[0]), b = try place(node.inputs[1]), y = result(node), count = Layout.dense(s[0]).rows
      let parts = buffer(Layout(rows: count, columns: 2, stride: 2)), n = max(1, chunks(s[0].count, rows: count))
      training(node.name + ".rows", reads: [a, b], writes: [parts]) { r in (.cosine(CosineStep(a: r(a), b: r(b), y: r(.buffer(parts)), chunks: n)), n) }
      training(node.name, reads: [.buffer(parts)], writes: [y]) { r in (.total(TotalStep(x: r(.buffer(parts)), y: r(.buffer(y)))), 1) }
    case .cosineDistanceGradient: try rowGradient(node, .cosineDistance, [1, 2, 0].map { node.inputs[$0] })
    case .gatherRows: try namedRows(node.name, rows: place(node.inputs[1]), x: place(node.inputs[0]), y: result(node), puts: false, count: s[1][0], width: shape[-1])
    case .scatterRows, .replaceRows:
      // The whole first, then the rows that are named: nobody reads between the two.
      let x = try place(node.inputs[0]), y = result(node), layout = buffers[y].layout, isScatter = op == .scatterRows
      if isScatter {
        let n = max(1, chunks(layout.rows * layout.columns, rows: layout.rows))
        training(node.name + ".zeros", reads: [], writes: [y]) { r in (.zeros(ZerosStep(y: r(.buffer(y)), chunks: n)), n) }
      } else {
        rows(node.name + ".others", .copy, x: x, y: y, groups: 1, group: layout.rows, period: 0, offset: 0, targetPeriod: 0, target: 0)
      }
      try namedRows(node.name, rows: place(node.inputs[1]), x: isScatter ? x : place(node.inputs[2]), y: y, puts: true, count: s[1][0], width: shape[-1])
    }
  }

  private mutating func namedRows(_ name: String, rows: Place, x: Place, y: Int, puts: Bool, count: Int, width: Int) {
    let n = max(1, chunks(count * width, rows: count))
    training(name, reads: [rows, x], writes: [y]) { r in (.named(NamedRowsStep(rows: r(rows), x: r(x), y: r(.buffer(y)), puts: puts, chunks: n)), n) }
  }

  /// x, weight, bias, dy: as far as the function reads them.
  private mutating func columns(_ node: Node, _ f: ColumnNormStep.Function, _ ids: [ValueID], _ epsilon: Double) throws {
    let places = try ids.map { try place($0) }, y = result(node), width = shapes[ids[0]]![1]
    training(node.name, reads: places, writes: [y]) { r in
      let o = places.map { r($0) }
      return (.columns(ColumnNormStep(function: f, x: o[0], weight: o.count > 1 ? o[1] : o[0], bias: o.count > 2 ? o[2] : o[0], dy: o.count > 3 ? o[3] : o[0], y: r(.buffer(y)),
                                      epsilon: Float(epsilon))), (width + ColumnNormStep.lanes - 1) / ColumnNormStep.lanes)
    }
  }

  private mutating func weightGradient(_ node: Node, dy: Place, x: Place, flops: Double) throws {
    let shape = shapes[node.output]!, table = store.table
    // Rows of the result are the first extent; a patch embedding's weight has four, and lies dense.
    let outputs = shape[0], inputs = shape.count / outputs
    let y = shape.rank == 2 ? result(node) : buffer(.dense(shape), sink: sinks[node.output])
    placed[node.output] = y
    func whole(_ r: Resolver) -> Operand {
      var out = r(.buffer(y))
      if shape.rank != 2 { out.layout = .dense([outputs, inputs]) }
      return out
    }
    let count = Layout.dense(shapes[node.inputs[0]]!).rows, slabs: Int
    var target = y
    if store.precision == .bf16, !plainInputs.contains(node.inputs[1]) {
      let cut = Bf16WeightGradientStep.Cut(rows: count, outputs: outputs, inputs: inputs)
      slabs = cut.slabs
      scratchFloats = max(scratchFloats, Bf16WeightGradientStep.scratch(cut, inputs: inputs, table))
      if slabs > 1 { target = buffer(.padded([slabs * outputs, inputs])) }
      training(slabs == 1 ? node.name : node.name + ".slabs", flops: flops, reads: [dy, x], writes: [target]) { r in
        let step = Bf16WeightGradientStep(dy: r(dy), x: r(x), y: target == y ? whole(r) : r(.buffer(target)), cut: cut)
        return (.weightBf16(step), step.chunks)
      }
    } else {
      let cut = WeightGradientStep.Cut(rows: count, outputs: outputs, inputs: inputs, table)
      slabs = cut.slabs
      scratchFloats = max(scratchFloats, WeightGradientStep.scratch(table))
      if slabs > 1 { target = buffer(.padded([slabs * outputs, inputs])) }
      training(slabs == 1 ? node.name : node.name + ".slabs", flops: flops, reads: [dy, x], writes: [target]) { r in
        let step = WeightGradientStep(dy: r(dy), x: r(x), y: target == y ? whole(r) : r(.buffer(target)), cut: cut)
        return (.weight(step), step.chunks)
      }
    }
    guard slabs > 1 else { return }
    // Whole rows of the result, a few to a chunk.
    training(node.name, reads: [.buffer(target)], writes: [y]) { r in
      (.sum(SumRowsStep(x: r(.buffer(target)), y: whole(r), terms: slabs, results: outputs, pieces: 1)), outputs)
    }
  }

  private mutating func sum(_ node: Node, _ from: Shape, to: Shape) throws {
    let x = try place(node.inputs[0])
    if from == to, case .buffer(let b) = x {
      placed[node.output] = b
      return
    }
    let padded = Shape(Array(repeating: 1, count: from.rank - to.rank) + to.dims)
    // Leading extents that become 1, then equal ones: rows a fixed distance apart are added.
    let lead = zip(from.dims, padded.dims).prefix { $0 != $1 || $0 == 1 }.count
    guard padded.dims.dropFirst(lead) == from.dims.dropFirst(lead), lead < from.rank else {
      throw RuntimeError.unsupported(node: node.name, reason: "a sum of \(from) to \(to) has no kernel")
    }
    let y = result(node), terms = from.dims.prefix(lead).reduce(1, *)
    sumRows(node.name, x: x, y: y, terms: terms, results: buffers[y].layout.rows)
  }

  private mutating func sumRows(_ name: String, x: Place, y: Int, terms: Int, results: Int) {
    let columns = buffers[y].layout.columns
    let pieces = results == 1 ? (columns + SumRowsStep.sliceColumns - 1) / SumRowsStep.sliceColumns : 1
    training(name, reads: [x], writes: [y]) { r in
      (.sum(SumRowsStep(x: r(x), y: r(.buffer(y)), terms: terms, results: results, pieces: pieces)), results * pieces)
    }
  }
}
