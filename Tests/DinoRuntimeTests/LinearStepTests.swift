// Which panels the chunks of a linear step take: each panel once, whatever the threads, and a thread's share of queries, keys and values the same heads of all three.

@testable import DinoRuntime
import DinoKernels
import DinoTensor
import Testing

@Suite struct LinearStepTests {
  private static func step(rows: Int, columns: Int, depth: Int, threads: Int, parts: Int) throws -> (step: LinearStep, chunks: Int) {
    let table = KernelTable.selected
    func operand(_ columns: Int) -> Operand { Operand(fixed: nil, slot: 0, layout: Layout(rows: rows, columns: columns, stride: columns)) }
    // Nothing is read: where the panels lie does not matter.
    let block = try FloatBlock(count: 16)
    let weights = WeightPanels(base: UnsafePointer(block.pointer), outFeatures: columns, inFeatures: depth, panelColumns: table.panelColumns)
    let layer = LayerOperands(x: operand(depth), y: operand(columns), bias: nil, scale: nil, residual: nil, activation: 0)
    return LinearStep.make(layer, weights: weights, table: table, threads: threads, parts: parts)
  }

  @Test(arguments: [1, 2, 3, 4, 7, 16], [1, 3]) func everyPanelOnce(threads: Int, parts: Int) throws {
    for (rows, columns, depth) in [(197, 1152, 384), (197, 576, 192), (5, 1152, 384), (1576, 1152, 384), (37, 3 * 160, 160), (1, 96, 32), (50, 3072, 64)] {
      let (step, chunks) = try Self.step(rows: rows, columns: columns, depth: depth, threads: threads, parts: parts)
      let panels = (columns + step.panelColumns - 1) / step.panelColumns
      var seen: [Int: Int] = [:]
      for chunk in 0..<chunks {
        let first = step.firstPanel(chunk)
        for panel in first..<min(first + step.groupPanels, panels) { seen[chunk / step.groups * panels + panel, default: 0] += 1 }
      }
      #expect(seen.count == step.blocks * panels && seen.values.allSatisfy { $0 == 1 }, "\(rows) x \(columns), depth \(depth)")
    }
  }

  @Test func sharesHaveTheSameHeads() throws {
    let threads = 2
    let (step, chunks) = try Self.step(rows: 197, columns: 1152, depth: 384, threads: threads, parts: 3)
    #expect(step.parts == 3)
    for thread in 0..<threads {
      let columns = Set(slice(chunks, threads, thread).map { step.firstPanel($0) * step.panelColumns })
      let heads = columns.map { $0 % 384 / 64 }
      #expect(Set(heads) == Set(thread * 3..<thread * 3 + 3) && columns.count == chunks / threads)
    }
  }
}
