// Twins and shape rules of resampling: known answers, agreement of rule and twin, refusals. ONNX's own node tests are elsewhere.

import DinoGraph
import DinoOperators
import DinoTensor
import Testing

@Suite struct ResamplingTests {
  private let square = floats([1, 2, 3, 4], [1, 1, 2, 2])

  private func resized(_ version: Int, _ x: Tensor, scales: [Float]? = nil, sizes: [Int64]? = nil, roi: [Float]? = nil,
                       _ attributes: [String: GenericAttribute]) throws -> Tensor {
    if version < 11 { return try applied("Resize", version, [x, floats(scales ?? [])], attributes)[0] }
    return try applied("Resize", version, [x, roi.map { floats($0) }, scales.map { floats($0) }, sizes.map { int64s($0) }], attributes)[0]
  }

  @Test func nearest() throws {
    let y = try resized(19, square, scales: [1, 1, 2, 3], ["mode": .string("nearest")])
    #expect(y.shape == [1, 1, 4, 6])
    #expect(y.floats() == [1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4, 3, 3, 3, 4, 4, 4])
    let row = floats([0, 1, 2, 3], [4]), asymmetric = GenericAttribute.string("asymmetric")
    for (mode, expected) in [("floor", [0, 0, 1, 1, 2, 2, 3]), ("ceil", [0, 1, 2, 2, 3, 3, 3]), ("round_prefer_floor", [0, 1, 1, 2, 2, 3, 3]),
                             ("round_prefer_ceil", [0, 1, 1, 2, 2, 3, 3])] as [(String, [Float])] {
      let y = try resized(13, row, sizes: [7], ["nearest_mode": .string(mode), "coordinate_transformation_mode": asymmetric])
      #expect(y.floats() == expected)
    }
    // Before operator set 11 reducing takes the upper neighbour.
    #expect(try resized(10, floats([1, 2, 3, 4, 5, 6, 7, 8], [1, 1, 2, 4]), scales: [1, 1, 0.6, 0.6], [:]).floats() == [1, 3])
    // Elements move as they are, whatever their type.
    #expect(try resized(13, int64s([.max, 7], [2]), scales: [1.5], [:]).integers() == [.max, .max, 7])
  }

  /// Recorded from ONNX Runtime, which computes coordinates in F32, as PyTorch does: in F64 each of these takes another pixel.
  @Test(arguments: [
    ("asymmetric", "floor", 12, 0.33333334, [0, 3, 6, 9]), ("asymmetric", "ceil", 12, 0.4, [0, 3, 5, 8]), ("half_pixel", "floor", 12, 0.33333334, [1, 4, 7, 10]),
    ("half_pixel", "round_prefer_ceil", 17, 0.3, [1, 5, 8, 11, 15]), ("half_pixel_symmetric", "round_prefer_floor", 5, 0.6666667, [0, 2, 3]),
    ("pytorch_half_pixel", "ceil", 10, 0.6, [1, 2, 4, 6, 7, 9]), ("asymmetric", "round_prefer_ceil", 7, 2, [0, 4]), ("half_pixel_symmetric", "floor", 3, 1, [0]),
    ("asymmetric", "floor", 9, 14, [0, 0, 1, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, 8]),
  ] as [(String, String, Int, Float, [Float])]) func nearestOfUnevenScales(_ coordinates: String, _ nearest: String, _ count: Int, _ size: Float, _ expected: [Float]) throws {
    let attributes: [String: GenericAttribute] = ["coordinate_transformation_mode": .string(coordinates), "nearest_mode": .string(nearest)]
    // Whole numbers are sizes, others scales.
    let isSize = size == size.rounded(), x = floats((0..<count).map { Float($0) })
    #expect(try resized(19, x, scales: isSize ? nil : [size], sizes: isSize ? [Int64(size)] : nil, attributes).floats() == expected)
  }

