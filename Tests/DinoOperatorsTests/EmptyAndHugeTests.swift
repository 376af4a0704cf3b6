// Tensors of no elements, and extents and attributes that no machine holds: an answer or a refusal, never a trap or memory that nobody wrote.

import DinoGraph
import DinoKernels
import DinoOperators
import DinoTensor
import Testing

@Suite struct EmptyAndHugeTests {
  @Test func convolutionsWithoutChannels() throws {
    let image = floats([Float](repeating: 1, count: 128), [1, 2, 8, 8])
    for kernel: Shape in [[0, 2, 3, 3], [0, 2, 1, 1]] { #expect(try applied("Conv", 11, [image, floats([], kernel)])[0].count == 0) }
    #expect(try applied("Conv", 11, [image, floats([], [0, 1, 3, 3])], ["group": .int(2)])[0].shape == [1, 0, 6, 6])
    // A sum over nothing is 0, and then the bias.
    let none = floats([], [2, 0, 8, 8]), weight = floats([], [3, 0, 3, 3])
    #expect(try applied("Conv", 11, [none, weight])[0].floats() == [Float](repeating: 0, count: 2 * 3 * 36))
    #expect(try applied("Conv", 11, [none, weight, floats([1, 2, 3])])[0].floats() == (0..<6).flatMap { [Float](repeating: Float($0 % 3 + 1), count: 36) })
  }

  @Test func extentsOfNothing() {
    #expect(Shape([0, 1 << 40]).checkedCount == 0 && Shape([3, 0, 5]).checkedCount == 0)
    for huge: Shape in [[0, 1, .max, 1], [0, 1 << 62, 4], [.max, 0], [1 << 31, 1 << 31], [-1, 0]] { #expect(huge.checkedCount == nil) }
    #expect(refused("ConstantOfShape", 9, [int64s([0, 1, .max, 1])]))
  }

  @Test func einsumOfNothing() throws {
    for (a, b) in [([], [1]), ([1], [])] as [([Float], [Float])] {
      #expect(try applied("Einsum", 12, [floats(a), floats(b)], ["equation": .string("i,i->i")])[0].shape == [0])
    }
  }

  @Test func resultsThatNoMachineHolds() {
    let one = floats([1], [1, 1, 1, 1])
    #expect(refused("Resize", 19, [one, nil, nil, int64s([1, 1, 1, 1 << 40])], ["mode": .string("nearest")]))
    #expect(refused("Resize", 19, [one, nil, floats([1, 1, 1, 0x1p38])], ["mode": .string("linear"), "antialias": .int(1)]))
    #expect(refused("Resize", 19, [one, nil, nil, int64s([1, 1, 1, 1 << 30])], ["mode": .string("linear")]))
    let weights = bytes([UInt8](repeating: 0, count: 32), [2, 1, 16]), scales = floats([1, 1])
    let attributes: [String: GenericAttribute] = ["K": .int(8), "N": .int(2), "bits": .int(4)]
    #expect(!refused("com.microsoft.MatMulNBits", 1, [floats([Float](repeating: 1, count: 8), [1, 8]), weights, scales], attributes.merging(["block_size": .int(32)]) { $1 }))
    for size in [1 << 62, 1 << 40, 17, 0, -16] {
      #expect(refused("com.microsoft.MatMulNBits", 1, [floats([Float](repeating: 1, count: 8), [1, 8]), weights, scales], attributes.merging(["block_size": .int(size)]) { $1 }))
    }
  }

  /// A network that has gone wrong must not look healthy.
  @Test func notANumberStays() throws {
    let x = floats((0..<40).map { $0 % 7 == 3 ? .nan : Float($0) - 20 })
    for name in ["Relu", "Sigmoid", "Tanh", "Gelu"] {
      let y = try applied(name, name == "Gelu" ? 20 : 14, [x])[0].floats()
      #expect(y.indices.allSatisfy { y[$0].isNaN == ($0 % 7 == 3) }, "\(name)")
    }
    let row = try applied("Softmax", 13, [floats([1, .nan, 3])])[0].floats()
    #expect(row[1].isNaN)
  }
}
