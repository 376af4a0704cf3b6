// Shape rules of foreign operators: resampling, and the plan of a Resize that rule and twin share. No element is looked at here.

public import DinoTensor

/// What Resize (or Upsample) does along each axis that it resizes.
public struct ResizePlan: Sendable {
  public struct Axis: Sendable {
    public let axis: Int, input: Int, output: Int
    /// By which coordinates are computed: given, or from the sizes.
    public let scale: Double
    /// The extent of the result before it became an integer.
    public let width: Double
  }
  public let axes: [Axis]
  public let shape: Shape
  /// The axes that the operator names, in its order: `roi` follows it.
  public let named: [Int]
}

extension GenericRule {
  func resampling(_ kind: ResamplingKind) throws(GenericProblem) -> [ValueFact] {
    switch kind {
    case .resize:
      try atMost(op.version < 11 ? 2 : 4)
      return [try resize()]
    case .upsample:
      try atMost(op.version < 9 ? 1 : 2)
      guard op.version < 10 else { throw .invalid("Upsample is no operator of set \(op.version)") }
      return [try resize()]
    case .gridSample: return [try gridSample()]
    }
  }

  private func resize() throws(GenericProblem) -> ValueFact {
    let x = try input(0, TypeSet.plain), options = try op.resizeOptions()
    if options.mode != .nearest, [.bool, .i64, .u64].contains(x.dtype) {
      throw .unsupported("\(op.kind.name) of \(x.dtype.rawValue) elements between pixels is not computed here")
    }
    if options.coordinates == .tfCropAndResize {
      let roi = try input(1, [.f32, .f16, .f64])
      if let shape = roi.shape, shape.rank != 1 { throw .invalid("Resize has a roi of shape \(shape)") }
    }
    return ValueFact(dtype: x.dtype, shape: try resizePlan()?.shape)
  }

  /// Nil where the result's shape depends on data that are not known.
  fileprivate func resizePlan() throws(GenericProblem) -> ResizePlan? {
    guard let shape = try input(0).shape else { return nil }
    let name = op.kind.name
    var named = Array(0..<shape.rank)
    if op.version >= 18, let given = op.ints("axes") {
      named = []
      for a in given {
        let a = try axis(a, rank: shape.rank)
        guard !named.contains(a) else { throw .invalid("\(name) names an axis twice: \(given)") }
        named.append(a)
      }
    }
    var dims = shape.dims, axes: [ResizePlan.Axis] = []
    func add(_ axis: Int, _ output: Int, _ scale: Double, _ width: Double) throws(GenericProblem) {
      let input = dims[axis]
      guard output == 0 || input > 0 else { throw .invalid("\(name) makes \(output) elements of none, in shape \(shape)") }
      axes.append(ResizePlan.Axis(axis: axis, input: input, output: output, scale: scale, width: width))
      dims[axis] = output
    }
    switch try givenScales() {
    case .unknown: return nil
    case .scales(let scales):
      guard scales.count == named.count else { throw .invalid("\(name) has \(scales.count) scales for \(named.count) axes") }
      for (a, scale) in zip(named, scales) {
        // In F32, as the definition's own shape inference does: 10 · 0.7 is 7.
        let extent = (Float(dims[a]) * scale).rounded(.down)
        guard scale > 0, scale.isFinite, extent <= 0x1p40 else { throw .invalid("\(name) has a scale of \(scale)") }
        try add(a, Int(extent), Double(scale), Double(dims[a]) * Double(scale))
      }
    case .sizes(let sizes):
      guard sizes.count == named.count else { throw .invalid("\(name) has \(sizes.count) sizes for \(named.count) axes") }
      guard sizes.allSatisfy({ $0 >= 0 && $0 <= 1 << 40 }) else { throw .invalid("\(name) has sizes \(sizes)") }
      let policy = op.version >= 18 ? op.string("keep_aspect_ratio_policy") ?? "stretch" : "stretch"
      guard policy != "stretch", !named.isEmpty else {
        for (a, size) in zip(named, sizes) { try add(a, size, dims[a] == 0 ? 1 : Double(size) / Double(dims[a]), Double(size)) }
        break
      }
      guard policy == "not_larger" || policy == "not_smaller" else { throw .invalid("\(name) has keep_aspect_ratio_policy=\(policy)") }
      guard named.allSatisfy({ shape.dims[$0] > 0 }) else { throw .unsupported("\(name) keeps no aspect ratio of an empty tensor") }
      let ratios = zip(named, sizes).map { Double($1) / Double(shape.dims[$0]) }
      let scale = policy == "not_larger" ? ratios.min()! : ratios.max()!
      for a in named {
        let width = scale * Double(dims[a])
        guard scale > 0, width <= 0x1p40 else { throw .invalid("\(name) has sizes \(sizes)") }
        try add(a, Int((width + 0.5).rounded(.down)), scale, width)
      }
    }
    return ResizePlan(axes: axes, shape: Shape(dims), named: named)
  }

