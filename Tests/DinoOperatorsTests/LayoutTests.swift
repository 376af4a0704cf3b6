// Twins and shape rules of layout, indexing and reductions: known answers, negative axes, zero extents, and hostile attributes and indices.

import DinoGraph
import DinoOperators
import DinoTensor
import TestSupport
import Testing

private func counting(_ shape: Shape) -> Tensor { floats((0..<shape.count).map(Float.init), shape) }
private func bools(_ values: [UInt8], _ shape: Shape? = nil) -> Tensor { Tensor.copy(values, dtype: .bool, shape: shape ?? [values.count]) }

@Suite struct LayoutTests {
  @Test func transposeOfEveryOrder() throws {
    // Long enough for the tiles, and not a multiple of them.
    let x = counting([3, 17, 35]), s = x.shape.strides, values = x.floats()
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
      let y = try applied("Transpose", 13, [x], ["perm": .ints(order)])[0], d = order.map { x.shape.dims[$0] }
      #expect(y.shape.dims == d)
      var expected: [Float] = []
      for i in 0..<d[0] { for j in 0..<d[1] { for k in 0..<d[2] { expected.append(values[i * s[order[0]] + j * s[order[1]] + k * s[order[2]]]) } } }
      #expect(y.floats() == expected)
    }
    #expect(refused("Transpose", 13, [x], ["perm": .ints([0, 0, 1])]))
    #expect(refused("Transpose", 13, [x], ["perm": .ints([0, 1])]))
  }

  @Test func sliceByVersionAndStep() throws {
    let x = counting([4, 5])
    #expect(try applied("Slice", 9, [x], ["starts": .ints([1]), "ends": .ints([Int.max]), "axes": .ints([1])])[0].shape == [4, 4])
    let y = try applied("Slice", 13, [x, int64s([-1]), int64s([.min]), int64s([-1]), int64s([-2])])[0]
    #expect(y.shape == [4, 3])
    #expect(y.floats().prefix(6) == [4, 2, 0, 9, 7, 5])
    #expect(try applied("Slice", 13, [x, int64s([3]), int64s([1]), int64s([0])])[0].shape == [0, 5])
    #expect(try applied("Slice", 13, [x, int64s([0]), int64s([5]), int64s([1]), int64s([.max])])[0].shape == [4, 1])
    #expect(try applied("Slice", 13, [x, int64s([4]), int64s([.min]), int64s([1]), int64s([.min])])[0].shape == [4, 1])
    #expect(refused("Slice", 13, [x, int64s([0]), int64s([1]), int64s([7])]))
    #expect(refused("Slice", 13, [x, int64s([0]), int64s([1]), int64s([0]), int64s([0])]))
    #expect(refused("Slice", 13, [x, int64s([0, 0]), int64s([1])]))
  }

  @Test func reshapeAndItsSpecialExtents() throws {
    let x = counting([2, 3, 4])
    #expect(try applied("Reshape", 13, [x, int64s([0, -1])])[0].shape == [2, 12])
    #expect(try applied("Reshape", 14, [floats([], [0, 4]), int64s([4, 0])], ["allowzero": .int(1)])[0].shape == [4, 0])
    for hostile: [Int64] in [[5, 5], [-1, -1], [-2, 12], [7, -1], [0, 0, 0, 0], [.max, .max, 4], [1 << 32, 1 << 32, 0]] {
      #expect(refused("Reshape", 13, [x, int64s(hostile)]))
    }
    let rule = Generic(.layout(.reshape), version: 13)
    // What is not known yet is said to be unknown.
    #expect(try rule.infer([ValueFact(x), ValueFact(dtype: .i64, shape: [2])], outputs: 1)[0].shape == nil)
    #expect(try rule.infer([ValueFact(dtype: .f32, shape: nil), ValueFact(int64s([2, 5]))], outputs: 1)[0].shape == [2, 5])
  }

  @Test func concatSplitTile() throws {
    let y = try applied("Concat", 13, [counting([2, 1]), counting([2, 3]), floats([], [2, 0])], ["axis": .int(-1)])[0]
    #expect(y.floats() == [0, 0, 1, 2, 1, 3, 4, 5])
    #expect(refused("Concat", 13, [counting([2, 1]), counting([3, 1])], ["axis": .int(1)]))
    #expect(refused("Concat", 13, [counting([2])], ["axis": .int(1)]))
    #expect(try applied("Split", 18, [counting([7])], outputs: 3, ["num_outputs": .int(3)]).map(\.count) == [3, 3, 1])
    #expect(try applied("Split", 13, [counting([2, 4]), int64s([1, 3])], outputs: 2, ["axis": .int(1)])[1].floats() == [1, 2, 3, 5, 6, 7])
    #expect(refused("Split", 13, [counting([7])], outputs: 3))
    #expect(refused("Split", 13, [counting([7]), int64s([.max, .max])], outputs: 2))
    #expect(try applied("Tile", 13, [counting([1, 2]), int64s([2, 2])])[0].floats() == [0, 1, 0, 1, 0, 1, 0, 1])
    #expect(refused("Tile", 13, [counting([1, 2]), int64s([1 << 40, 1 << 40])]))
  }

  @Test func padInFourModes() throws {
    let x = counting([4]), by = int64s([2, 3])
    func pad(_ mode: String) throws -> [Float] { try applied("Pad", 19, [x, by], ["mode": .string(mode)])[0].floats() }
    #expect(try pad("constant") == [0, 0, 0, 1, 2, 3, 0, 0, 0])
    #expect(try pad("reflect") == [2, 1, 0, 1, 2, 3, 2, 1, 0])
    #expect(try pad("edge") == [0, 0, 0, 1, 2, 3, 3, 3, 3])
    #expect(try pad("wrap") == [2, 3, 0, 1, 2, 3, 0, 1, 2])
    #expect(try applied("Pad", 13, [x, int64s([-1, 1]), scalar(9)])[0].floats() == [1, 2, 3, 9])
    #expect(try applied("Pad", 10, [x], ["pads": .ints([1, 0]), "value": .float(5)])[0].floats() == [5, 0, 1, 2, 3])
    #expect(try applied("Pad", 18, [counting([1, 2]), int64s([0, 1]), nil, int64s([-1])])[0].floats() == [0, 1, 0])
    for hostile: [Int64] in [[-3, -2], [.max, .max], [.min, 0], [1], [1 << 45, 0]] { #expect(refused("Pad", 13, [x, int64s(hostile)])) }
    #expect(refused("Pad", 18, [x, by], ["mode": .string("wrap")]))
  }

  @Test func tensorsMadeFromNumbers() throws {
    #expect(try applied("Range", 11, [scalar(1), scalar(2), scalar(0.25)])[0].floats() == [1, 1.25, 1.5, 1.75])
    #expect(try applied("Range", 11, [int64s([10], []), int64s([4], []), int64s([-3], [])])[0].integers() == [10, 7])
    #expect(refused("Range", 11, [scalar(0), scalar(1), scalar(0)]))
    #expect(refused("Range", 11, [int64s([.min], []), int64s([.max], []), int64s([1], [])]))
    #expect(refused("Range", 11, [scalar(0), scalar(.infinity), scalar(1)]))
    #expect(try applied("ConstantOfShape", 9, [int64s([2])], ["value": .element(.i64, bits: 7)])[0].integers() == [7, 7])
    #expect(try applied("ConstantOfShape", 9, [int64s([])])[0].shape == [])
    for hostile: [Int64] in [[-1], [.max], [1 << 32, 1 << 32], [1 << 20, 1 << 20]] { #expect(refused("ConstantOfShape", 9, [int64s(hostile)])) }
    #expect(try applied("EyeLike", 9, [counting([2, 3])], ["k": .int(1), "dtype": .int(7)])[0].integers() == [0, 1, 0, 0, 0, 1])
    #expect(try applied("EyeLike", 9, [counting([2, 3])], ["k": .int(.min)])[0].floats() == [0, 0, 0, 0, 0, 0])
    #expect(try applied("Trilu", 14, [counting([2, 2]), int64s([.max], [])])[0].floats() == [0, 0, 0, 0])
    #expect(try applied("Shape", 15, [counting([2, 3, 4])], ["start": .int(-2), "end": .int(Int.max)])[0].integers() == [3, 4])
    #expect(try applied("Shape", 15, [counting([2, 3])], ["start": .int(Int.min), "end": .int(-1)])[0].integers() == [2])
    #expect(try applied("Size", 13, [counting([2, 3])])[0].integers() == [6])
  }

  @Test func axesAsAttributeAndAsInput() throws {
    let x = counting([1, 3, 1])
    #expect(try applied("Squeeze", 11, [x], ["axes": .ints([-1])])[0].shape == [1, 3])
    #expect(try applied("Squeeze", 13, [x])[0].shape == [3])
    #expect(try applied("Unsqueeze", 11, [counting([3])], ["axes": .ints([0, -1])])[0].shape == [1, 3, 1])
    #expect(try applied("Unsqueeze", 13, [counting([3]), int64s([0, 2])])[0].shape == [1, 3, 1])
    #expect(refused("Squeeze", 13, [x, int64s([1])]))
    #expect(refused("Unsqueeze", 13, [x, int64s([0, 0])]))
    #expect(refused("Unsqueeze", 13, [x, int64s([.min])]))
    #expect(try applied("Flatten", 13, [counting([2, 3, 4])], ["axis": .int(-1)])[0].shape == [6, 4])
    #expect(try applied("Expand", 13, [counting([3, 1]), int64s([2, 1, 2])])[0].floats() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
    #expect(refused("Expand", 13, [counting([3, 1]), int64s([-1, 2])]))
  }
}

@Suite struct IndexingTests {
  @Test func gatherChecksEveryIndex() throws {
    let x = counting([3, 2])
    #expect(try applied("Gather", 13, [x, int64s([-1, 0])])[0].floats() == [4, 5, 0, 1])
    #expect(try applied("Gather", 13, [x, int64s([1], [])], ["axis": .int(1)])[0].floats() == [1, 3, 5])
    #expect(try applied("Gather", 13, [x, int64s([])])[0].shape == [0, 2])
    for hostile: Int64 in [3, -4, .max, .min] {
      #expect(refused("Gather", 13, [x, int64s([hostile])]))
      #expect(refused("GatherElements", 13, [x, int64s([hostile, 0], [1, 2])]))
      #expect(refused("GatherND", 13, [x, int64s([hostile, 0], [1, 2])]))
      #expect(refused("ScatterElements", 18, [x, int64s([hostile, 0], [1, 2]), counting([1, 2])]))
      #expect(refused("ScatterND", 18, [x, int64s([hostile, 0], [1, 2]), counting([1])]))
      #expect(refused("Gather", 13, [x, int64s([0])], ["axis": .int(Int(hostile))]))
    }
    #expect(refused("Gather", 13, [floats([], [0, 2]), int64s([0])]))
    #expect(try applied("GatherElements", 13, [x, int64s([2, 0, 1, 1], [2, 2])])[0].floats() == [4, 1, 2, 3])
    #expect(try applied("GatherND", 13, [counting([2, 2, 2]), int64s([1, 0], [2, 1])], ["batch_dims": .int(1)])[0].floats() == [2, 3, 4, 5])
  }

  @Test func scatterInOrder() throws {
    let x = counting([2, 3]), at = int64s([0, 0], [2, 1])
    #expect(try applied("ScatterElements", 18, [x, at, floats([10, 20], [2, 1])], ["axis": .int(1), "reduction": .string("add")])[0].floats() == [10, 1, 2, 23, 4, 5])
    #expect(try applied("ScatterND", 18, [x, int64s([1], [1, 1]), floats([7, 8, 9], [1, 3])])[0].floats() == [0, 1, 2, 7, 8, 9])
    #expect(try applied("ScatterND", 18, [floats([1]), int64s([0, 0], [2, 1]), floats([5, 3])], ["reduction": .string("max")])[0].floats() == [5])
    #expect(refused("ScatterND", 13, [floats([1]), int64s([0], [1, 1]), floats([5])], ["reduction": .string("max")]))
  }

  @Test func countsThatDependOnData() throws {
    #expect(try applied("NonZero", 13, [floats([0, 1, -0.0, .nan], [2, 2])])[0].integers() == [0, 1, 1, 1])
    #expect(try applied("NonZero", 13, [floats([], [0, 2])])[0].shape == [2, 0])
    #expect(try Generic(.indexing(.nonZero), version: 13).infer([ValueFact(dtype: .f32, shape: [2, 2])], outputs: 1)[0].shape == nil)
    #expect(try applied("Compress", 11, [counting([3, 2]), bools([0, 1, 1])], ["axis": .int(0)])[0].floats() == [2, 3, 4, 5])
    #expect(refused("Compress", 11, [counting([2, 1]), bools([0, 1, 1])], ["axis": .int(0)]))
    #expect(try applied("Where", 16, [bools([1, 0], [2, 1]), floats([1, 2]), scalar(9)])[0].floats() == [1, 2, 9, 9])
    #expect(try applied("OneHot", 11, [int64s([1, -1, 7]), int64s([3], []), floats([0, 1])])[0].floats() == [0, 1, 0, 0, 0, 1, 0, 0, 0])
    for hostile: Int64 in [-1, .max, 1 << 50] { #expect(refused("OneHot", 11, [int64s([1]), int64s([hostile], []), floats([0, 1])])) }
    #expect(try applied("ReverseSequence", 10, [counting([2, 3]), int64s([2, 3])], ["batch_axis": .int(0), "time_axis": .int(1)])[0].floats() == [1, 0, 2, 5, 4, 3])
    #expect(refused("ReverseSequence", 10, [counting([2, 3]), int64s([4, 3])], ["batch_axis": .int(0), "time_axis": .int(1)]))
  }

  @Test func extremes() throws {
    let x = floats([3, 1, 3, 2])
    let top = try applied("TopK", 11, [x, int64s([3])], outputs: 2)
    #expect(top[0].floats() == [3, 3, 2])
    #expect(top[1].integers() == [0, 2, 3])
    #expect(try applied("TopK", 11, [x, int64s([2])], outputs: 2, ["largest": .int(0)])[1].integers() == [1, 3])
    for hostile: Int64 in [5, -1, .max] { #expect(refused("TopK", 11, [x, int64s([hostile])], outputs: 2)) }
    #expect(try applied("ArgMax", 13, [x], ["select_last_index": .int(1)])[0].integers() == [2])
    #expect(try applied("ArgMin", 13, [counting([2, 2])], ["axis": .int(-1), "keepdims": .int(0)])[0].integers() == [0, 0])
    #expect(refused("ArgMax", 13, [floats([], [0])]))
  }
}

@Suite struct ReductionTests {
  /// Every pair of axes against plain sums, those that are apart included.
  @Test func sumsOverAnyAxes() throws {
    let shape: Shape = [2, 3, 4, 5], x = counting(shape), s = shape.strides
    for mask in 1..<16 {
      let axes = (0..<4).filter { mask >> $0 & 1 == 1 }
      let y = try applied("ReduceSum", 13, [x, int64s(axes.map { Int64($0 - 4) })], ["keepdims": .int(0)])[0]
      let kept = (0..<4).filter { !axes.contains($0) }
      var expected = [Float](repeating: 0, count: kept.reduce(1) { $0 * shape.dims[$1] })
      for i in 0..<shape.count {
        var at = 0
        for a in kept { at = at * shape.dims[a] + i / s[a] % shape.dims[a] }
        expected[at] += Float(i)
      }
      #expect(y.floats() == expected)
    }
  }

  @Test func versionsEmptyAxesAndEmptySets() throws {
    let x = floats([1, -2, 3, -4], [2, 2])
    #expect(try applied("ReduceMean", 13, [x], ["axes": .ints([1])])[0].floats() == [-0.5, -0.5])
    #expect(try applied("ReduceMean", 18, [x, int64s([-1])])[0].floats() == [-0.5, -0.5])
    #expect(try applied("ReduceSumSquare", 18, [x], ["noop_with_empty_axes": .int(1)])[0].floats() == [1, 4, 9, 16])
    #expect(try applied("ReduceL1", 18, [x])[0].floats() == [10])
    #expect(try applied("ReduceMax", 18, [floats([], [2, 0]), int64s([1])])[0].floats() == [-.infinity, -.infinity])
    #expect(try applied("ReduceProd", 18, [floats([], [0])])[0].floats() == [1])
    #expect(try applied("ReduceMean", 18, [int64s([1, 2, -6])])[0].integers() == [-1])
    #expect(try applied("ReduceLogSumExp", 18, [floats([1000, 1000]), int64s([0])])[0].floats()[0] == 1000 + Float(0.6931472))
    for hostile in [2, -3, Int.max, Int.min] { #expect(refused("ReduceMean", 13, [x], ["axes": .ints([hostile])])) }
    #expect(refused("ReduceLogSum", 18, [int64s([1])]))
    #expect(try Generic(.reduction(.mean), version: 18).infer([ValueFact(x), ValueFact(dtype: .i64, shape: [1])], outputs: 1)[0].shape == nil)
  }

  @Test func longSumsStayAccurate() throws {
    let x = floats([Float](repeating: 0.1, count: 1_000_000))
    #expect(abs(try applied("ReduceMean", 18, [x])[0].floats()[0] - 0.1) < 1e-7)
    #expect(abs(try applied("ReduceMean", 18, [x.reshaped([500_000, 2]), int64s([0])])[0].floats()[0] - 0.1) < 1e-7)
  }

  @Test func cumulativeSums() throws {
    let x = counting([2, 3]), axis = int64s([-1], [])
    #expect(try applied("CumSum", 14, [x, axis])[0].floats() == [0, 1, 3, 3, 7, 12])
    #expect(try applied("CumSum", 14, [x, axis], ["exclusive": .int(1), "reverse": .int(1)])[0].floats() == [3, 2, 0, 9, 5, 0])
    #expect(refused("CumSum", 14, [x, int64s([2], [])]))
  }
}
