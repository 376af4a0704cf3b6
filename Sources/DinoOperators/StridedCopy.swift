// Copies that move elements in regular ways: a result whose element at a position is the source's at a sum of steps. Transpose, Slice, Expand, Tile and the
// like are this. No operator here.

import DinoGraph
import DinoTensor

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

extension Tensor {
  /// A tensor of `shape` whose element at (i, j, ...) is this tensor's at `start + i · steps[0] + j · steps[1] + ...`, all of which the caller has checked
  /// to be in range.
  func strided(_ shape: Shape, start: Int = 0, steps: [Int]) throws(GenericProblem) -> Tensor {
    let result = try Tensor.result(dtype, shape)
    if result.count > 0 { try StridedCopy(source: try aligned(), start: start, loop: StridedLoop(shape, steps: [steps]), result: result).dispatch(dtype) }
    return result
  }

  /// The axes in another order.
  func transposed(_ order: [Int]) throws(GenericProblem) -> Tensor {
    let strides = shape.strides
    return try strided(Shape(order.map { shape.dims[$0] }), steps: order.map { strides[$0] })
  }
}

private struct StridedCopy: MoveWork {
  let source: Tensor
  let start: Int
  let loop: StridedLoop
  let result: Tensor

  func run<T: FixedWidthInteger & UnsignedInteger & BitwiseCopyable>(_ type: T.Type) throws(GenericProblem) {
    let from = (source.storage.base + source.byteOffset).assumingMemoryBound(to: T.self) + start
    let out = result.storage.base.assumingMemoryBound(to: T.self)
    let n = loop.rowLength, step = loop.rowStep(0)
    if step == 1 {
      loop.forEachRow { o, i in (out + o).update(from: from + i, count: n) }
    } else if step == 0 {
      loop.forEachRow { o, i in (out + o).update(repeating: from[i], count: n) }
    } else if let inner = loop.dims.indices.dropLast().last(where: { loop.steps[0][$0] == 1 }) {
      tiled(from, out, inner)
    } else {
      loop.forEachRow { o, i in
        let out = out + o, from = from + i
        for j in 0..<n { out[j] = from[j &* step] }
      }
    }
    withExtendedLifetime((source.storage, result.storage)) {}
  }

  /// The source runs along axis `inner`, the result along its last: small squares keep both in the cache.
  @inline(__always)
  private func tiled<T: BitwiseCopyable>(_ from: UnsafePointer<T>, _ out: UnsafeMutablePointer<T>, _ inner: Int) {
    let last = loop.dims.count - 1, rows = loop.dims[inner], columns = loop.dims[last], step = loop.steps[0][last]
    // Elements of the result between neighbours along each axis.
    let strides = Shape(loop.dims).strides
    let others = (0..<last).filter { $0 != inner }
    let tile = 16
    var position = [Int](repeating: 0, count: others.count)
    var source = 0, target = 0
    while true {
      var r = 0
      while r < rows {
        let rowEnd = min(r &+ tile, rows)
        var c = 0
        while c < columns {
          let columnEnd = min(c &+ tile, columns)
          var i = r
          while i < rowEnd {
            let o = out + (target &+ i &* strides[inner]), f = from + (source &+ i)
            var j = c
            while j < columnEnd {
              o[j] = f[j &* step]
              j &+= 1
            }
            i &+= 1
          }
          c = columnEnd
        }
        r = rowEnd
      }
      var axis = others.count - 1
      while axis >= 0 {
        let a = others[axis]
        position[axis] += 1
        source += loop.steps[0][a]
        target += strides[a]
        if position[axis] < loop.dims[a] { break }
        source -= loop.steps[0][a] * loop.dims[a]
        target -= strides[a] * loop.dims[a]
        position[axis] = 0
        axis -= 1
      }
      if axis < 0 { return }
    }
  }
}
