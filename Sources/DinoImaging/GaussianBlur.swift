// Pillow's GaussianBlur: three box blurs along each axis, boxes of fractional width, 24-bit fixed point, rounded to bytes after each
// (Gwosdek et al., "Theoretical foundations of Gaussian convolution by extended box filtering", 2011). Exact to the byte.

extension Image {
  /// Blurred with standard deviation `radius`, in pixels. Zero changes nothing.
  public func gaussianBlurred(radius: Float) throws(ImageError) -> Image {
    guard radius >= 0, radius.isFinite, radius < 1_000_000 else { throw .invalidParameter("a blur radius of \(radius) is not a usable number of pixels") }
    if radius == 0 { return self }
    let box = boxRadius(radius, passes: 3)
    if box == 0 { return self }
    var out = pixels
    var line = [UInt8](), scratch = [UInt8]()
    for c in 0..<channels {
      for y in 0..<height {
        blur(&out, start: y * stride + c, step: channels, count: width, radius: box, &line, &scratch)
      }
      for x in 0..<width {
        blur(&out, start: x * channels + c, step: stride, count: height, radius: box, &line, &scratch)
      }
    }
    return Image(width: width, height: height, channels: channels, pixels: out)
  }

  /// Three passes over one line of samples.
  private func blur(_ out: inout [UInt8], start: Int, step: Int, count: Int, radius: Float, _ line: inout [UInt8], _ scratch: inout [UInt8]) {
    line.removeAll(keepingCapacity: true)
    for i in 0..<count { line.append(out[start + i * step]) }
    if scratch.count != count { scratch = [UInt8](repeating: 0, count: count) }
    for _ in 0..<3 {
      boxBlur(line, radius, into: &scratch)
      swap(&line, &scratch)
    }
    for i in 0..<count { out[start + i * step] = line[i] }
  }
}

/// Radius of the box whose `passes`-fold repetition has the deviation `radius`; equations 7, 11 and 14 of the paper.
func boxRadius(_ radius: Float, passes: Int) -> Float {
  let variance = radius * radius / Float(passes)
  let length = Float((12.0 * Double(variance) + 1.0).squareRoot())
  let whole = Float(((Double(length) - 1.0) / 2.0).rounded(.down))
  var part = (2 * whole + 1) * (whole * (whole + 1) - 3 * variance)
  part /= 6 * (variance - (whole + 1) * (whole + 1))
  return whole + part
}

/// One pass: each sample becomes the mean of 2r + 1 around it, the two outermost weighted by the fraction; edges repeat.
private func boxBlur(_ line: [UInt8], _ radius: Float, into out: inout [UInt8]) {
  let r = Int(radius), last = line.count - 1
  let weight = UInt32(Float(1 << 24) / (radius * 2 + 1))
  let edge = (UInt32(1 << 24) &- UInt32(r * 2 + 1) &* weight) / 2
  var sum: UInt32 = 0
  // The window of sample -1: r + 1 times the first sample, then samples 0 ..< r.
  sum = UInt32(line[0]) &* UInt32(r + 1)
  for i in 0..<min(r, last + 1) { sum &+= UInt32(line[i]) }
  if r > last + 1 { sum &+= UInt32(line[last]) &* UInt32(r - last - 1) }
  for x in 0...last {
    let before = UInt32(line[max(0, x - r - 1)])
    sum = sum &+ UInt32(line[min(last, x + r)]) &- before
    let total = sum &* weight &+ (before &+ UInt32(line[min(last, x + r + 1)])) &* edge
    out[x] = UInt8(truncatingIfNeeded: (total &+ (1 << 23)) >> 24)
  }
}
