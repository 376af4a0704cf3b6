// Twins and shape rules of arithmetic, unary and comparison operators: known answers in several types, broadcasting, zero extents, refusals.

import DinoGraph
import DinoOperators
import DinoTensor
import Testing

private func shorts(_ values: [Int16]) -> Tensor { Tensor.copy(values, dtype: .i16, shape: [values.count]) }
private func halves(_ values: [Float]) throws -> Tensor { try floats(values).converted(to: .f16) }
private func bools(_ values: [UInt8]) -> Tensor { Tensor.copy(values, dtype: .bool, shape: [values.count]) }
private func doubles(_ values: [Double]) -> Tensor { Tensor.copy(values, dtype: .f64, shape: [values.count]) }

@Suite struct ElementwiseTests {
  @Test func broadcastsLikeNumPy() throws {
    let row = floats([1, 2, 3], [1, 3]), column = floats([10, 20], [2, 1])
    let sum = try applied("Add", 14, [row, column])[0]
    #expect(sum.shape == [2, 3])
    #expect(sum.floats() == [11, 12, 13, 21, 22, 23])
    #expect(try applied("Sub", 14, [floats([1, 2, 3, 4, 5, 6], [2, 1, 3]), floats([1, 2], [2, 1])])[0].floats() == [0, 1, 2, -1, 0, 1, 3, 4, 5, 2, 3, 4])
    #expect(try applied("Mul", 14, [floats([], [0, 3]), floats([1, 2, 3])])[0].shape == [0, 3])
    #expect(refused("Add", 14, [floats([1, 2]), floats([1, 2, 3])]))
    #expect(refused("Add", 14, [floats([1, 2]), int64s([1, 2])]))
    #expect(refused("Add", 14, [floats([1])]))
  }

  @Test func integersWrapAndTruncate() throws {
    #expect(try applied("Add", 14, [signed([127]), signed([1])])[0].integers() == [-128])
    #expect(try applied("Mul", 14, [shorts([300]), shorts([300])])[0].integers() == [24464])
    #expect(try applied("Div", 14, [int64s([-7, 7, .min]), int64s([2, -2, -1])])[0].integers() == [-3, -3, .min])
    #expect(refused("Div", 14, [int64s([1]), int64s([0])]))
    #expect(try applied("Mod", 13, [int64s([-4, 7, 5, 4, -7, 8]), int64s([2, -3, 8, -2, 3, 5])])[0].integers() == [0, -2, 5, 0, 2, 3])
    #expect(try applied("Mod", 13, [int64s([-7, 7]), int64s([3, -3])], ["fmod": .int(1)])[0].integers() == [-1, 1])
    #expect(refused("Mod", 13, [int64s([1]), int64s([0])]))
    #expect(refused("Mod", 13, [floats([1]), floats([2])]))
    #expect(try applied("Mod", 28, [floats([-4.5, 4.5]), floats([2, -2])])[0].floats() == [1.5, -1.5])
    #expect(try applied("Abs", 13, [signed([-128, -3])])[0].integers() == [-128, 3])
    #expect(try applied("BitShift", 11, [bytes([16, 4, 1]), bytes([1, 2, 9])], ["direction": .string("RIGHT")])[0].integers() == [8, 1, 0])
  }

  @Test func halvesRoundAfterEachStep() throws {
    #expect(try applied("Add", 14, [halves([2048]), halves([1])])[0].floats() == [2048])
    #expect(try applied("Sum", 13, [halves([2048]), halves([1]), halves([1])])[0].floats() == [2048])
    #expect(try applied("Add", 14, [floats([256]).converted(to: .bf16), floats([1]).converted(to: .bf16)])[0].floats() == [256])
  }

  @Test func powersHaveTheTypeOfTheBase() throws {
    #expect(try applied("Pow", 15, [floats([2, 3, 4]), int64s([2])])[0].floats() == [4, 9, 16])
    #expect(try applied("Pow", 15, [int64s([2, -3, 5]), floats([2.5, 3, 0])])[0].integers() == [5, -27, 1])
    #expect(try applied("Pow", 15, [int64s([3, -1, 2]), int64s([39, -3, -1])])[0].integers() == [4052555153018976267, -1, 0])
    #expect(try applied("Pow", 15, [floats([-8, 4]), floats([0.5, 0.5])])[0].floats()[1] == 2)
    #expect(refused("Pow", 15, [int64s([0]), int64s([-1])]))
  }

  @Test func notANumberPasses() throws {
    let x = floats([.nan, 1, .infinity])
    #expect(try applied("Max", 13, [x, floats([0, .nan, 2])])[0].floats().map(\.isNaN) == [true, true, false])
    #expect(try applied("Clip", 13, [x, scalar(0), scalar(5)])[0].floats()[1...] == [1, 5])
    #expect(try applied("Clip", 13, [x, scalar(0), scalar(5)])[0].floats()[0].isNaN)
    #expect(try applied("Relu", 14, [x])[0].floats()[0].isNaN)
    #expect(try applied("IsNaN", 20, [x])[0].integers() == [1, 0, 0])
    #expect(try applied("IsInf", 20, [floats([-.infinity, .infinity, 1])], ["detect_negative": .int(0)])[0].integers() == [0, 1, 0])
    #expect(try applied("Equal", 13, [x, x])[0].integers() == [0, 1, 1])
  }

