// Gates of feed-forward parts on every table against their plain twin: f32's near it, int8's the same bits everywhere and near it, in place too.

import CDinoKernels
import DinoKernels
import TestSupport
import Testing

enum GatedKernels {
  static let functions: [(code: Int32, function: @Sendable (Float) -> Float)] = [(Int32(DK_GELU), Reference.gelu), (Int32(DK_GELU_TANH), Reference.geluTanh), (Int32(DK_RELU), Reference.relu), (Int32(DK_SILU), Reference.silu)]
}

@Suite struct GatedKernelTests {
  static let tables = KernelTable.available.map(\.name)

  /// Rows of 2 · `count`, gated into their first half or elsewhere.
  private func run(_ kernel: (Int32, UnsafePointer<Float>?, UnsafePointer<Float>?, UnsafeMutablePointer<Float>?, Int) -> Void, _ code: Int32, _ x: [Float], inPlace: Bool) -> [Float] {
    let count = x.count / 2
    var wide = x, y = [Float](repeating: .nan, count: count + 1)
    wide.withUnsafeMutableBufferPointer { w in
      y.withUnsafeMutableBufferPointer { out in kernel(code, w.baseAddress, w.baseAddress! + count, inPlace ? w.baseAddress : out.baseAddress, count) }
    }
    #expect(y[count].isNaN && Array(wide[count...]) == Array(x[count...]))
    return inPlace ? Array(wide[..<count]) : Array(y[..<count])
  }

  @Test(arguments: tables) func agreeWithTheTwin(_ name: String) {
    let table = KernelTable.named(name)!.c.pointee, portable = KernelTable.named(Self.tables.last!)!.c.pointee
    var random = SplitMix64(seed: 41)
    for (code, f) in GatedKernels.functions {
      for count in [1, 3, 15, 16, 17, 63, 64, 65, 100, 197] {
        let x = random.floats(2 * count, in: -9...9), expected = Reference.gate(x, columns: count, f)
        for inPlace in [false, true] {
          #expect(maxAbsoluteDifference(run(table.f32_gate, code, x, inPlace: inPlace), expected) < 4e-5, "activation \(code), \(count)")
          let exact = run(table.i8.pointee.gate, code, x, inPlace: inPlace)
          // GELU is approximated for the rounding that follows it.
          #expect(maxAbsoluteDifference(exact, expected) < 2e-3, "activation \(code), \(count)")
          #expect(exact.map(\.bitPattern) == run(portable.i8.pointee.gate, code, x, inPlace: inPlace).map(\.bitPattern), "activation \(code), \(count)")
        }
      }
    }
  }
}