  @Test func linearAndItsCoordinates() throws {
    let row = floats([1, 2, 3, 4], [4]), linear = GenericAttribute.string("linear")
    func at(_ mode: String, _ sizes: [Int64], version: Int = 19) throws -> [Float] {
      try resized(version, row, sizes: sizes, ["mode": linear, "coordinate_transformation_mode": .string(mode)]).floats()
    }
    #expect(try at("half_pixel", [8]) == [1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4])
    #expect(try at("align_corners", [7]) == [1, 1.5, 2, 2.5, 3, 3.5, 4])
    #expect(try at("align_corners", [1]) == [1])
    #expect(try at("asymmetric", [8]) == [1, 1.5, 2, 2.5, 3, 3.5, 4, 4])
    #expect(try at("half_pixel", [1]) == [2.5])
    #expect(try at("pytorch_half_pixel", [1]) == [1])
    #expect(try at("half_pixel_symmetric", [8]) == [1, 1.25, 1.75, 2.25, 2.75, 3.25, 3.75, 4])
    let crop = try resized(11, row, scales: nil, sizes: [3], roi: [0, 2], ["mode": linear, "coordinate_transformation_mode": .string("tf_crop_and_resize"),
                                                                          "extrapolation_value": .float(9)])
    #expect(crop.floats() == [1, 4, 9])
  }

  @Test func cubicAndAntialias() throws {
    let constant = floats([Float](repeating: 3, count: 12), [1, 1, 3, 4])
    for attributes: [String: GenericAttribute] in [["mode": .string("cubic")], ["mode": .string("cubic"), "exclude_outside": .int(1)],
                                                   ["mode": .string("linear"), "antialias": .int(1)], ["mode": .string("cubic"), "antialias": .int(1)]] {
      for sizes: [Int64] in [[1, 1, 5, 7], [1, 1, 2, 2]] {
        #expect(try resized(18, constant, sizes: sizes, attributes).floats().allSatisfy { abs($0 - 3) < 1e-5 })
      }
    }
    let down = try resized(18, floats([1, 2, 3, 4], [4]), scales: [0.5], ["mode": .string("linear"), "antialias": .int(1)]).floats()
    #expect(abs(down[0] - 1.625) < 1e-5 && abs(down[1] - 3.375) < 1e-5)
  }

  @Test func axesAndAspectRatio() throws {
    let x = floats((0..<24).map(Float.init), [2, 3, 4])
    let y = try resized(18, x, sizes: [6, 8], ["axes": .ints([1, -1]), "keep_aspect_ratio_policy": .string("not_larger")])
    #expect(y.shape == [2, 6, 8])
    #expect(try resized(18, x, sizes: [7, 7], ["axes": .ints([2, 1]), "keep_aspect_ratio_policy": .string("not_larger")]).shape == [2, 5, 7])
    #expect(try resized(18, x, sizes: [7, 7], ["axes": .ints([2, 1]), "keep_aspect_ratio_policy": .string("not_smaller")]).shape == [2, 7, 9])
    // The extent is a product in F32: in wider arithmetic 10 · 0.7 falls short of 7.
    #expect(try resized(13, floats([Float](repeating: 0, count: 10), [10]), scales: [0.7], [:]).shape == [7])
    #expect(try resized(13, floats([], [0, 2]), scales: [2, 2], [:]).shape == [0, 4])
  }

  @Test func integersRoundAndSaturate() throws {
    #expect(try resized(19, bytes([0, 255, 0], [3]), sizes: [6], ["mode": .string("cubic")]).integers()?.allSatisfy { (0...255).contains($0) } == true)
    #expect(try resized(19, bytes([0, 3], [2]), sizes: [4], ["mode": .string("linear")]).integers() == [0, 1, 2, 3])
  }

