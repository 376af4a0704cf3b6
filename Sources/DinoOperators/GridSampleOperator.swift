// Plain twin of a foreign operator: GridSample, over one to three spatial axes. Samples of a place are found once, then taken from every channel.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func gridSample() throws(GenericProblem) -> Tensor {
    let (type, shape) = try inferredShape()
    let options = try op.gridOptions()
    if type == .f64 {
      return try sampled(Double.self, try input(0).aligned(), try input(1).cast(to: .f64), shape, options)
    }
    return try sampled(Float.self, try input(0).float32(), try input(1).float32(), shape, options).rounded(to: type)
  }

  private func sampled<T: FloatElement>(_ type: T.Type, _ x: Tensor, _ grid: Tensor, _ shape: Shape, _ options: GridOptions) throws(GenericProblem) -> Tensor {
    let extents = Array(x.shape.dims[2...]), axes = extents.count, strides = Array(x.shape.strides[2...])
    let channels = shape.dims[1], places = shape.dims[2...].reduce(1, *), spatial = extents.reduce(1, *)
    return try x.read(T.self) { from throws(GenericProblem) in
      try grid.read(T.self) { grid throws(GenericProblem) in
        try Tensor.result(x.dtype, shape, of: T.self) { out throws(GenericProblem) in
          if shape.count == 0 { return }
          var offsets: [Int] = [], weights: [T] = []
          for n in 0..<shape.dims[0] {
            for place in 0..<places {
              offsets = [0]
              weights = [1]
              for axis in 0..<axes {
                // The grid names the last axis first.
                let position = grid[(n * places + place) * axes + (axes - 1 - axis)]
                guard position.isFinite else { throw .invalid("GridSample has a place that is no finite number") }
                let samples = GridAxis<T>(position, extents[axis], options)
                var nextOffsets: [Int] = [], nextWeights: [T] = []
                for (offset, weight) in zip(offsets, weights) {
                  for (i, w) in zip(samples.indices, samples.weights) {
                    nextOffsets.append(offset + i * strides[axis])
                    nextWeights.append(weight * w)
                  }
                }
                (offsets, weights) = (nextOffsets, nextWeights)
              }
              for c in 0..<channels {
                let plane = from + (n * channels + c) * spatial
                var sum: T = 0
                for (offset, weight) in zip(offsets, weights) { sum += weight * plane[offset] }
                out[(n * channels + c) * places + place] = sum
              }
            }
          }
        }
      }
    }
  }
}

/// Samples along one axis for one place; those that padding makes 0 are left out.
private struct GridAxis<T: FloatElement> {
  var indices: [Int] = []
  var weights: [T] = []

  init(_ position: T, _ extent: Int, _ options: GridOptions) {
    let length = T(extent), low: T = options.alignCorners ? 0 : -0.5, high: T = options.alignCorners ? length - 1 : length - 0.5
    var x = options.alignCorners ? (position + 1) / 2 * (length - 1) : ((position + 1) * length - 1) / 2
    if options.mode == .nearest { x = x.rounded(.toNearestOrEven) }
    if x < low || x > high {
      switch options.padding {
      // So far outside that no sample is inside; further would not fit an Int.
      case .zeros: x = Swift.min(Swift.max(x, -4), length + 4)
      case .border: x = Swift.min(Swift.max(x, 0), length - 1)
      case .reflection: x = Self.reflect(x, low, high)
      }
    }
    if options.mode == .nearest {
      add(x, 1, extent, low, high, options.padding)
      return
    }
    let base = x.rounded(.down), ratio = x - base
    if options.mode == .linear {
      add(base, 1 - ratio, extent, low, high, options.padding)
      add(base + 1, ratio, extent, low, high, options.padding)
    } else {
      for t in -1...2 {
        let tap = T(t)
        add(base + tap, Self.cubic((tap - ratio).magnitude), extent, low, high, options.padding)
      }
    }
  }

  private mutating func add(_ x: T, _ weight: T, _ extent: Int, _ low: T, _ high: T, _ padding: GridOptions.Padding) {
    var x = x
    switch padding {
    case .zeros: if x < 0 || x > T(extent - 1) { return }
    case .border: break
    case .reflection: if x < low || x > high { x = Self.reflect(x, low, high) }
    }
    // Rounding may leave a reflected place a little outside.
    let index = x > 0 ? (x < T(extent) ? Int(x) : extent - 1) : 0
    indices.append(Swift.min(index, extent - 1))
    weights.append(weight)
  }

  private static func reflect(_ x: T, _ low: T, _ high: T) -> T {
    let range = high - low
    if range <= 0 { return low }
    let distance = x < low ? low - x : x - high
    let times = (distance / range).rounded(.down), rest = distance - times * range
    // An even number of reflections before comes back from the border that was crossed.
    let even = times.truncatingRemainder(dividingBy: 2) == 0
    return (x < low) == even ? low + rest : high - rest
  }

  /// Keys' cubic kernel with a = -0.75.
  private static func cubic(_ x: T) -> T {
    let a: T = -0.75
    if x <= 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
    if x < 2 { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
    return 0
  }
}
