// Convolution of 8-bit integers as a product of integers: the weights times the windows of the input, unrolled in stretches. ConvInteger and QLinearConv share it.

import DinoGraph
import DinoKernels
import DinoTensor

struct IntegerConvolution {
  let x: Tensor
  let w: Tensor
  /// One number.
  let zeroX: Tensor?
  /// One number, or one for each output channel.
  let zeroW: Tensor?
  let window: Generic.QuantizedWindow

  /// Gives the sums of each output channel, stretch by stretch: where they belong in the result, and how many they are.
  func run(_ context: OperatorContext, _ take: (_ sums: UnsafeMutablePointer<Int32>, _ channel: Int, _ at: Int, _ count: Int) -> Void) throws(GenericProblem) {
    let channels = w.shape.dims[0], perGroup = channels / window.groups, inputs = w.shape.dims[1]
    let depth = inputs * window.kernel.reduce(1, *), positions = window.output.reduce(1, *), spatial = x.shape.dims[2...].reduce(1, *)
    // Positions are taken in stretches, so that the unrolled input stays small.
    let stretch = max(1, min(positions, (1 << 20) / max(depth, 1)))
    let columns = try Tensor.result(x.dtype, [depth, stretch]), sums = try Tensor.result(.i32, [perGroup, stretch])
    let columnsPointer = columns.storage.base.assumingMemoryBound(to: UInt8.self), sumsPointer = sums.storage.base.assumingMemoryBound(to: Int32.self)
    let weights = try w.integerMatrices(zero: zeroW, perRow: true, rows: channels, columns: depth)
    let points = try x.integerMatrices(zero: zeroX, perRow: true, rows: 1, columns: x.count).zeros
    guard points.count == 1 else { throw .invalid("the zero point of x has \(points.count) numbers, and one is needed") }
    let unroll = WindowUnroll(window: window, extents: Array(x.shape.dims[2...]), padding: UInt8(truncatingIfNeeded: points[0]))
    defer { withExtendedLifetime((x.storage, w.storage, columns.storage, sums.storage)) {} }
    for batch in 0..<x.shape.dims[0] {
      for group in 0..<window.groups {
        let zeros = weights.zeros.count == 1 ? weights.zeros : Array(weights.zeros[group * perGroup..<(group + 1) * perGroup])
        let rows = ByteMatrix(UnsafeRawPointer(weights.bytes + group * perGroup * depth), isSigned: weights.isSigned, zeroPoints: zeros)
        for first in stride(from: 0, to: positions, by: stretch) {
          let count = min(stretch, positions - first)
          unroll.fill(x, plane: (batch * window.groups + group) * inputs * spatial, channels: inputs, spatial: spatial, first: first, count: count, into: columnsPointer)
          try IntegerProduct.multiply(rows, ByteMatrix(UnsafeRawPointer(columnsPointer), isSigned: x.dtype == .i8, zeroPoints: points), into: sumsPointer, rows: perGroup, depth: depth,
                                      columns: count, context)
          for i in 0..<perGroup {
            let channel = group * perGroup + i
            take(sumsPointer + i * count, channel, (batch * channels + channel) * positions + first, count)
          }
        }
      }
    }
  }
}

/// The input under each weight of a window (rows), at each position of the output (columns).
private struct WindowUnroll {
  let window: Generic.QuantizedWindow
  let extents: [Int]
  /// The zero point: what stands for nothing.
  let padding: UInt8

  func fill(_ x: Tensor, plane: Int, channels: Int, spatial: Int, first: Int, count: Int, into out: UnsafeMutablePointer<UInt8>) {
    let from = (x.storage.base + x.byteOffset).assumingMemoryBound(to: UInt8.self) + plane
    let axes = extents.count, taps = window.kernel.reduce(1, *)
    // Where each position's window meets the input, for one tap; -1 outside. The same for all channels.
    var places = [Int](repeating: -1, count: count)
    for tap in 0..<taps {
      for j in 0..<count {
        var rest = first + j, restTap = tap, index = 0, scale = 1, inside = true
        for axis in stride(from: axes - 1, through: 0, by: -1) {
          let position = rest % window.output[axis], t = restTap % window.kernel[axis]
          rest /= window.output[axis]
          restTap /= window.kernel[axis]
          let at = position * window.strides[axis] + t * window.dilations[axis] - window.begin[axis]
          if at < 0 || at >= extents[axis] { inside = false }
          index += at * scale
          scale *= extents[axis]
        }
        places[j] = inside ? index : -1
      }
      places.withUnsafeBufferPointer { places in
        for c in 0..<channels {
          let p = from + c * spatial, o = out + (c * taps + tap) * count
          for j in 0..<count { o[j] = places[j] < 0 ? padding : p[places[j]] }
        }
      }
    }
    withExtendedLifetime(x.storage) {}
  }
}