  @Test func upsample() throws {
    let attributes: [String: GenericAttribute] = ["mode": .string("nearest"), "scales": .floats([1, 1, 1, 2])]
    #expect(try applied("Upsample", 7, [square], attributes)[0].floats() == [1, 1, 2, 2, 3, 3, 4, 4])
    #expect(try applied("Upsample", 9, [square, floats([1, 1, 1, 2])], ["mode": .string("linear")])[0].floats() == [1, 1.5, 2, 2, 3, 3.5, 4, 4])
    #expect(refused("Upsample", 11, [square, floats([1, 1, 1, 2])]))
  }

  @Test func gridSample() throws {
    let x = floats([0, 1, 2, 3], [1, 1, 2, 2])
    let corners = floats([-1, -1, 1, -1, -1, 1, 1, 1, 0, 0, 3, 3], [1, 1, 6, 2])
    #expect(try applied("GridSample", 16, [x, corners], ["align_corners": .int(1)])[0].floats() == [0, 1, 2, 3, 1.5, 0])
    #expect(try applied("GridSample", 16, [x, corners])[0].floats() == [0, 0.25, 0.5, 0.75, 1.5, 0])
    #expect(try applied("GridSample", 20, [x, corners], ["mode": .string("nearest"), "padding_mode": .string("border")])[0].floats().last == 3)
    let far = floats([1e30, -1e30], [1, 1, 1, 2])
    for padding in ["zeros", "border", "reflection"] {
      for corner in [0, 1] {
        let y = try applied("GridSample", 20, [x, far], ["padding_mode": .string(padding), "align_corners": .int(corner)])[0]
        #expect(y.floats()[0].isFinite)
      }
    }
    #expect(refused("GridSample", 20, [x, floats([.nan, 0], [1, 1, 1, 2])]))
    #expect(refused("GridSample", 20, [floats([], [1, 1, 0, 2]), floats([0, 0], [1, 1, 1, 2])]))
    #expect(refused("GridSample", 20, [x, floats([0, 0, 0], [1, 1, 1, 3])]))
  }

  @Test func shapesBeforeDataAreKnown() throws {
    let op = Generic(.resampling(.resize), version: 13, attributes: [:])
    let facts = try op.infer([ValueFact(square), nil, ValueFact(dtype: .f32, shape: [4])], outputs: 1)
    #expect(facts[0].dtype == .f32)
    #expect(facts[0].shape == nil)
  }

  @Test func hostileResizesAreRefused() {
    let cases: [([Float]?, [Int64]?)] = [([1, 1, 0, 1], nil), ([1, 1, -1, 1], nil), ([1, 1, .nan, 1], nil), ([1, 1, .infinity, 1], nil), ([1, 1, 1e30, 1], nil), ([1, 2], nil),
                                         (nil, [1, 1, -1, 2]), (nil, [1, 1, .max, .max]), (nil, [1, 1, 1 << 39, 4]), (nil, nil), ([1, 1, 2, 2], [1, 1, 2, 2])]
    for (scales, sizes) in cases {
      #expect(refused("Resize", 13, [square, nil, scales.map { floats($0) }, sizes.map { int64s($0) }]))
    }
    let sizes = int64s([1, 1, 3, 3]), none: Tensor? = nil
    for attributes: [String: GenericAttribute] in [["mode": .string("best")], ["nearest_mode": .string("odd")], ["coordinate_transformation_mode": .string("tf_crop_and_resize")],
                                                   ["antialias": .int(1)], ["axes": .ints([0, 0, 1, 2])], ["axes": .ints([.max])], ["keep_aspect_ratio_policy": .string("?")]] {
      #expect(refused("Resize", 19, [square, none, none, sizes], attributes))
    }
    #expect(refused("Resize", 13, [square, floats([0, 0, .nan, 0, 1, 1, 1, 1]), none, sizes], ["coordinate_transformation_mode": .string("tf_crop_and_resize")]))
    #expect(refused("Resize", 13, [square, floats([0]), none, sizes], ["coordinate_transformation_mode": .string("tf_crop_and_resize")]))
    #expect(refused("Resize", 13, [floats([], [1, 1, 0, 2]), none, none, sizes]))
  }
}