  private enum GivenScales { case unknown, scales([Float]), sizes([Int]) }

  private func givenScales() throws(GenericProblem) -> GivenScales {
    let name = op.kind.name
    if op.kind == .resampling(.upsample), op.version < 9 {
      guard let scales = op.floats("scales") else { throw .invalid("Upsample needs its scales") }
      return .scales(scales)
    }
    let old = op.version < 11
    // A list of none stands for an input that is not given.
    func given(_ i: Int) -> ValueFact? {
      guard let fact = optional(i), fact.shape?.checkedCount != 0 else { return nil }
      return fact
    }
    if !old, let sizes = given(3) {
      guard given(2) == nil || given(2)?.shape == nil else { throw .invalid("\(name) has both scales and sizes") }
      try check(sizes, 3, [.i64])
      switch try list(3) {
      case .known(let sizes) where !sizes.isEmpty: return .sizes(sizes)
      case .unknown: return .unknown
      case .known, .absent: break
      }
    }
    let i = old ? 1 : 2
    guard let scales = given(i) else {
      // A tensor of no axes has no scales to give.
      if let shape = try input(0).shape, shape.rank == 0 { return .scales([]) }
      throw .invalid("\(name) has neither scales nor sizes")
    }
    try check(scales, i, [.f32])
    if let shape = scales.shape, shape.rank != 1 || shape.dims[0] > 64 { throw .invalid("\(name) has scales of shape \(shape)") }
    guard let value = scales.value else { return .unknown }
    return .scales(value.floats())
  }

  private func gridSample() throws(GenericProblem) -> ValueFact {
    try atMost(2)
    let x = try input(0, TypeSet.plain), grid = try input(1, TypeSet.floats)
    guard TypeSet.floats.contains(x.dtype) else { throw .unsupported("GridSample of \(x.dtype.rawValue) elements is not computed here") }
    _ = try op.gridOptions()
    guard let shape = x.shape, let places = grid.shape else { return ValueFact(dtype: x.dtype, shape: nil) }
    guard shape.rank >= 3, places.rank == shape.rank, places.dims[0] == shape.dims[0], places.dims[places.rank - 1] == shape.rank - 2 else {
      throw .invalid("GridSample has data of shape \(shape) and a grid of shape \(places)")
    }
    guard shape.rank <= 5 else { throw .unsupported("GridSample of a tensor of rank \(shape.rank) is not computed here") }
    if op.version < 20, shape.rank != 4 { throw .invalid("GridSample takes four axes before operator set 20, not \(shape)") }
    let result = Shape(Array(shape.dims[..<2]) + Array(places.dims[1..<(places.rank - 1)]))
    if result.checkedCount != 0, shape.dims[2...].contains(0) { throw .invalid("GridSample takes samples of an empty image, \(shape)") }
    return ValueFact(dtype: x.dtype, shape: result)
  }
}

// MARK: - Attributes

/// Between which pixels, and how.
public enum SampleMode: Sendable { case nearest, linear, cubic }

