// Feed-forward parts in f32: on very many rows the inner rows, several times as wide as the outer ones, take turns in one block of memory; a gate makes its own there. The numbers are those of the whole.

import DinoGraph
import DinoKernels
import DinoTensor

extension Compiler {
  /// Lowers the pair of linear layers that begins at node `index` in blocks of rows, where what is between them would take more than `hiddenBytes`; where a gate is between them, whose
  /// result takes the place of what it reads, always. Returns how many nodes it took.
  mutating func rowBlocks(at index: Int, flops: [Int]) throws -> Int {
    guard index + 1 < graph.nodes.count else { return 0 }
    let first = graph.nodes[index], wide = first.output
    func isRead(_ id: ValueID, by i: Int) -> Bool { allReaders[id] == [i] && !graph.outputs.contains(where: { $0.value == id }) }
    var last = index + 1, gate: Gate?
    if case .core(.gate(let activation)) = graph.nodes[last].op, isRead(wide, by: last), last + 1 < graph.nodes.count { (gate, last) = (self.gate(activation), last + 1) }
    let second = graph.nodes[last], between = gate == nil ? wide : graph.nodes[index + 1].output
    guard case .core(.linear(let e1)) = first.op, case .core(.linear(let e2)) = second.op, e1.integers == nil, e2.integers == nil,
          second.inputs[0] == between, !second.inputs.dropFirst().contains(between), isRead(between, by: last), e1.residualIndex == nil, constants[first.inputs[0]] == nil,
          store.precision == .f32 || e2.transposedWeight || keptWeights.contains(second.inputs[1]), let w1 = try plain(first.inputs[1]), let w2 = try plain(second.inputs[1]) else { return 0 }
    let whole = Layout.padded(shapes[wide]!), columns = shapes[between]![-1]
    let pieces = (whole.floats * 4 + hiddenBytes - 1) / max(hiddenBytes, 1)
    guard gate != nil || pieces > 1 && whole.rows > 1 else { return 0 }
    let x = try place(first.inputs[0]), residual = try e2.residualIndex.map { try place(second.inputs[$0]) }
    for place in [x, residual] { if case .input? = place { return 0 } }
    let rows = min(whole.rows, ((whole.rows + pieces - 1) / pieces + 15) / 16 * 16)
    let p1 = try store.packed(w1, outFeatures: w1.shape[e1.transposedWeight ? 1 : 0], transposed: e1.transposedWeight)
    let p2 = try store.packed(w2, outFeatures: w2.shape[e2.transposedWeight ? 1 : 0], transposed: e2.transposedWeight)
    let b1 = try e1.biasIndex.map { try vector(first.inputs[$0], first) }, b2 = try e2.biasIndex.map { try vector(second.inputs[$0], second) }
    let s1 = try e1.scaleIndex.map { try vector(first.inputs[$0], first) }, s2 = try e2.scaleIndex.map { try vector(second.inputs[$0], second) }
    splitScratch(p1)
    splitScratch(p2)
    let linearStep = linearStep, a1 = code(e1.activation), a2 = code(e2.activation)
    let hidden = buffer(Layout(rows: rows, columns: whole.columns, stride: whole.stride))
    buffers[hidden].byColumns = rows == whole.rows
    let y = result(second)
    for start in stride(from: 0, to: whole.rows, by: rows) {
      let range = start..<min(start + rows, whole.rows), share = Double(range.count) / Double(whole.rows)
      step(first.name, flops: Double(flops[index]) * share, reads: [x], writes: [hidden]) { r in
        linearStep(p1, LayerOperands(x: r(x).rows(range), y: r(.buffer(hidden)).rows(0..<range.count), bias: b1, scale: s1, residual: nil, activation: a1), 1)
      }
      if let gate {
        let n = chunks(range.count * columns, rows: range.count)
        step(graph.nodes[index + 1].name, reads: [.buffer(hidden)], writes: [hidden]) { r in
          let x = r(.buffer(hidden)).rows(0..<range.count)
          return (.rows(RowsStep(function: .gate(gate), x: x, y: x.columns(columns), groups: 1, group: range.count, period: 0, offset: 0, targetPeriod: 0, target: 0, chunks: n)), n)
        }
      }
      step(second.name, flops: Double(flops[last]) * share, reads: [.buffer(hidden)] + (residual.map { [$0] } ?? []), writes: [y]) { r in
        linearStep(p2, LayerOperands(x: r(.buffer(hidden)).rows(0..<range.count).columns(columns), y: r(.buffer(y)).rows(range), bias: b2, scale: s2, residual: residual.map { r($0).rows(range) }, activation: a2), 1)
      }
    }
    return last + 1 - index
  }
}

extension Operand {
  /// The first columns of rows.
  func columns(_ count: Int) -> Operand { Operand(fixed: fixed, slot: slot, layout: Layout(rows: layout.rows, columns: count, stride: layout.stride)) }

  /// Some of the rows of fixed memory.
  func rows(_ range: Range<Int>) -> Operand {
    Operand(fixed: fixed.map { $0 + range.lowerBound * layout.stride }, slot: slot, layout: Layout(rows: range.count, columns: layout.columns, stride: layout.stride))
  }
}
