// Where the elements of a value lie in another, if all that stands between them only moves elements: for each axis the runs that it is made of. One axis may be made
// of several runs (heads and columns joined into one, images and heads joined into one), so every reshape that cuts along runs can be followed.
// It knows no operator; RewriteContext.swift says what each one does to a view.

internal import DinoGraph

/// The elements of a value as elements of `root`, which is dense.
struct StridedView: Equatable {
  /// `count` elements, `stride` apart.
  struct Run: Equatable {
    var count: Int
    var stride: Int
  }
  var root: ValueID
  var offset: Int
  /// Extents.
  var dims: [Int]
  /// The runs of each axis, outermost first, none of one element, none that could be merged with its neighbour; empty for an extent of 1.
  var axes: [[Run]]

  /// All of a value as it is.
  init(whole root: ValueID, dims: [Int]) {
    self.root = root
    offset = 0
    self.dims = dims
    axes = Self.dense(dims)
  }

  private static func dense(_ dims: [Int]) -> [[Run]] {
    var axes: [[Run]] = Array(repeating: [], count: dims.count), step = 1
    for i in dims.indices.reversed() {
      if dims[i] != 1 { axes[i] = [Run(count: dims[i], stride: step)] }
      step = step &* max(dims[i], 1)
    }
    return axes
  }

  /// Whether elements are taken in the order in which they lie, without gaps, from the first.
  var isDense: Bool { offset == 0 && axes == Self.dense(dims) }

  /// Whether each axis is one run with this stride (an axis of one element has any).
  func matches(_ strides: [Int]) -> Bool {
    strides.count == axes.count && zip(axes, strides).allSatisfy { runs, stride in runs.isEmpty || runs.count == 1 && runs[0].stride == stride }
  }

  func transposed(_ permutation: [Int]) -> StridedView? {
    guard permutation.sorted() == Array(dims.indices) else { return nil }
    var view = self
    view.dims = permutation.map { dims[$0] }
    view.axes = permutation.map { axes[$0] }
    return view
  }

  /// One index of an axis that is one run; the axis is gone.
  func selected(axis: Int, index: Int) -> StridedView? {
    guard dims.indices.contains(axis), index >= 0, index < dims[axis], axes[axis].count <= 1 else { return nil }
    var view = self
    view.offset += index * (axes[axis].first?.stride ?? 0)
    view.dims.remove(at: axis)
    view.axes.remove(at: axis)
    return view
  }

  /// A range of an axis that is one run.
  func sliced(axis: Int, from start: Int, count: Int, step: Int = 1) -> StridedView? {
    guard dims.indices.contains(axis), start >= 0, count > 0, step > 0, start + (count - 1) * step < dims[axis] else { return nil }
    if start == 0, count == dims[axis], step == 1 { return self }
    guard let run = axes[axis].first, axes[axis].count == 1 else { return nil }
    var view = self
    view.offset += start * run.stride
    view.dims[axis] = count
    view.axes[axis] = count == 1 ? [] : [Run(count: count, stride: run.stride * step)]
    return view
  }

  /// The same elements in the same order under other extents; nil where an extent cuts a run unevenly.
  func reshaped(_ shape: [Int]) -> StridedView? {
    guard shape.reduce(1, &*) == dims.reduce(1, &*), !dims.contains(0), !shape.contains(0) else { return nil }
    var rest = Array(axes.joined().reversed())  // the next run is the last
    var view = self
    view.dims = shape
    view.axes = []
    for extent in shape {
      var runs: [Run] = [], open = extent
      while open > 1 {
        guard let run = rest.popLast() else { return nil }
        if open % run.count == 0 {
          runs.append(run)
          open /= run.count
        } else {
          guard run.count % open == 0 else { return nil }
          let inner = run.count / open
          runs.append(Run(count: open, stride: run.stride * inner))
          rest.append(Run(count: inner, stride: run.stride))
          open = 1
        }
      }
      view.axes.append(Self.merged(runs))
    }
    return rest.isEmpty ? view : nil
  }

  private static func merged(_ runs: [Run]) -> [Run] {
    runs.reduce(into: []) { list, run in
      if let last = list.last, last.stride == run.stride * run.count { list[list.count - 1] = Run(count: last.count * run.count, stride: run.stride) } else { list.append(run) }
    }
  }
}