public struct ResizeOptions: Sendable {
  public enum Coordinates: String, Sendable {
    case halfPixel = "half_pixel", halfPixelSymmetric = "half_pixel_symmetric", pytorchHalfPixel = "pytorch_half_pixel", alignCorners = "align_corners"
    case asymmetric, tfHalfPixelForNN = "tf_half_pixel_for_nn", tfCropAndResize = "tf_crop_and_resize"
  }
  public enum Nearest: String, Sendable {
    case roundPreferFloor = "round_prefer_floor", roundPreferCeil = "round_prefer_ceil", floor, ceil
    /// Before operator set 11: downwards when enlarging, upwards when reducing.
    case old
  }
  public let mode: SampleMode, coordinates: Coordinates, nearest: Nearest
  public let antialias: Bool, excludeOutside: Bool
}

public struct GridOptions: Sendable {
  public enum Padding: String, Sendable { case zeros, border, reflection }
  public let mode: SampleMode, padding: Padding, alignCorners: Bool
}

extension Generic {
  public func resizePlan(_ inputs: [ValueFact?]) throws(GenericProblem) -> ResizePlan? {
    try GenericRule(op: self, inputs: inputs, outputs: 1).resizePlan()
  }

  /// The attributes of Resize or Upsample, at their version's defaults.
  public func resizeOptions() throws(GenericProblem) -> ResizeOptions {
    let name = kind.name, given = string("mode") ?? "nearest", old = version < 11 || kind == .resampling(.upsample)
    let modes: [String: SampleMode] = ["nearest": .nearest, "linear": .linear, "cubic": .cubic]
    guard let mode = modes[given], !old || mode != .cubic else { throw .invalid("\(name) has mode=\(given)") }
    if old { return ResizeOptions(mode: mode, coordinates: .asymmetric, nearest: .old, antialias: false, excludeOutside: false) }
    let transform = string("coordinate_transformation_mode") ?? "half_pixel"
    guard let coordinates = ResizeOptions.Coordinates(rawValue: transform), coordinates != .tfHalfPixelForNN || version < 13,
          coordinates != .halfPixelSymmetric || version >= 19 else { throw .invalid("\(name) has coordinate_transformation_mode=\(transform)") }
    // Meant for nearest neighbours, as its name says; runtimes disagree on the rest.
    if coordinates == .tfHalfPixelForNN, mode != .nearest { throw .unsupported("\(name) with tf_half_pixel_for_nn and mode=\(given) is not computed here") }
    let rounding = string("nearest_mode") ?? "round_prefer_floor"
    guard let nearest = ResizeOptions.Nearest(rawValue: rounding), nearest != .old else { throw .invalid("\(name) has nearest_mode=\(rounding)") }
    let antialias = version >= 18 && (int("antialias") ?? 0) != 0
    if antialias, mode == .nearest { throw .invalid("\(name) has antialias with mode=nearest") }
    return ResizeOptions(mode: mode, coordinates: coordinates, nearest: nearest, antialias: antialias, excludeOutside: (int("exclude_outside") ?? 0) != 0)
  }

  /// The attributes of GridSample.
  public func gridOptions() throws(GenericProblem) -> GridOptions {
    let given = string("mode") ?? (version < 20 ? "bilinear" : "linear"), pad = string("padding_mode") ?? "zeros"
    let old: [String: SampleMode] = ["nearest": .nearest, "bilinear": .linear, "bicubic": .cubic]
    let new: [String: SampleMode] = ["nearest": .nearest, "linear": .linear, "cubic": .cubic]
    guard let mode = (version < 20 ? old : new)[given] else { throw .invalid("GridSample has mode=\(given)") }
    guard let padding = GridOptions.Padding(rawValue: pad) else { throw .invalid("GridSample has padding_mode=\(pad)") }
    // ONNX's reference moves the place to the border before it takes four samples, PyTorch and ONNX Runtime move each sample.
    if mode == .cubic, padding == .border { throw .unsupported("GridSample with cubic samples and padding_mode=border is not computed here: its meaning is disputed") }
    return GridOptions(mode: mode, padding: padding, alignCorners: (int("align_corners") ?? 0) != 0)
  }
}