  @Test func clipByVersion() throws {
    let x = floats([-2, 0.5, 9])
    #expect(try applied("Clip", 7, [x], ["min": .float(0), "max": .float(1)])[0].floats() == [0, 0.5, 1])
    #expect(try applied("Clip", 13, [x, nil, scalar(3)])[0].floats() == [-2, 0.5, 3])
    // Limits out of order: the upper one wins.
    #expect(try applied("Clip", 13, [x, scalar(2), scalar(1)])[0].floats() == [1, 1, 1])
    #expect(refused("Clip", 13, [x, floats([1, 2])]))
  }

  @Test func castsBetweenAllKinds() throws {
    func cast(_ x: Tensor, _ to: Int) throws -> Tensor { try applied("Cast", 13, [x], ["to": .int(to)])[0] }
    #expect(try cast(floats([-1.9, 1.9, 300, -0.5]), 7).integers() == [-1, 1, 300, 0])
    #expect(try cast(floats([1.9, 200, 300]), 2).integers() == [1, 200, 44])
    #expect(try cast(shorts([200, -1]), 3).integers() == [-56, -1])
    #expect(try cast(floats([0, -0.0, 0.1, .nan]), 9).integers() == [0, 0, 1, 1])
    #expect(try cast(bools([1, 0]), 1).floats() == [1, 0])
    #expect(try cast(int64s([1 << 40]), 6).integers() == [0])
    #expect(try cast(int64s([16_777_217]), 1).floats() == [16_777_216])
    // Rounded once, not by way of F32.
    #expect(try cast(doubles([1 + 0.00048828125 + 1e-12]), 10).floats() == [1.0009765625])
    #expect(try cast(floats([1e6, -1e6]), 10).floats() == [.infinity, -.infinity])
    #expect(try applied("CastLike", 19, [floats([2.5]), int64s([])])[0].integers() == [2])
    for hostile in [0, 8, 17, 99, -1, Int.max] { #expect(refused("Cast", 13, [floats([1])], ["to": .int(hostile)])) }
    #expect(refused("Cast", 13, [floats([1])]))
  }

  @Test func activations() throws {
    let x = floats([-2, -0.5, 0, 1])
    #expect(try applied("HardSwish", 14, [floats([-4, 0, 3])])[0].floats() == [0, 0, 3])
    #expect(try applied("HardSigmoid", 6, [floats([-3, 0, 3])])[0].floats() == [0, 0.5, 1])
    #expect(try applied("LeakyRelu", 16, [x], ["alpha": .float(0.5)])[0].floats() == [-1, -0.25, 0, 1])
    #expect(try applied("PRelu", 16, [x, floats([0.5])])[0].floats() == [-1, -0.25, 0, 1])
    #expect(refused("PRelu", 16, [floats([1]), floats([1, 2])]))
    let exact: [Float] = [-0.04550026, -0.15426877, 0, 0.8413447], close = { (a: [Float], b: [Float]) in zip(a, b).allSatisfy { abs($0 - $1) < 1e-5 } }
    #expect(close(try applied("Gelu", 20, [x])[0].floats(), exact))
    #expect(close(try applied("com.microsoft.Gelu", 1, [x])[0].floats(), exact))
    #expect(close(try applied("com.microsoft.BiasGelu", 1, [floats([-3, -1.5, -1, 0], [1, 4]), floats([1, 1, 1, 1])])[0].floats(), exact))
    #expect(refused("com.microsoft.BiasGelu", 1, [x, floats([1])]))
    #expect(close(try applied("com.microsoft.QuickGelu", 1, [floats([1])], ["alpha": .float(1)])[0].floats(), [0.7310586]))
    #expect(try applied("Round", 22, [floats([0.5, 1.5, -2.5])])[0].floats() == [0, 2, -2])
  }

  @Test func dropoutOnlyPasses() throws {
    let results = try applied("Dropout", 13, [floats([1, 2]), scalar(0.3)], outputs: 2)
    #expect(results[0].floats() == [1, 2])
    #expect(results[1].integers() == [1, 1])
    #expect(refused("Dropout", 13, [floats([1, 2]), scalar(0.3), Tensor.copy([UInt8(1)], dtype: .bool, shape: [])]))
    #expect(try applied("Dropout", 7, [floats([1, 2])], outputs: 2)[1].dtype == .f32)
  }

  @Test func logic() throws {
    #expect(try applied("And", 7, [bools([1, 1, 0]), bools([1, 0, 0])])[0].integers() == [1, 0, 0])
    #expect(try applied("Xor", 7, [bools([1, 1, 0]), bools([1, 0, 0])])[0].integers() == [0, 1, 0])
    #expect(try applied("Not", 7, [bools([1, 0])])[0].integers() == [0, 1])
    #expect(try applied("LessOrEqual", 16, [shorts([1, 2, 3]), shorts([2])])[0].integers() == [1, 1, 0])
    #expect(refused("And", 7, [floats([1]), floats([1])]))
  }
}
