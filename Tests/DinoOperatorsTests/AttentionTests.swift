// Twins and shape rules of attention: known answers, agreement of rule and twin, refusals. ONNX's own node tests are elsewhere.

import DinoGraph
import DinoOperators
import DinoTensor
import Testing

@Suite struct AttentionTests {
  /// Queries of zeros see all keys alike: the result is the mean of the values that they see.
  private let zeros = floats([0, 0], [1, 1, 2, 1]), keys = floats([1, 2, 3], [1, 1, 3, 1]), values = floats([3, 6, 9], [1, 1, 3, 1])

  @Test func masksAndCausality() throws {
    func y(_ version: Int, _ more: [Tensor?] = [], _ attributes: [String: GenericAttribute] = [:]) throws -> [Float] {
      try applied("Attention", version, [zeros, keys, values] + more, attributes)[0].floats()
    }
    #expect(try y(23) == [6, 6])
    #expect(try y(23, [], ["is_causal": .int(1)]) == [3, 4.5])
    let mask = Tensor.copy([UInt8(1), 0, 1, 0, 0, 0], dtype: .bool, shape: [2, 3])
    // A row that sees nothing is zero, not NaN.
    #expect(try y(23, [mask]) == [6, 0])
    // A mask of fewer columns hides the rest.
    #expect(try y(24, [floats([0, 0], [1, 2])]) == [4.5, 4.5])
    #expect(try y(23, [floats([-.infinity, 0, 0])]) == [7.5, 7.5])
    #expect(try y(24, [nil, nil, nil, int64s([2])]) == [4.5, 4.5])
    #expect(try y(24, [nil, nil, nil, int64s([2])], ["is_causal": .int(1)]) == [3, 4.5])
    #expect(try y(25, [], ["left_window_size": .int(0), "right_window_size": .int(0)]) == [3, 6])
    #expect(try y(25, [], ["left_window_size": .int(.max), "right_window_size": .int(1)]) == [4.5, 6])
  }

  @Test func pastAndScores() throws {
    let past = floats([5], [1, 1, 1, 1]), one = floats([2], [1, 1, 1, 1])
    let results = try applied("Attention", 23, [one, keys, values, nil, past, past], outputs: 4, ["scale": .float(0.25), "softcap": .float(0)])
    #expect(results[1].floats() == [5, 1, 2, 3])
    #expect(results[2].floats() == [5, 3, 6, 9])
    #expect(results[3].floats() == [2.5, 0.5, 1, 1.5])
    let shares = try applied("Attention", 23, [zeros, keys, values], outputs: 4, ["qk_matmul_output_mode": .int(3)])[3].floats()
    #expect(shares.allSatisfy { abs($0 - 1.0 / 3) < 1e-6 })
  }

  @Test func groupsShareKeysAndHeadsMayBePacked() throws {
    // Four heads of queries, two of keys.
    let q = floats([0, 0, 0, 0], [1, 1, 4]), k = floats([1, 1], [1, 1, 2]), v = floats([7, 8], [1, 1, 2])
    let y = try applied("Attention", 23, [q, k, v], ["q_num_heads": .int(4), "kv_num_heads": .int(2)])[0]
    #expect(y.shape == [1, 1, 4])
    #expect(y.floats() == [7, 7, 8, 8])
  }

