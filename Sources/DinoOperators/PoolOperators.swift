// Plain twins of pools: for each place the taps of its window that fall on data (and, where they count, on the borders).

import DinoGraph
import DinoTensor

/// Walks a window over an image of any number of axes.
private struct PoolWalk {
  let window: SpatialWindow
  let places: StridedIndex
  let pixels: StridedIndex
  let taps: [[Int]]

  init(_ window: SpatialWindow) {
    self.window = window
    places = StridedIndex(window.output)
    pixels = StridedIndex(window.input)
    let kernel = StridedIndex(window.kernel)
    taps = (0..<window.kernel.reduce(1, *)).map(kernel.position)
  }

  /// Pixels under the window at a place, and how many taps lie on data or on the declared borders.
  func under(_ place: Int, _ found: inout [Int]) -> Int {
    found.removeAll(keepingCapacity: true)
    let corner = places.position(place)
    var counted = 0
    for tap in taps {
      var pixel = 0, isData = true, isBorder = true
      for axis in window.kernel.indices {
        let i = corner[axis] * window.strides[axis] - window.before[axis] + tap[axis] * window.dilations[axis]
        if i >= window.input[axis] + window.after[axis] { isBorder = false }
        if i < 0 || i >= window.input[axis] { isData = false }
        pixel += i * pixels.strides[axis]
      }
      if isBorder { counted += 1 }
      if isData { found.append(pixel) }
    }
    return counted
  }
}

extension OperatorCall {
  private func walk(_ x: Tensor) throws(GenericProblem) -> PoolWalk {
    let window = try SpatialWindow(op, input: Array(x.shape.dims[2...]))
    // The walk goes through each window: what could take hours is refused.
    let work = Double(window.kernel.reduce(1.0) { $0 * Double($1) }) * Double(window.output.reduce(1.0) { $0 * Double($1) })
    guard work <= 1e10, window.kernel.reduce(1.0, { $0 * Double($1) }) <= 1e7 else { throw .unsupported("\(op.kind.name) with a window of \(window.kernel)") }
    return PoolWalk(window)
  }

  func maxPool() throws(GenericProblem) -> [Tensor] {
    let x = try input(0), (_, shape) = try inferredShape()
    if x.dtype == .f16 || x.dtype == .bf16 {
      var results = try MaxPoolWork(x: try x.float32(), walk: walk(x), shape: shape, columnMajor: op.int("storage_order") ?? 0 != 0, indices: outputs > 1).dispatch(.f32)
      results[0] = try results[0].rounded(to: x.dtype)
      return results
    }
    return try MaxPoolWork(x: x, walk: walk(x), shape: shape, columnMajor: op.int("storage_order") ?? 0 != 0, indices: outputs > 1).dispatch(x.dtype)
  }

  func averagePool() throws(GenericProblem) -> Tensor {
    let includesBorders = op.int("count_include_pad") ?? 0 != 0
    return try floatPool { values, counted in
      let sum = values.reduce(0.0) { $0 + Double($1) }
      return Float(sum / Double(includesBorders ? max(counted, 1) : max(values.count, 1)))
    }
  }

  func lpPool() throws(GenericProblem) -> Tensor {
    let p = Double(op.int("p") ?? 2)
    return try floatPool { values, _ in Float(power(values.reduce(0.0) { $0 + power(Double(Swift.abs($1)), p) }, 1 / p)) }
  }

  private func floatPool(_ body: ([Float], _ counted: Int) -> Float) throws(GenericProblem) -> Tensor {
    let x = try input(0), (dtype, shape) = try inferredShape()
    guard dtype != .f64 else { throw .unsupported("\(op.kind.name) of F64") }
    let wide = try x.float32(), walk = try walk(x)
    let planes = shape[0] * shape[1], places = walk.window.output.reduce(1, *), pixels = walk.window.input.reduce(1, *)
    return try Tensor.result(.f32, shape, of: Float.self) { y throws(GenericProblem) in
      try wide.read(Float.self) { p in
        var found: [Int] = [], values: [Float] = []
        for place in 0..<places {
          let counted = walk.under(place, &found)
          for plane in 0..<planes {
            values.removeAll(keepingCapacity: true)
            for i in found { values.append(p[plane * pixels + i]) }
            y[plane * places + place] = body(values, counted)
          }
        }
      }
    }.rounded(to: dtype)
  }

  func globalPool(_ kind: ConvolutionKind) throws(GenericProblem) -> Tensor {
    let x = try input(0)
    let (dtype, shape) = try inferredShape()
    if dtype == .f64 { throw .unsupported("\(op.kind.name) of F64") }
    let planes = shape[0] * shape[1], size = x.shape.dims[2...].reduce(1, *)
    let wide = try x.float32()
    return try Tensor.result(.f32, shape, of: Float.self) { y throws(GenericProblem) in
      try wide.read(Float.self) { p in
        for plane in 0..<planes {
          let row = UnsafeBufferPointer(start: p + plane * size, count: size)
          y[plane] = kind == .globalMaxPool ? row.max() ?? -.infinity : Float(row.reduce(0.0) { $0 + Double($1) } / Double(max(size, 1)))
        }
      }
    }.rounded(to: dtype)
  }
}

private struct MaxPoolWork: ElementWork {
  let x: Tensor
  let walk: PoolWalk
  let shape: Shape
  let columnMajor: Bool
  let indices: Bool

  func run<T: NumericElement>(_ type: T.Type) throws(GenericProblem) -> [Tensor] {
    let planes = shape[0] * shape[1], places = walk.window.output.reduce(1, *), pixels = walk.window.input.reduce(1, *)
    let positions = indices ? try Tensor.result(.i64, shape) : nil
    let y = try Tensor.result(x.dtype, shape, of: T.self) { y throws(GenericProblem) in
      try x.read(T.self) { p in
        let index = positions?.storage.base.assumingMemoryBound(to: Int64.self)
        var found: [Int] = []
        for place in 0..<places {
          _ = walk.under(place, &found)
          for plane in 0..<planes {
            var best = T.lowest, at = found.first ?? 0
            for i in found {
              let v = p[plane * pixels + i]
              // Only a NaN beats infinity; the first of equals is kept.
              if v > best || (v.isNotANumber && !best.isNotANumber) { (best, at) = (v, i) }
            }
            y[plane * places + place] = best
            index?[plane * places + place] = Int64(plane * pixels + (columnMajor ? flipped(at) : at))
          }
        }
      }
    }
    return [y] + (positions.map { [$0] } ?? [])
  }

  /// A row-major position as column-major.
  private func flipped(_ i: Int) -> Int {
    let position = walk.pixels.position(i)
    var step = 1, index = 0
    for (p, n) in zip(position, walk.window.input) {
      index += p * step
      step *= n
    }
    return index
  }
}
