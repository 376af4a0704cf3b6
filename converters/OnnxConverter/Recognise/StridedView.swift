// Where the elements of a value lie in another, if all that stands between them only moves elements: offset and strides, as a library of strided tensors would
// compute them. It knows no operator; RewriteContext+Views.swift says what each one does to a view.

internal import DinoGraph

/// Element [i, j, …] is element offset + i·strides[0] + j·strides[1] + … of `root`, which is dense.
struct StridedView: Equatable {
  var root: ValueID
  var offset: Int
  var dims: [Int]
  var strides: [Int]

  /// All of a value as it is.
  init(whole root: ValueID, dims: [Int]) {
    self.root = root
    offset = 0
    self.dims = dims
    strides = Self.dense(dims)
  }

  static func dense(_ dims: [Int]) -> [Int] {
    var strides = [Int](repeating: 1, count: dims.count), step = 1
    for i in dims.indices.reversed() {
      strides[i] = step
      step = step &* max(dims[i], 1)
    }
    return strides
  }

  /// Whether elements are taken in the order in which they lie, without gaps, from the first.
  var isDense: Bool { offset == 0 && matches(Self.dense(dims)) }

  /// Whether the strides are these, wherever an axis has more than one element.
  func matches(_ expected: [Int]) -> Bool {
    expected.count == strides.count && zip(dims, zip(strides, expected)).allSatisfy { n, pair in n == 1 || pair.0 == pair.1 }
  }

  func transposed(_ permutation: [Int]) -> StridedView? {
    guard permutation.sorted() == Array(dims.indices) else { return nil }
    var view = self
    view.dims = permutation.map { dims[$0] }
    view.strides = permutation.map { strides[$0] }
    return view
  }

  /// One index of an axis; the axis is gone.
  func selected(axis: Int, index: Int) -> StridedView? {
    guard dims.indices.contains(axis), index >= 0, index < dims[axis] else { return nil }
    var view = self
    view.offset += index * strides[axis]
    view.dims.remove(at: axis)
    view.strides.remove(at: axis)
    return view
  }

  /// A range of an axis.
  func sliced(axis: Int, from start: Int, count: Int, step: Int = 1) -> StridedView? {
    guard dims.indices.contains(axis), start >= 0, count > 0, step > 0, start + (count - 1) * step < dims[axis] else { return nil }
    var view = self
    view.offset += start * strides[axis]
    view.dims[axis] = count
    view.strides[axis] *= step
    return view
  }

  /// The same elements in the same order under other extents; nil where no strides say that.
  func reshaped(_ shape: [Int]) -> StridedView? {
    guard shape.reduce(1, *) == dims.reduce(1, *), !dims.contains(0) else { return nil }
    var view = self
    view.dims = shape
    view.strides = [Int](repeating: 0, count: shape.count)
    // Axes of one element say nothing; the others are merged from the right as far as they lie densely, and each merged run is cut into new axes.
    let old = dims.indices.filter { dims[$0] != 1 }
    var target = shape.count - 1
    var position = old.count - 1
    while position >= 0 {
      let inner = strides[old[position]]
      var run = dims[old[position]]
      while position > 0, strides[old[position - 1]] == strides[old[position]] * dims[old[position]] {
        position -= 1
        run *= dims[old[position]]
      }
      var taken = 1
      while target >= 0, taken < run || shape[target] == 1 {
        view.strides[target] = inner * taken
        taken *= shape[target]
        target -= 1
        if taken == run { break }
      }
      guard taken == run else { return nil }
      position -= 1
    }
    while target >= 0 {
      guard shape[target] == 1 else { return nil }
      view.strides[target] = 1
      target -= 1
    }
    return view
  }
}
