// Views against the elements themselves: whatever chain of moves a view follows, it must say where each element lies; and the moves of real exporters must be followed.

import DinoGraph
@testable import OnnxConverter
import TestSupport
import Testing

/// An array that is moved for real, beside its view.
private struct Moved {
  var values: [Int]
  var dims: [Int]
  var view: StridedView

  init(_ dims: [Int]) {
    values = Array(0..<dims.reduce(1, *))
    self.dims = dims
    view = StridedView(whole: ValueID(0), dims: dims)
  }

  func indices(_ dims: [Int]) -> [[Int]] { dims.reduce([[]]) { lists, n in lists.flatMap { list in (0..<n).map { list + [$0] } } } }
  func at(_ index: [Int]) -> Int { zip(index, dims).reduce(0) { $0 * $1.1 + $1.0 } }

  /// Where the view says that each element lies.
  var places: [Int] {
    indices(view.dims).map { index in
      var place = view.offset
      for (i, runs) in zip(index, view.axes) {
        var rest = i
        for run in runs.reversed() {
          place += rest % run.count * run.stride
          rest /= run.count
        }
      }
      return place
    }
  }

  mutating func transpose(_ p: [Int]) {
    let to = p.map { dims[$0] }
    values = indices(to).map { index in
      var source = [Int](repeating: 0, count: p.count)
      for (i, axis) in p.enumerated() { source[axis] = index[i] }
      return values[at(source)]
    }
    dims = to
    view = view.transposed(p)!
  }

  mutating func slice(_ axis: Int, _ from: Int, _ count: Int, _ step: Int) -> Bool {
    guard let next = view.sliced(axis: axis, from: from, count: count, step: step) else { return false }
    var to = dims
    to[axis] = count
    values = indices(to).map { index in
      var source = index
      source[axis] = from + index[axis] * step
      return values[at(source)]
    }
    (dims, view) = (to, next)
    return true
  }

  /// False where the view cannot follow.
  mutating func reshape(_ to: [Int]) -> Bool {
    guard let next = view.reshaped(to) else { return false }
    (dims, view) = (to, next)
    return true
  }
}

@Suite struct StridedViewTests {
  @Test func chainsOfMovesSayWhereElementsLie() {
    var generator = SplitMix64(seed: 5)
    var followed = 0
    for _ in 0..<400 {
      var m = Moved([2, 3, 4, 6])
      for _ in 0..<6 {
        switch Int.random(in: 0..<3, using: &generator) {
        case 0: m.transpose(Array(m.dims.indices).shuffled(using: &generator))
        case 1:
          // Two neighbours joined, or one cut.
          let axis = Int.random(in: 0..<m.dims.count, using: &generator)
          var to = m.dims
          if Bool.random(using: &generator), axis + 1 < to.count {
            to[axis] *= to[axis + 1]
            to.remove(at: axis + 1)
          } else if to[axis] % 2 == 0 {
            to[axis] /= 2
            to.insert(2, at: axis)
          }
          if m.reshape(to) { followed += 1 }
        default:
          let axis = Int.random(in: 0..<m.dims.count, using: &generator), n = m.dims[axis]
          _ = m.slice(axis, Int.random(in: 0..<max(n - 1, 1), using: &generator), 1, 1)
        }
        #expect(m.places == m.values)
      }
    }
    #expect(followed > 200)
  }

  @Test func qkvOfExportersIsFollowed() {
    // [B, T, 3, h, d] → q as [B, h, T, d] → joined images and heads → keys turned → apart again.
    var k = Moved([2, 5, 3 * 4 * 6])
    let moved1 = k.reshape([2, 5, 3, 4, 6])
    #expect(moved1)
    k.transpose([2, 0, 3, 1, 4])
    let moved2 = k.slice(0, 1, 1, 1)
    #expect(moved2)
    let moved3 = k.reshape([2, 4, 5, 6]) && k.reshape([8, 5, 6])
    #expect(moved3)
    k.transpose([0, 2, 1])
    let moved4 = k.reshape([2, 4, 6, 5])
    #expect(moved4)
    #expect(k.places == k.values)
    #expect(k.view.offset == 24 && k.view.matches([5 * 72, 6, 1, 72]))
  }

  @Test func whatNoStridesSayIsNotFollowed() {
    // A cut in the middle of a run.
    #expect(StridedView(whole: ValueID(0), dims: [3, 4]).transposed([1, 0])!.reshaped([6, 2]) == nil)
    #expect(StridedView(whole: ValueID(0), dims: [3, 4]).reshaped([5, 2]) == nil)
    #expect(StridedView(whole: ValueID(0), dims: [3, 4]).transposed([0, 0]) == nil)
    #expect(StridedView(whole: ValueID(0), dims: [3, 4]).selected(axis: 2, index: 0) == nil)
    #expect(StridedView(whole: ValueID(0), dims: [3, 4]).sliced(axis: 1, from: 3, count: 2) == nil)
  }
}
