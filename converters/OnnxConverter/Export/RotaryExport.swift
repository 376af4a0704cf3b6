// Cosines or sines of rotary positions at any image size, computed inside the file from the image's size with plain operators.

internal import DinoGraph
internal import DinoTensor
internal import ONNXFormat

struct RotaryExport {
  var periods: [Float]
  var patch: Int
  var special: Int
  var sine: Bool

  /// - Parameter image: the name of the value [B, C, H, W]. The result is [1, S + N, 1, d].
  func write(image: String, name: String, to w: inout NodeWriter) -> String {
    let rows = count(image, axis: 2, name, &w), columns = count(image, axis: 3, name, &w), p = periods.count
    let whole = w.call("Concat", [rows, columns, w.ints([p])], name + ".grid", [.axis(0)])
    let down = w.call("Expand", [w.reshape(axis(rows, name + ".down", &w), [-1, 1, p], name + ".down.plane"), whole], name + ".down.grid")
    let across = w.call("Expand", [w.reshape(axis(columns, name + ".across", &w), [1, -1, p], name + ".across.plane"), whole], name + ".across.grid")
    let patches = w.reshape(w.call("Concat", [down, across, down, across], name + ".both", [.axis(-1)]), [1, -1, 1, 4 * p], name + ".patches")
    guard special > 0 else { return patches }
    let head = w.floats(name + ".special", [Float](repeating: sine ? 0 : 1, count: special * 4 * p), [1, special, 1, 4 * p])
    return w.call("Concat", [head, patches], name, [.axis(1)])
  }

  /// Whole patches along an axis of the image, a list of one integer.
  private func count(_ image: String, axis: Int, _ name: String, _ w: inout NodeWriter) -> String {
    w.call("Div", [w.extent(image, axis: axis, name), w.ints([patch])], name + ".patches\(axis)")
  }

  /// [n, periods]: of the centre of each patch, from -1 to 1, over each period.
  private func axis(_ n: String, _ name: String, _ w: inout NodeWriter) -> String {
    let range = w.call("Range", [w.ints([0], scalar: true), w.squeezed(n, name + ".n"), w.ints([1], scalar: true)], name + ".range")
    let centre = w.call("Add", [w.reshape(w.cast(range, to: .float, name + ".index"), [-1, 1], name + ".column"), w.scalar(0.5)], name + ".centre")
    let share = w.call("Div", [centre, w.cast(n, to: .float, name + ".count")], name + ".share")
    let place = w.call("Sub", [w.call("Mul", [share, w.scalar(2)], name + ".twice"), w.scalar(1)], name + ".place")
    // The periods themselves are in the file: who reads it back has them to the bit.
    let speeds = w.call("Div", [w.scalar(Float(2 * Double.pi)), w.floats(name + ".periods", periods, [1, periods.count])], name + ".speeds")
    return w.call(sine ? "Sin" : "Cos", [w.call("Mul", [place, speeds], name + ".angle")], name + ".turn")
  }
}