  @Test func rotaryTurnsPairs() throws {
    // A quarter turn: (x, y) becomes (-y, x).
    let x = floats([1, 2, 3, 4], [1, 1, 1, 4]), cos = floats([0, 0], [1, 2]), sin = floats([1, 1], [1, 2]), at = int64s([0], [1, 1])
    #expect(try applied("RotaryEmbedding", 23, [x, cos, sin, at])[0].floats() == [-3, -4, 1, 2])
    #expect(try applied("RotaryEmbedding", 23, [x, cos, sin, at], ["interleaved": .int(1)])[0].floats() == [-2, 1, -4, 3])
    let part = try applied("RotaryEmbedding", 23, [x, floats([0], [1, 1]), floats([1], [1, 1]), at], ["rotary_embedding_dim": .int(2)])[0]
    #expect(part.floats() == [-2, 1, 3, 4])
    let packed = floats([1, 2, 3, 4], [1, 1, 4]), zero = floats([0], [1, 1, 1]), one = floats([1], [1, 1, 1])
    #expect(try applied("RotaryEmbedding", 23, [packed, zero, one], ["num_heads": .int(2)])[0].floats() == [-2, 1, -4, 3])
    let microsoft = try applied("com.microsoft.RotaryEmbedding", 17, [packed, int64s([0]), floats([0], [1, 1]), floats([1], [1, 1])])[0]
    #expect(microsoft.floats() == [-2, 1, -4, 3])
    for position: Int64 in [-1, 1, .max, .min] { #expect(refused("RotaryEmbedding", 23, [x, cos, sin, int64s([position], [1, 1])])) }
    #expect(refused("com.microsoft.RotaryEmbedding", 17, [x, int64s([.max]), cos, sin]))
    #expect(refused("RotaryEmbedding", 23, [x, cos, sin, at], ["rotary_embedding_dim": .int(3)]))
    #expect(refused("RotaryEmbedding", 22, [x, cos, sin, at]))
  }

  @Test func microsoftAttention() throws {
    // Weights that give queries and keys of zero, and values as the input is.
    let x = floats([2, 4, 6], [1, 3, 1]), w = floats([0, 0, 1], [1, 3]), heads: [String: GenericAttribute] = ["num_heads": .int(1)]
    #expect(try applied("com.microsoft.Attention", 17, [x, w, nil], heads)[0].floats() == [4, 4, 4])
    #expect(try applied("com.microsoft.Attention", 17, [x, w, floats([0, 0, 1])], ["num_heads": .int(1), "unidirectional": .int(1)])[0].floats() == [3, 4, 5])
    #expect(try applied("com.microsoft.Attention", 17, [x, w, nil, Tensor.copy([Int32(2)], dtype: .i32, shape: [1])], heads)[0].floats() == [3, 3, 3])
    let results = try applied("com.microsoft.Attention", 17, [x, w, nil, nil, floats([0, 8], [2, 1, 1, 1, 1])], outputs: 2, heads)
    #expect(results[0].floats() == [5, 5, 5])
    #expect(results[1].floats() == [0, 0, 0, 0, 8, 2, 4, 6])
    let integers: [Tensor?] = [bytes([3, 5, 7], [1, 3, 1]), bytes([1, 1, 2], [1, 3]), floats([0, 0, 0]), scalar(1), scalar(1), nil, zeroByte(1), zeroByte(1)]
    let quantized = try applied("com.microsoft.QAttention", 17, integers, heads)[0]
    #expect(quantized.floats() == [4, 4, 4])
    #expect(refused("com.microsoft.Attention", 17, [x, w, nil], ["num_heads": .int(1), "do_rotary": .int(1)]))
    #expect(refused("com.microsoft.Attention", 17, [x, w, nil], ["num_heads": .int(0)]))
    #expect(refused("com.microsoft.Attention", 17, [x, w, nil], ["num_heads": .int(1), "qkv_hidden_sizes": .ints([.max, .max, 3])]))
  }

  @Test func multiHead() throws {
    let q = floats([0, 0], [1, 2, 1]), k = floats([1, 2], [1, 2, 1]), v = floats([4, 8], [1, 2, 1]), heads: [String: GenericAttribute] = ["num_heads": .int(1)]
    #expect(try applied("com.microsoft.MultiHeadAttention", 17, [q, k, v], heads)[0].floats() == [6, 6])
    #expect(try applied("com.microsoft.MultiHeadAttention", 17, [q, k, v, floats([0, 0, 1])], ["num_heads": .int(1), "unidirectional": .int(1)])[0].floats() == [5, 7])
    // Queries, keys and values packed: [batch, count, heads, 3, size].
    #expect(try applied("com.microsoft.MultiHeadAttention", 17, [floats([0, 1, 4, 0, 2, 8], [1, 2, 1, 3, 1])], heads)[0].floats() == [6, 6])
    #expect(refused("com.microsoft.MultiHeadAttention", 17, [q, k], heads))
    #expect(refused("com.microsoft.MultiHeadAttention", 17, [q, k, v], ["num_heads": .int(3)]))
  }

  @Test func whatContradictsTheDefinitionIsRefused() {
    #expect(refused("Attention", 22, [zeros, keys, values]))
    #expect(refused("Attention", 23, [zeros, keys, zeros]))
    #expect(refused("Attention", 23, [zeros, keys, values, floats([0, 0, 0, 0])]))
    #expect(refused("Attention", 23, [zeros, keys, values, nil, keys]))
    #expect(refused("Attention", 24, [zeros, keys, values, nil, nil, nil, int64s([.max])]))
    #expect(refused("Attention", 24, [zeros, keys, values, nil, nil, nil, int64s([.min])]))
    #expect(refused("Attention", 23, [zeros, keys, values], ["qk_matmul_output_mode": .int(7)]))
    #expect(refused("Attention", 25, [zeros, keys, values], ["left_window_size": .int(-2)]))
    let packed = floats([0, 0, 0, 0], [1, 1, 4])
    #expect(refused("Attention", 23, [packed, packed, packed]))
    #expect(refused("Attention", 23, [packed, packed, packed], ["q_num_heads": .int(3), "kv_num_heads": .int(1)]))
    #expect(refused("Attention", 23, [packed, packed, packed], ["q_num_heads": .int(2), "kv_num_heads": .int(4)]))
  }

  @Test func emptyExtents() throws {
    let none = floats([], [1, 1, 0, 1])
    #expect(try applied("Attention", 23, [zeros, none, none])[0].floats() == [0, 0])
    #expect(try applied("Attention", 23, [none, keys, values])[0].shape == [1, 1, 0, 1])
  }
}
