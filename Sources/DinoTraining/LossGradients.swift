// The backward part of a training graph, for every kind of step: the gradients of its loss as outputs. Which loss, and by what, is the caller's.

internal import Dino
internal import DinoGraph
internal import DinoTensor

extension Graph {
  /// Appends the gradients of `loss` by the constants named, as outputs `gradient.NAME` in their order. All inputs must have fixed sizes.
  /// - Parameter one: what the gradient of the loss itself is, [1].
  mutating func outputGradients(of loss: ValueID, by names: [String], ids: [String: ValueID], one: ValueID) throws {
    // Before the backward part is made, so that it is narrow as well.
    self = NarrowToFirstToken().run(self)
    let shapes = try inferShapes(inputs: Dictionary(uniqueKeysWithValues: inputs.map { input in
      (input.name, Shape(input.dims.map { dimension in if case .fixed(let n) = dimension { n } else { 0 } }))
    }))
    let gradients = try differentiate(loss, by: names.compactMap { ids[$0] }, seed: one, shapes: shapes)
    for name in names {
      guard let id = ids[name], let gradient = gradients[id] else { throw DinoError(.bug, "no gradient for '\(name)'") }
      output("gradient." + name, gradient)
    }
  }
}
