// Position embeddings at any image size, as two matrix products: rows · grid, then columns. The weights of both are computed inside the
// file from the image's size, with plain operators, so that every runtime gives the result of the rule that the graph names; Resize, whose
// cubic and antialiased forms differ between runtimes and exporters, is not used.
//
// For source extent M, target extent n and scale s: output i looks at x = (i + 1/2)/s - 1/2; source j weighs k(x - j). Without antialiasing
// sources beyond the border count for the border's (torch's clamping); with it, the kernel is widened when shrinking, sources beyond the
// border do not count and weights are divided by their sum (Pillow's rule).

internal import DinoGraph
internal import DinoTensor
internal import ONNXFormat

struct PositionExport {
  var special: Int
  var rows: Int
  var columns: Int
  var patch: Int
  var resize: PositionResize

  /// - Parameter positions: [1, S + rows·columns, D]; `image`: the name of the value [B, C, H, W]. The result is [1, S + N, D].
  func write(_ positions: Tensor, image: String, name: String, constantName: String, to w: inout NodeWriter) throws(OnnxExportError) -> String {
    let width = positions.shape[2], values = positions.floats()
    let grid = try w.weight(constantName + ".grid", Tensor(Array(values[(special * width)...]), shape: [rows, columns * width]))
    let height = patches(image, axis: 2, name, &w), across = patches(image, axis: 3, name, &w)
    var rowScale = scale(height, native: rows, name + ".rows", &w), columnScale = scale(across, native: columns, name + ".columns", &w)
    if resize.offset != nil && rows == columns {
      // The original leaves positions alone only where the image is square and has the native number of patches.
      let count = w.call("Mul", [height, across], name + ".count")
      let same = w.call("And", [w.call("Equal", [count, w.ints([rows * columns])], name + ".native"),
                                w.call("Equal", [w.extent(image, axis: 2, name), w.extent(image, axis: 3, name)], name + ".square")], name + ".untouched")
      rowScale = w.call("Where", [same, w.scalar(1), rowScale], name + ".rows.scale.chosen")
      columnScale = w.call("Where", [same, w.scalar(1), columnScale], name + ".columns.scale.chosen")
    }
    let down = weights(height, rowScale, native: rows, name + ".rows", &w), right = weights(across, columnScale, native: columns, name + ".columns", &w)
    let first = w.call("MatMul", [down, grid], name + ".down")  // [n, columns · D]
    let planes = w.reshape(first, [-1, columns, width], name + ".planes")
    let second = w.call("MatMul", [right, planes], name + ".right")  // [n, m, D]
    let flat = w.reshape(second, [1, -1, width], name + ".flat")
    guard special > 0 else { return flat }
    let head = try w.weight(constantName + ".special", Tensor(Array(values[..<(special * width)]), shape: [1, special, width]))
    return w.call("Concat", [head, flat], name, [.axis(1)])
  }

  /// Whole patches along an axis of the image, a list of one integer.
  private func patches(_ image: String, axis: Int, _ name: String, _ w: inout NodeWriter) -> String {
    w.call("Div", [w.extent(image, axis: axis, name), w.ints([patch])], name + ".patches\(axis)")
  }

  /// (n + offset)/M, or n/M; a list of one float.
  private func scale(_ n: String, native: Int, _ name: String, _ w: inout NodeWriter) -> String {
    var count = w.cast(n, to: .float, name + ".float")
    if let offset = resize.offset, offset != 0 { count = w.call("Add", [count, w.scalar(Float(offset))], name + ".offset") }
    return w.call("Div", [count, w.scalar(Float(native))], name + ".scale")
  }

  /// [n, native]: what each source weighs in each output.
  private func weights(_ n: String, _ scale: String, native: Int, _ name: String, _ w: inout NodeWriter) -> String {
    let zero = w.ints([0], scalar: true), one = w.ints([1], scalar: true)
    let range = w.cast(w.call("Range", [zero, w.squeezed(n, name + ".n"), one], name + ".range"), to: .float, name + ".index")
    let i = w.call("Unsqueeze", [range, w.ints([1])], name + ".column")  // [n, 1]
    if resize.kernel == .nearest {
      let at = w.call("Floor", [w.call("Div", [i, scale], name + ".at")], name + ".floor")
      let top = w.call("Min", [at, w.scalar(Float(native - 1))], name + ".clamped")
      let sources = w.floats(name + ".sources", (0..<native).map(Float.init), [1, native])
      return w.cast(w.call("Equal", [w.cast(top, to: .int32, name + ".chosen"), w.cast(sources, to: .int32, name + ".source")], name + ".picked"), to: .float, name + ".weights")
    }
    let centre = w.call("Add", [i, w.scalar(0.5)], name + ".centre")
    let x = w.call("Sub", [w.call("Div", [centre, scale], name + ".mapped"), w.scalar(0.5)], name + ".x")
    let border = resize.antialias ? 0 : 2
    let sources = w.floats(name + ".sources", (-border..<native + border).map(Float.init), [1, native + 2 * border])
    var distance = w.call("Abs", [w.call("Sub", [x, sources], name + ".difference")], name + ".distance")
    if resize.antialias {
      // Shrinking widens the kernel by 1/scale; enlarging leaves it.
      distance = w.call("Mul", [distance, w.call("Min", [scale, w.scalar(1)], name + ".narrow")], name + ".stretched")
      let raw = kernel(distance, name, &w)
      return w.call("Div", [raw, w.reduce("ReduceSum", raw, axes: [1], keep: true, name + ".total")], name + ".weights")
    }
    // Sources beyond the border count for the border's: [native + 4, native].
    var fold = [Float](repeating: 0, count: (native + 4) * native)
    for j in 0..<native + 4 { fold[j * native + min(max(j - 2, 0), native - 1)] = 1 }
    return w.call("MatMul", [kernel(distance, name, &w), w.floats(name + ".fold", fold, [native + 4, native])], name + ".weights")
  }

  /// The kernel at distances ≥ 0, elementwise.
  private func kernel(_ d: String, _ name: String, _ w: inout NodeWriter) -> String {
    if resize.kernel == .bilinear {
      return w.call("Max", [w.call("Sub", [w.scalar(1), d], name + ".triangle"), w.scalar(0)], name + ".kernel")
    }
    let a = Float(resize.cubicA)
    // d ≤ 1: ((a + 2)d - (a + 3))d² + 1; 1 < d < 2: a(((d - 5)d + 8)d - 4); 0 beyond (Keys 1981).
    let near = w.call("Add", [w.call("Mul", [w.call("Sub", [w.call("Mul", [d, w.scalar(a + 2)], name + ".near3"), w.scalar(a + 3)], name + ".near2"),
                                             w.call("Mul", [d, d], name + ".square")], name + ".near1"), w.scalar(1)], name + ".near")
    let far3 = w.call("Add", [w.call("Mul", [w.call("Sub", [d, w.scalar(5)], name + ".far5"), d], name + ".far4"), w.scalar(8)], name + ".far3")
    let far = w.call("Mul", [w.call("Sub", [w.call("Mul", [far3, d], name + ".far2"), w.scalar(4)], name + ".far1"), w.scalar(a)], name + ".far")
    let beyond = w.call("Where", [w.call("Less", [d, w.scalar(2)], name + ".inside"), far, w.scalar(0)], name + ".outer")
    return w.call("Where", [w.call("LessOrEqual", [d, w.scalar(1)], name + ".inner"), near, beyond], name + ".kernel")
  }
}
