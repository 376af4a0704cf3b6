// Where Resize samples along one axis: for each index of the result, the indices of the source and their weights. Coordinates are F64, those of nearest F32. No
// elements here.

import DinoGraph

/// Samples along one axis: `taps` source indices and weights for each index of the result.
struct AxisSamples {
  var taps = 1
  var indices: [Int] = []
  /// Empty for nearest.
  var weights: [Double] = []
  /// Indices of the result that lie outside the source, where tf_crop_and_resize puts its own value.
  var outside: [Int] = []

  init(_ axis: ResizePlan.Axis, _ options: ResizeOptions, cubic: Double, roi: (start: Double, end: Double)) throws(GenericProblem) {
    let last = axis.input - 1
    // The filter widens where the result is smaller.
    let shrink = options.antialias ? Swift.min(axis.scale, 1) : 1
    let first: Int
    switch options.mode {
    case .nearest: first = 0
    case .linear: first = Int((-1 / shrink).rounded(.down)) + 1
    case .cubic: first = Int((-2 / shrink).rounded(.down)) + 1
    }
    taps = options.mode == .nearest ? 1 : 2 - 2 * first
    guard taps > 0, axis.output <= (1 << 28) / taps else { throw .unsupported("\(axis.output) samples of \(taps) elements along an axis of Resize") }
    indices.reserveCapacity(axis.output * taps)
    var row = [Double](repeating: 0, count: taps)
    for o in 0..<axis.output {
      // In F64 a third of 3 falls short of the pixel that PyTorch and ONNX Runtime take.
      let x = options.mode == .nearest ? Double(Self.coordinate(Float(o), axis, options.coordinates, roi)) : Self.coordinate(Double(o), axis, options.coordinates, roi)
      guard x.magnitude < 0x1p50 else { throw .invalid("Resize samples at \(x)") }
      if options.coordinates == .tfCropAndResize, x < 0 || x > Double(last) { outside.append(o) }
      if options.mode == .nearest {
        indices.append(Swift.min(Swift.max(Self.nearest(x, options.nearest, axis.scale), 0), last))
        continue
      }
      // Left neighbour and the distance from it, in (0, 1].
      let base = x.rounded(.up) - 1, ratio = x - base
      var sum = 0.0
      for t in 0..<taps {
        let distance = (Double(first + t) - ratio).magnitude * shrink, at = Int(base) + first + t
        row[t] = options.mode == .linear ? Swift.max(1 - distance, 0) : Self.cubic(distance, cubic)
        if options.antialias { sum += row[t] }
        indices.append(Swift.min(Swift.max(at, 0), last))
      }
      if options.antialias, sum != 0 { for t in 0..<taps { row[t] /= sum } }
      if options.excludeOutside {
        sum = 0
        for t in 0..<taps {
          let at = Int(base) + first + t
          if at < 0 || at > last { row[t] = 0 }
          sum += row[t]
        }
        if sum != 0 { for t in 0..<taps { row[t] /= sum } }
      }
      weights += row
    }
  }

  /// Whether the axis keeps its elements as they are.
  static func isIdentity(_ axis: ResizePlan.Axis, _ options: ResizeOptions, roi: (start: Double, end: Double)) -> Bool {
    axis.input == axis.output && axis.scale == 1 && options.coordinates != .tfHalfPixelForNN
      && (options.coordinates != .tfCropAndResize || (roi.start == 0 && roi.end == 1))
  }

  private static func coordinate<F: BinaryFloatingPoint>(_ x: F, _ axis: ResizePlan.Axis, _ mode: ResizeOptions.Coordinates, _ roi: (start: Double, end: Double)) -> F {
    let input = F(axis.input), output = F(axis.output), scale = F(axis.scale), width = F(axis.width)
    switch mode {
    case .halfPixel: return (x + 0.5) / scale - 0.5
    case .pytorchHalfPixel: return axis.output > 1 ? (x + 0.5) / scale - 0.5 : 0
    case .halfPixelSymmetric:
      // The sum is F64 in ONNX Runtime too.
      let offset: F = input / 2 * (1 - output / width)
      let place: Double = (Double(x) + 0.5) / Double(scale)
      return F(Double(offset) + place - 0.5)
    case .alignCorners: return axis.width == 1 || x == 0 ? 0 : x * (input - 1) / (width - 1)
    case .asymmetric: return x / scale
    case .tfHalfPixelForNN: return (x + 0.5) / scale
    case .tfCropAndResize:
      let start = F(roi.start), end = F(roi.end)
      if axis.width == 1 { return (start + end) / 2 * (input - 1) }
      let step: F = x == 0 ? 0 : x * (end - start) * (input - 1) / (width - 1)
      return start * (input - 1) + step
    }
  }

  private static func nearest(_ x: Double, _ mode: ResizeOptions.Nearest, _ scale: Double) -> Int {
    let below = x.rounded(.down)
    // Half way but for the rounding of F32.
    let isHalfway = (x - below - 0.5).magnitude <= 1e-6
    switch mode {
    case .roundPreferFloor: return Int(isHalfway ? below : (x + 0.5).rounded(.down))
    case .roundPreferCeil: return Int(isHalfway ? below + 1 : (x + 0.5).rounded(.down))
    case .floor: return Int(below)
    case .ceil: return Int(x.rounded(.up))
    case .old: return Int(x.rounded(scale < 1 ? .up : .down))
    }
  }

  /// Keys' cubic kernel.
  private static func cubic(_ x: Double, _ a: Double) -> Double {
    if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    if x < 2 { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
    return 0
  }
}
