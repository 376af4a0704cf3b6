// How products of integers with given steps are lowered (a linear with `integers`): a value's rows become words once, however many products read them. Nothing here
// computes; Steps/IntegerSteps.swift does.

import CDinoKernels
import DinoGraph
import DinoKernels
import DinoTensor

extension Compiler {
  /// Rows of words that a product reads.
  struct IntegerRows {
    var words: Int
    var scales: Int
  }
  struct IntegerRowsKey: Hashable {
    var x: ValueID
    var input: IntegerInput
    var totals: Bool
  }

  mutating func integerLinear(_ node: Node, _ e: LinearEpilogue, _ input: IntegerInput, flops: Double) throws {
    guard let weight = constants[node.inputs[1]], let zeros = constants[node.inputs[3]] else { throw RuntimeError.unsupported(node: node.name, reason: "its weight is not constant") }
    if case .fixed(let s) = input, !(s.lower >= 0 && s.upper <= 255 || s.lower >= -128 && s.upper <= 127) {
      throw RuntimeError.unsupported(node: node.name, reason: "steps of more than 8 bits")
    }
    let panels = try store.integers(weight, transposed: e.transposedWeight)
    let columns = weight.shape[e.outAxis], depth = weight.shape[e.inAxis]
    let zeroShift: Float = weight.dtype == .u8 ? 128 : 0
    let shifted = zeros.floats().map { $0 - zeroShift }
    var zeroBlock: FloatBlock?
    if shifted.contains(where: { $0 != 0 }) {
      let block = try FloatBlock(shifted)
      keep(block)
      zeroBlock = block
    }
    let x = try integerRows(node, input, totals: zeroBlock != nil)
    let scales = try vector(node.inputs[2], node), biasPointer = try e.biasIndex.map { try vector(node.inputs[$0], node) }
    let scalePointer = try e.scaleIndex.map { try vector(node.inputs[$0], node) }
    let add = try e.residualIndex.map { try place(node.inputs[$0]) }
    let y = buffer(.padded(shapes[node.output]!)), act = code(e.activation), zeroPointer = zeroBlock.map { UnsafePointer($0.pointer) }
    placed[node.output] = y
    let cut = IntegerLinearStep.cut(rows: buffers[y].layout.rows, columns: columns, panelColumns: panels.panelColumns, depth: depth, threads: threads)
    step(node.name, flops: flops, reads: [.buffer(x.words), .buffer(x.scales)] + (add.map { [$0] } ?? []), writes: [y]) { r in
      let made = IntegerLinearStep(
        words: r(.buffer(x.words)), scales: r(.buffer(x.scales)), y: r(.buffer(y)), panels: panels.base, panelBytes: panels.panelBytes, panelColumns: panels.panelColumns,
        depth: depth, columns: columns, weightScales: scales, weightZeros: zeroPointer, bias: biasPointer, scale: scalePointer, residual: add.map { r($0) }, activation: act,
        blockRows: cut.blockRows, blocks: cut.blocks, groupPanels: cut.groupPanels, groups: cut.groups)
      return (.integerLinear(made), cut.blocks * cut.groups)
    }
  }

  private mutating func integerRows(_ node: Node, _ input: IntegerInput, totals: Bool) throws -> IntegerRows {
    let id = node.inputs[0], key = IntegerRowsKey(x: id, input: input, totals: totals)
    if let known = integerRowsMade[key] { return known }
    let x = try place(id), shape = shapes[id]!, depth = store.table.c.pointee.i8.pointee.depth
    let columns = shape[-1], rows = shape.count / max(columns, 1)
    // The last vector of a row may be written whole.
    let words = buffer(.padded([rows, (columns + depth - 1) / depth + 16])), scales = buffer(.padded([1, 3 * max(rows, 1)]))
    let chunks = max(1, min(rows, min(4 * threads, shape.count / 16_384)))
    var parts: Int?
    if input == .dynamic {
      let made = buffer(.padded([1, 16 * chunks]))
      parts = made
      step(node.name + ".range", reads: [x], writes: [made]) { r in (.range(RangeStep(x: r(x), parts: r(.buffer(made)), chunks: chunks)), chunks) }
    }
    let partCount = chunks, from = parts
    step(node.name + ".words", reads: [x] + (from.map { [.buffer($0)] } ?? []), writes: [words, scales]) { r in
      let steps: IntegerRowsStep.Steps
      switch input {
      case .fixed(let s): steps = .fixed(s)
      case .dynamic: steps = .range(parts: r(.buffer(from!)), count: partCount)
      }
      return (.integerRows(IntegerRowsStep(x: r(x), words: r(.buffer(words)), scales: r(.buffer(scales)), wantsTotals: totals, steps: steps, chunks: chunks)), chunks)
    }
    let made = IntegerRows(words: words, scales: scales)
    integerRowsMade[key] = made
    return made
  }
}
