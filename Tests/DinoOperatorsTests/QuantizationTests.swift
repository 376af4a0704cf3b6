// Twins and shape rules of quantization: known answers, agreement of rule and twin, refusals. ONNX's own node tests are elsewhere.

import DinoGraph
import DinoOperators
import DinoTensor
import Testing

/// Applies an operator, and checks that its shape rule foretold type and shape of every result.
func applied(_ name: String, _ version: Int, _ inputs: [Tensor?], outputs: Int = 1, _ attributes: [String: GenericAttribute] = [:]) throws -> [Tensor] {
  let op = Generic(try #require(GenericKind(name: name)), version: version, attributes: attributes)
  let facts = try op.infer(inputs.map { $0.map(ValueFact.init) }, outputs: outputs), results = try op.evaluate(inputs, outputs: outputs)
  #expect(facts.count >= outputs && results.count >= outputs)
  for (fact, result) in zip(facts, results) {
    #expect(fact.shape == result.shape)
    #expect(fact.dtype == result.dtype)
  }
  return results
}

/// Whether the operator is refused, by rule or twin.
func refused(_ name: String, _ version: Int, _ inputs: [Tensor?], outputs: Int = 1, _ attributes: [String: GenericAttribute] = [:]) -> Bool {
  guard let kind = GenericKind(name: name) else { return false }
  return (try? Generic(kind, version: version, attributes: attributes).evaluate(inputs, outputs: outputs)) == nil
}

func floats(_ values: [Float], _ shape: Shape? = nil) -> Tensor { Tensor(values, shape: shape ?? [values.count]) }
func scalar(_ value: Float) -> Tensor { Tensor([value], shape: []) }
func bytes(_ values: [UInt8], _ shape: Shape? = nil) -> Tensor { Tensor.copy(values, dtype: .u8, shape: shape ?? [values.count]) }
func signed(_ values: [Int8], _ shape: Shape? = nil) -> Tensor { Tensor.copy(values, dtype: .i8, shape: shape ?? [values.count]) }
func int64s(_ values: [Int64], _ shape: Shape? = nil) -> Tensor { Tensor.copy(values, dtype: .i64, shape: shape ?? [values.count]) }
func zeroByte(_ value: UInt8) -> Tensor { bytes([value], []) }

@Suite struct QuantizationTests {
  @Test func quantizeRoundsHalfToEvenAndSaturates() throws {
    let x = floats([0, 2, 3, 1000, -254, -1000, 1, 5])
    let y = try applied("QuantizeLinear", 10, [x, scalar(2), zeroByte(128)])[0]
    #expect(y.integers() == [128, 129, 130, 255, 1, 0, 128, 130])
    // Not a number is the lowest.
    #expect(try applied("QuantizeLinear", 10, [floats([.nan, .infinity, -.infinity]), scalar(1), zeroByte(3)])[0].integers() == [0, 255, 0])
    let wide = Tensor.copy([UInt16(32767)], dtype: .u16, shape: [])
    #expect(try applied("QuantizeLinear", 21, [floats([0, -128, 3, 100000]), scalar(2), wide])[0].integers() == [32767, 32703, 32769, 65535])
    #expect(try applied("QuantizeLinear", 21, [floats([-3, 3]), scalar(2)], ["output_dtype": .int(3)])[0].dtype == .i8)
  }

  @Test func scalesOfAxesAndBlocks() throws {
    let x = floats([1, 2, 3, 4, 5, 6], [2, 3])
    #expect(try applied("QuantizeLinear", 13, [x, floats([1, 2, 3]), bytes([0, 1, 2])], ["axis": .int(-1)])[0].integers() == [1, 2, 3, 4, 3, 4])
    #expect(try applied("QuantizeLinear", 13, [x, floats([1, 2])], ["axis": .int(0)])[0].integers() == [1, 2, 3, 2, 2, 3])
    // Blocks of two along three columns: the last block is short.
    let scales = floats([1, 2, 4, 8], [2, 2]), q = bytes([1, 2, 3, 4, 5, 6], [2, 3])
    #expect(try applied("DequantizeLinear", 21, [q, scales, bytes([0, 1, 0, 1], [2, 2])], ["block_size": .int(2)])[0].floats() == [1, 2, 4, 16, 20, 40])
    #expect(try applied("DequantizeLinear", 21, [q, floats([1, 2, 3], [1, 3])], ["block_size": .int(2), "axis": .int(0)])[0].floats() == [1, 4, 9, 4, 10, 18])
    #expect(try applied("QuantizeLinear", 21, [floats([], [0, 3]), floats([], [0])], ["axis": .int(0)])[0].shape == [0, 3])
  }

  @Test func halfScales() throws {
    let half = Tensor.copy([halfFromFloat(0.5)], dtype: .f16, shape: [])
    let y = try applied("DequantizeLinear", 19, [signed([-3, 5]), half])[0]
    #expect(y.dtype == .f16)
    #expect(y.floats() == [-1.5, 2.5])
    #expect(try applied("DequantizeLinear", 23, [signed([-3, 5]), half], ["output_dtype": .int(1)])[0].dtype == .f32)
  }

  @Test func dynamicScales() throws {
    let results = try applied("DynamicQuantizeLinear", 11, [floats([0, 2, -3, -2.5, 1.34, 0.5])], outputs: 3)
    #expect(results[0].integers() == [153, 255, 0, 26, 221, 179])
    #expect(results[1].floats() == [5 / 255])
    #expect(results[2].integers() == [153])
    #expect(try applied("DynamicQuantizeLinear", 11, [floats([0, 0])], outputs: 3)[0].integers() == [0, 0])
    #expect(refused("DynamicQuantizeLinear", 11, [floats([.infinity])], outputs: 3))
  }

  @Test func products() throws {
    let a = bytes([208, 236, 0, 238, 3, 214, 255, 29], [2, 4]), b = bytes([152, 51, 244, 60, 26, 255, 0, 127, 246, 127, 254, 247], [4, 3])
    let y = try applied("QLinearMatMul", 21, [a, floats([0.0066]), bytes([113]), b, floats([0.00705]), bytes([114]), floats([0.0107]), bytes([118])])[0]
    #expect(y.integers() == [168, 115, 255, 1, 66, 151])
    // [1, 2] · [[1, 2], [3, 4]] with a scale for each column.
    let c = try applied("QLinearMatMul", 10, [bytes([1, 2]), scalar(1), zeroByte(0), bytes([1, 2, 3, 4], [2, 2]), floats([1, 2]), bytes([0, 0]), scalar(1), zeroByte(1)])[0]
    #expect(c.shape == [2])
    #expect(c.integers() == [8, 21])
    let gemm = try applied("com.microsoft.QGemm", 17, [bytes([1, 2], [1, 2]), scalar(0.5), zeroByte(0), bytes([1, 3, 2, 4], [2, 2]), scalar(1), zeroByte(0),
                                                        Tensor.copy([Int32(1), 2], dtype: .i32, shape: [2])], ["transB": .int(1)])[0]
    #expect(gemm.floats() == [4, 6])
  }

  @Test func convolutionPadsWithTheZeroPoint() throws {
    let x = bytes([3, 3, 3, 3], [1, 1, 2, 2]), w = bytes([2, 2, 2, 2], [1, 1, 2, 2])
    let y = try applied("QLinearConv", 10, [x, scalar(1), zeroByte(1), w, scalar(1), zeroByte(1), scalar(1), zeroByte(10)], ["pads": .ints([1, 1, 0, 0])])[0]
    #expect(y.shape == [1, 1, 2, 2])
    #expect(y.integers() == [12, 14, 14, 18])
    let biased = try applied("QLinearConv", 10, [x, scalar(1), zeroByte(1), w, floats([0.5]), bytes([1]), scalar(1), zeroByte(0),
                                                 Tensor.copy([Int32(-2)], dtype: .i32, shape: [1])], ["auto_pad": .string("SAME_UPPER"), "strides": .ints([2, 2])])[0]
    #expect(biased.integers() == [3])
  }

  @Test func elementwise() throws {
    let a = bytes([1, 2, 3, 4], [2, 2]), one = scalar(1), zero = zeroByte(0)
    #expect(try applied("com.microsoft.QLinearAdd", 17, [a, one, zero, bytes([10, 20]), one, zero, scalar(2), zeroByte(1)])[0].integers() == [7, 12, 7, 13])
    #expect(try applied("com.microsoft.QLinearMul", 17, [a, one, nil, bytes([10, 20]), one, nil, one, nil])[0].integers() == [10, 40, 30, 80])
    #expect(try applied("com.microsoft.QLinearLeakyRelu", 17, [signed([-100, 50]), one, nil, one, nil], ["alpha": .float(0.5)])[0].integers() == [-50, 50])
    #expect(try applied("com.microsoft.QLinearSigmoid", 17, [signed([0]), one, nil, scalar(1.0 / 128), nil])[0].integers() == [64])
    #expect(try applied("com.microsoft.QLinearReduceMean", 17, [a, one, nil, scalar(0.5), nil], ["axes": .ints([1])])[0].integers() == [3, 7])
    let joined = try applied("com.microsoft.QLinearConcat", 17, [one, zeroByte(1), a, one, zero, a, scalar(2), zeroByte(1)], ["axis": .int(1)])[0]
    #expect(joined.integers() == [2, 3, 1, 3, 4, 5, 5, 7])
    let condition = Tensor.copy([UInt8(1), 0], dtype: .bool, shape: [2])
    #expect(try applied("com.microsoft.QLinearWhere", 17, [condition, a, one, zero, a, scalar(2), zero, one, zero])[0].integers() == [1, 4, 3, 8])
  }

  @Test func whatContradictsTheDefinitionIsRefused() {
    let x = floats([1, 2, 3, 4, 5, 6], [2, 3]), q = bytes([1, 2, 3, 4, 5, 6], [2, 3])
    #expect(refused("QuantizeLinear", 13, [x, floats([1, 2])]))
    #expect(refused("QuantizeLinear", 13, [x, floats([1, 2])], ["axis": .int(9)]))
    #expect(refused("QuantizeLinear", 13, [x, floats([1, 2, 3]), bytes([1, 2])]))
    #expect(refused("QuantizeLinear", 21, [x, floats([1, 2], [1, 2])], ["block_size": .int(2), "axis": .int(.min)]))
    #expect(refused("QuantizeLinear", 21, [x, floats([1, 2], [2, 1])], ["block_size": .int(.max), "axis": .int(0)]))
    #expect(refused("QuantizeLinear", 21, [x, scalar(1)], ["output_dtype": .int(17)]))
    #expect(refused("DequantizeLinear", 13, [q, scalar(1), signed([0], [])]))
    #expect(refused("DequantizeLinear", 13, [Tensor.copy([Int32(1)], dtype: .i32, shape: [1]), scalar(1), Tensor.copy([Int32(1)], dtype: .i32, shape: [])]))
    #expect(refused("QuantizeLinear", 13, [x, nil]))
    let one = scalar(1), zero = zeroByte(0)
    #expect(refused("QLinearMatMul", 10, [q, one, zero, q, one, zero, one, zero]))
    #expect(refused("QLinearMatMul", 10, [q, one, zero, bytes([], [3, 0]), one, zero]))
    let image = bytes([1, 2, 3, 4], [1, 1, 2, 2])
    for attributes: [String: GenericAttribute] in [["strides": .ints([0, 1])], ["pads": .ints([-1, 0, 0, 0])], ["group": .int(0)], ["dilations": .ints([.max, .max])],
                                                   ["strides": .ints([1])], ["auto_pad": .string("no")], ["kernel_shape": .ints([3, 3])]] {
      #expect(refused("QLinearConv", 10, [image, one, zero, image, one, zero, one, zero], attributes))
    }
    #expect(refused("com.microsoft.QLinearConcat", 17, [one, zero, q, one], ["axis": .int(0)]))
    #expect(refused("com.microsoft.QLinearAdd", 17, [q, one, zero, signed([1]), one, zero, one, zero]))
  }
}
