// Small graphs with random weights, built by hand, so that the runtime's tests do not depend on the model families.

import DinoGraph
import DinoTensor
import TestSupport

/// A vision transformer of any size, with the shapes that DINO has. Values are small, so that sums keep their digits.
struct ToyTransformer {
  var patch = 4
  var width = 24
  var depth = 2
  var heads = 3
  var nativeRows = 3
  var nativeColumns = 3
  var channels = 3
  var layerScale = false
  var activation = Activation.gelu
  /// Positions turn queries and keys as well.
  var rotary = false
  /// Whether feed-forward parts are gated.
  var isGated = false

  func graph(seed: UInt64) -> Graph {
    var random = SplitMix64(seed: seed)
    var g = Graph()
    func weight(_ name: String, _ shape: Shape, _ spread: Float) -> ValueID {
      g.constant(name, Tensor(random.floats(shape.count, in: -spread...spread), shape: shape))
    }
    func linear(_ name: String, _ x: ValueID, _ i: Int, _ o: Int) -> ValueID {
      g.core(.linear(LinearEpilogue(bias: true)), [x, weight(name + ".weight", [o, i], 2 / Float(i).squareRoot()), weight(name + ".bias", [o], 0.5)], name: name)
    }
    func norm(_ name: String, _ x: ValueID) -> ValueID {
      g.core(.layerNorm(epsilon: 1e-6), [x, weight(name + ".weight", [width], 1), weight(name + ".bias", [width], 0.5)], name: name)
    }
    let image = g.input("pixel_values", dtype: .f32, dims: [.free("B"), .fixed(channels), .free("H"), .free("W")])
    var x = g.core(.patchEmbedding(patch: patch), [image, weight("patch.weight", [width, channels, patch, patch], 0.3), weight("patch.bias", [width], 0.3)], name: "patch")
    x = g.core(.prependTokens, [weight("cls", [1, 1, width], 1), x], name: "prepend")
    let positions = weight("pos", [1, 1 + nativeRows * nativeColumns, width], 1)
    let pos = g.core(.positionEmbedding(patch: patch, special: 1, nativeRows: nativeRows, nativeColumns: nativeColumns, resize: .officialOffset), [positions, image], name: "pos")
    x = g.core(.add, [x, pos], name: "positions")
    var angles: [ValueID] = []
    if rotary {
      let count = width / heads / 4, periods = g.constant("periods", Tensor((0..<count).map { Float(1 + 3 * $0) }, shape: [count]))
      angles = [false, true].map { g.core(.rotaryAngles(patch: patch, special: 1, sine: $0), [periods, image], name: $0 ? "sin" : "cos") }
    }
    var qkv = x
    for block in 0..<depth {
      let name = "blocks.\(block)"
      qkv = linear(name + ".qkv", norm(name + ".norm1", x), width, 3 * width)
      if rotary { qkv = g.core(.rotary(columns: 2 * width), [qkv] + angles, name: name + ".rotary") }
      let scale = 1 / Double(width / heads).squareRoot()
      var y = linear(name + ".proj", g.core(.attention(heads: heads, scale: scale), [qkv], name: name + ".attn"), width, width)
      if layerScale { y = g.core(.multiply, [y, weight(name + ".ls1", [width], 1)], name: name + ".ls1") }
      x = g.core(.add, [x, y], name: name + ".add1")
      let wide = linear(name + ".fc1", norm(name + ".norm2", x), width, (isGated ? 8 : 4) * width)
      let h = isGated ? g.core(.gate(activation), [wide], name: name + ".gate") : g.core(.activation(activation), [wide], name: name + ".act")
      y = linear(name + ".fc2", h, 4 * width, width)
      if layerScale { y = g.core(.multiply, [y, weight(name + ".ls2", [width], 1)], name: name + ".ls2") }
      x = g.core(.add, [x, y], name: name + ".add2")
    }
    let scale = 1 / Double(width / heads).squareRoot()
    g.output("attention", g.core(.attentionWeights(heads: heads, scale: scale, firstRowOnly: false), [qkv], name: "attention"))
    g.output("attention_cls", g.core(.attentionWeights(heads: heads, scale: scale, firstRowOnly: true), [qkv], name: "attention_cls"))
    let tokens = norm("norm", x)
    g.output("tokens", tokens)
    g.output("cls", g.core(.selectToken(index: 0), [tokens], name: "cls"))
    let patches = g.core(.sliceTokens(start: 1, count: nil), [tokens], name: "patches")
    g.output("patches", patches)
    g.output("mean", g.core(.meanTokens, [patches], name: "mean"))
    let v = weight("head.v", [10, width], 1), n = weight("head.g", [10, 1], 1)
    let unit = g.core(.l2Normalize(epsilon: 1e-12), [g.core(.selectToken(index: 0), [tokens], name: "cls2")], name: "l2")
    g.output("head", g.core(.linear(LinearEpilogue(bias: false)), [unit, g.core(.weightNorm, [v, n], name: "wn")], name: "head"))
    g.output("probabilities", g.core(.softmax, [linear("logits", unit, width, 7)], name: "softmax"))
    return g
  }

  func image(batch: Int, height: Int, width: Int, seed: UInt64) -> Tensor {
    var random = SplitMix64(seed: seed)
    let shape: Shape = [batch, channels, height, width]
    return Tensor(random.floats(shape.count, in: -2...2), shape: shape)
  }
}
