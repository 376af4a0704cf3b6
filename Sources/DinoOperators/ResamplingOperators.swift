// Plain twins of foreign operators: resampling. Here Resize and Upsample, one axis after the other (every mode is separable); GridSample is in
// GridSampleOperator.swift.

import DinoGraph
import DinoTensor

extension OperatorCall {
  func resampling(_ kind: ResamplingKind) throws(GenericProblem) -> [Tensor] {
    switch kind {
    case .resize, .upsample: return [try resize()]
    case .gridSample: return [try gridSample()]
    }
  }

  private func resize() throws(GenericProblem) -> Tensor {
    let (type, shape) = try inferredShape()
    let x = try input(0), options = try op.resizeOptions()
    guard let plan = try op.resizePlan(inputs.map { $0.map(ValueFact.init) }) else { throw .unsupported("\(op.kind.name): its scales are not known") }
    // Before anything as long as one of its axes is made.
    try Tensor.size(type, shape)
    if shape.count == 0 { return try Tensor.result(type, shape) }
    var roi = [Double](repeating: 0, count: plan.named.count) + [Double](repeating: 1, count: plan.named.count)
    if options.coordinates == .tfCropAndResize {
      roi = try input(1).doubles()
      guard roi.count == 2 * plan.named.count else { throw .invalid("Resize has a roi of \(roi.count) numbers for \(plan.named.count) axes") }
    }
    let value = op.float("extrapolation_value") ?? 0, cubic = Double(op.float("cubic_coeff_a") ?? -0.75)
    var passes: [(axis: Int, growth: Double, samples: AxisSamples)] = []
    for (i, axis) in plan.axes.enumerated() {
      let crop = (start: roi[i], end: roi[plan.named.count + i])
      if AxisSamples.isIdentity(axis, options, roi: crop) { continue }
      passes.append((axis.axis, Double(axis.output) / Double(axis.input), try AxisSamples(axis, options, cubic: cubic, roi: crop)))
    }
    // Axes that shrink go first: less to do for the others.
    passes.sort { $0.growth < $1.growth }
    if options.mode == .nearest {
      var result = try x.aligned()
      for pass in passes { result = try TakeAlong(source: result, axis: pass.axis, samples: pass.samples).dispatch(type) }
      guard passes.contains(where: { !$0.samples.outside.isEmpty }) else { return result }
      let fill = try Tensor([value], shape: []).cast(to: type)
      for pass in passes { result = try FillAlong(source: result, axis: pass.axis, places: pass.samples.outside, value: fill).dispatch(type) }
      return result
    }
    let wide = [DType.f32, .f16, .bf16].contains(type) ? DType.f32 : .f64
    var result = wide == .f32 ? try x.float32() : try x.cast(to: .f64)
    for pass in passes {
      result = wide == .f32 ? try result.blended(Float.self, pass.axis, pass.samples) : try result.blended(Double.self, pass.axis, pass.samples)
    }
    if passes.contains(where: { !$0.samples.outside.isEmpty }) {
      let fill = try Tensor([value], shape: []).cast(to: wide)
      for pass in passes { result = try FillAlong(source: result, axis: pass.axis, places: pass.samples.outside, value: fill).dispatch(wide) }
    }
    if wide == .f32 { return try result.rounded(to: type) }
    return type == .f64 ? result : try SaturatingWork(x: result, target: type).dispatch(type)
  }
}

extension Tensor {
  /// The tensor as [outer, extent, inner] around an axis.
  fileprivate func around(_ axis: Int) -> (outer: Int, extent: Int, inner: Int) {
    (shape.dims[..<axis].reduce(1, *), shape.dims[axis], shape.dims[(axis + 1)...].reduce(1, *))
  }

  fileprivate func resized(_ axis: Int, to extent: Int) -> Shape {
    var dims = shape.dims
    dims[axis] = extent
    return Shape(dims)
  }

