// The backward part of a training graph, for every kind of step: the gradients of its loss as outputs. Which loss, and by what, is the caller's.

internal import Dino
internal import DinoGraph
internal import DinoModels
internal import DinoTensor

extension Graph {
  /// Appends the gradients of `loss` by the constants named, as outputs `gradient.NAME` in their order. All inputs must have fixed sizes.
  /// - Parameters:
  ///   - one: what the gradient of the loss itself is, [1].
  ///   - config: of the network: with rotary positions the keys' part of a bias has no gradient, as the original's mask has it, and stays what it is.
  mutating func outputGradients(of loss: ValueID, by names: [String], ids: [String: ValueID], one: ValueID, config: ViTConfig) throws {
    // Before the backward part is made, so that it is narrow as well.
    self = NarrowToFirstToken().run(self)
    let shapes = try inferShapes(inputs: Dictionary(uniqueKeysWithValues: inputs.map { input in
      (input.name, Shape(input.dims.map { dimension in if case .fixed(let n) = dimension { n } else { 0 } }))
    }))
    let gradients = try differentiate(loss, by: names.compactMap { ids[$0] }, seed: one, shapes: shapes)
    let width = config.embedDim, queriesAndValues = [Float](repeating: 1, count: width)
    let mask = config.rotaryBase.map { _ in constant("keys_without_bias", Tensor(queriesAndValues + [Float](repeating: 0, count: width) + queriesAndValues, shape: [3 * width])) }
    for name in names {
      guard let id = ids[name], var gradient = gradients[id] else { throw DinoError(.bug, "no gradient for '\(name)'") }
      if let mask, name.hasSuffix(".attn.qkv.bias") { gradient = core(.multiply, [gradient, mask], name: name + ".masked") }
      output("gradient." + name, gradient)
    }
  }
}
