// Convolution of f32 over one or two spatial axes: the weights of a group against panels of patches, gathered straight into the layout of the packed product; a channel by
// itself (depthwise) row by row. Threads share panels or channels, so their number changes no bit.

import DinoGraph
import DinoKernels
import DinoTensor

struct ConvolutionPlan {
  let window: SpatialWindow
  let shape: Shape
  let groups: Int
  let inChannels: Int
  let inPerGroup: Int
  let outPerGroup: Int
  /// Elements of the kernel, of an input channel, of an output channel.
  let taps: Int
  let pixels: Int
  let places: Int

  var spatialRank: Int { window.kernel.count }

  /// Shapes that the shape rule accepted, of a result that has elements.
  init(window: SpatialWindow, x: Shape, w: Shape, groups: Int, shape: Shape) {
    self.window = window
    self.shape = shape
    self.groups = groups
    inChannels = x[1]
    inPerGroup = w[1]
    outPerGroup = w[0] / groups
    taps = window.kernel.reduce(1, *)
    pixels = window.input.reduce(1, *)
    places = window.output.reduce(1, *)
  }

  /// Rows and columns; a missing axis counts one.
  private func pair(_ list: [Int], _ fallback: Int) -> (Int, Int) { list.count == 2 ? (list[0], list[1]) : (fallback, list[0]) }

  func fast(_ x: Tensor, _ w: Tensor, _ bias: Tensor?, _ context: OperatorContext) throws(GenericProblem) -> Tensor {
    let shift = try bias?.elements(Float.self)
    return try Tensor.result(.f32, shape, of: Float.self) { y throws(GenericProblem) in
      try x.read(Float.self) { p throws(GenericProblem) in
        try w.read(Float.self) { q throws(GenericProblem) in
          if inPerGroup == 1 && outPerGroup == 1 { return depthwise(p, q, shift, into: y, context) }
          for n in 0..<shape[0] {
            for g in 0..<groups {
              try product(p + (n * inChannels + g * inPerGroup) * pixels, q + g * outPerGroup * inPerGroup * taps, into: y + (n * shape[1] + g * outPerGroup) * places, context)
            }
          }
          if let shift {
            for n in 0..<shape[0] { for m in 0..<shape[1] {
              let row = y + (n * shape[1] + m) * places, b = shift[m]
              for i in 0..<places { row[i] += b }
            } }
          }
        }
      }
    }
  }

  /// All output channels of a group of one image.
  private func product(_ image: UnsafePointer<Float>, _ weight: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, _ context: OperatorContext) throws(GenericProblem) {
    let depth = inPerGroup * taps, nr = context.table.panelColumns
    // Sums over nothing.
    guard depth > 0 else { return y.update(repeating: 0, count: outPerGroup * places) }
    let panels = (places + nr - 1) / nr
    let (_, outColumns) = pair(window.output, 1), (rows, columns) = pair(window.input, 1), (kernelRows, kernelColumns) = pair(window.kernel, 1)
    let (strideY, strideX) = pair(window.strides, 1), (dilationY, dilationX) = pair(window.dilations, 1), (top, left) = pair(window.before, 0)
    let perGroupRows = outPerGroup, channels = inPerGroup, all = places
    // As many panels at once as there are threads to fill them.
    let lanes = min(panels, context.team.count * 2)
    let memory = try FloatProduct.scratch(lanes * depth * nr)
    let where_ = FloatProduct.Places(a: weight, b: image, c: y, packed: memory.storage.base.assumingMemoryBound(to: Float.self))
    var start = 0
    while start < panels {
      let first = start, count = min(lanes, panels - start)
      context.team.forEach(count) { lane in
        let begin = (first + lane) * nr, width = min(nr, all - begin), out = where_.packed + lane * depth * nr
        for j in 0..<nr {
          guard j < width else {
            for k in 0..<depth { out[k * nr + j] = 0 }
            continue
          }
          let oy = (begin + j) / outColumns, ox = (begin + j) % outColumns
          let y0 = oy * strideY - top, x0 = ox * strideX - left
          var k = 0
          for c in 0..<channels {
            let plane = where_.b + c * rows * columns
            for ky in 0..<kernelRows {
              let iy = y0 + ky * dilationY, inRow = iy >= 0 && iy < rows
              for kx in 0..<kernelColumns {
                let ix = x0 + kx * dilationX
                out[k * nr + j] = inRow && ix >= 0 && ix < columns ? plane[iy * columns + ix] : 0
                k += 1
              }
            }
          }
        }
        FloatProduct.panelProduct(where_.a, depth, out, k: depth, into: where_.c + begin, all, rows: perGroupRows, columns: width, context)
      }
      start += count
    }
    withExtendedLifetime(memory) {}
  }

  /// One channel in, one out.
  private func depthwise(_ p: UnsafePointer<Float>, _ q: UnsafePointer<Float>, _ shift: [Float]?, into y: UnsafeMutablePointer<Float>, _ context: OperatorContext) {
    let (outRows, outColumns) = pair(window.output, 1), (rows, columns) = pair(window.input, 1), (kernelRows, kernelColumns) = pair(window.kernel, 1)
    let (strideY, strideX) = pair(window.strides, 1), (dilationY, dilationX) = pair(window.dilations, 1), (top, left) = pair(window.before, 0)
    let channels = shape[1], elements = taps, pixels = pixels, places = places
    let where_ = FloatProduct.Places(a: p, b: q, c: y, packed: y)
    context.team.forEach(shape[0] * channels) { i in
      let image = where_.a + i * pixels, weight = where_.b + i % channels * elements, out = where_.c + i * places
      for oy in 0..<outRows {
        let row = out + oy * outColumns
        for ox in 0..<outColumns { row[ox] = shift?[i % channels] ?? 0 }
        for ky in 0..<kernelRows {
          let iy = oy * strideY - top + ky * dilationY
          guard iy >= 0, iy < rows else { continue }
          for kx in 0..<kernelColumns {
            let factor = weight[ky * kernelColumns + kx], x0 = kx * dilationX - left
            // Places whose pixel is inside: 0 <= ox·stride + x0 < columns.
            let low = x0 >= 0 ? 0 : (-x0 + strideX - 1) / strideX, high = min(outColumns, (columns - 1 - x0) >= 0 ? (columns - 1 - x0) / strideX + 1 : 0)
            guard low < high else { continue }
            let from = image + iy * columns + x0
            if strideX == 1 { for ox in low..<high { row[ox] += factor * from[ox] } } else { for ox in low..<high { row[ox] += factor * from[ox * strideX] } }
          }
        }
      }
    }
  }
}