  /// Weighted sums along one axis.
  fileprivate func blended<T: FloatElement>(_ type: T.Type, _ axis: Int, _ samples: AxisSamples) throws(GenericProblem) -> Tensor {
    let (outer, extent, inner) = around(axis), taps = samples.taps, output = samples.indices.count / taps
    let weights = samples.weights.map { T($0) }
    return try read(T.self) { from throws(GenericProblem) in
      try Tensor.result(dtype, resized(axis, to: output), of: T.self) { out in
        samples.indices.withUnsafeBufferPointer { indices in
          weights.withUnsafeBufferPointer { weights in
            for o in 0..<outer {
              let plane = from + o * extent * inner, target = out + o * output * inner
              if inner == 1 {
                if taps == 2 {
                  for i in 0..<output { target[i] = weights[2 &* i] * plane[indices[2 &* i]] + weights[2 &* i &+ 1] * plane[indices[2 &* i &+ 1]] }
                } else {
                  for i in 0..<output {
                    var sum: T = 0
                    for t in i &* taps..<(i &+ 1) &* taps { sum += weights[t] * plane[indices[t]] }
                    target[i] = sum
                  }
                }
                continue
              }
              for i in 0..<output {
                let row = target + i * inner
                if taps == 2 {
                  let a = plane + indices[2 * i] * inner, b = plane + indices[2 * i + 1] * inner, wa = weights[2 * i], wb = weights[2 * i + 1]
                  for j in 0..<inner { row[j] = wa * a[j] + wb * b[j] }
                } else {
                  row.update(repeating: 0, count: inner)
                  for t in i * taps..<(i + 1) * taps {
                    let a = plane + indices[t] * inner, w = weights[t]
                    for j in 0..<inner { row[j] += w * a[j] }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}

/// One source element for each index along an axis.
private struct TakeAlong: MoveWork {
  let source: Tensor
  let axis: Int
  let samples: AxisSamples

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let (outer, extent, inner) = source.around(axis), output = samples.indices.count
    return try source.read(T.self) { from throws(GenericProblem) in
      try Tensor.result(source.dtype, source.resized(axis, to: output), of: T.self) { out in
        samples.indices.withUnsafeBufferPointer { indices in
          for o in 0..<outer {
            let plane = from + o * extent * inner, target = out + o * output * inner
            if inner == 1 {
              for i in 0..<output { target[i] = plane[indices[i]] }
            } else {
              for i in 0..<output { (target + i * inner).update(from: plane + indices[i] * inner, count: inner) }
            }
          }
        }
      }
    }
  }
}

/// One value at some indices of an axis; writes into the tensor, which must be the caller's own.
private struct FillAlong: MoveWork {
  let source: Tensor
  let axis: Int
  let places: [Int]
  let value: Tensor

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let (outer, extent, inner) = source.around(axis), value = try value.elements(T.self)[0]
    let out = (source.storage.base + source.byteOffset).assumingMemoryBound(to: T.self)
    for o in 0..<outer {
      for place in places { (out + (o * extent + place) * inner).update(repeating: value, count: inner) }
    }
    withExtendedLifetime(source.storage) {}
    return source
  }
}

/// F64 to integers of at most 32 bits: rounded half to even, within the type's range.
private struct SaturatingWork: IntegerWork {
  let x: Tensor
  let target: DType

  func run<T: NumericElement & FixedWidthInteger>(_ type: T.Type) throws(GenericProblem) -> Tensor {
    let low = Double(T.min), high = Double(T.max), n = x.count
    return try x.read(Double.self) { p throws(GenericProblem) in
      try Tensor.result(target, x.shape, of: T.self) { out in
        for i in 0..<n {
          let v = p[i].rounded(.toNearestOrEven)
          // NaN becomes the lower bound; no 64-bit type comes here.
          out[i] = T(truncatingIfNeeded: Int64(v > low ? (v < high ? v : high) : low))
        }
      }
    }
  }
}
