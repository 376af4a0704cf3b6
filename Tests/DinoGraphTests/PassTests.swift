// What the fusions match and what they must leave alone: nodes are counted and printed. That fused and unfused graphs give the same numbers is tested
// with the runtime.

import DinoGraph
import DinoTensor
import Testing

/// Builds chains on x [B, T, 4].
private struct Chain {
  var g = Graph()
  let x: ValueID

  init() { x = g.input("x", dtype: .f32, dims: [.free("B"), .free("T"), .fixed(4)]) }

  func values(_ shape: Shape) -> Tensor { Tensor([Float](repeating: 1, count: shape.count), shape: shape) }

  mutating func linear(_ input: ValueID, _ name: String, outputs: Int = 4, bias: Bool = true) -> ValueID {
    let w = g.constant("\(name).weight", values([outputs, 4]))
    let b = bias ? [g.constant("\(name).bias", values([outputs]))] : []
    return g.core(.linear(LinearEpilogue(bias: bias)), [input, w] + b, name: name)
  }

  /// The operators after the passes, in order.
  func fused(_ passes: PassList = .standard, disabled: Set<String> = []) throws -> [String] {
    try g.verify()
    let result = passes.run(g, disabled: disabled)
    try result.verify()
    let before = try g.inferShapes(inputs: inputs()), after = try result.inferShapes(inputs: inputs())
    for output in g.outputs {
      let now = try #require(result.outputs.first { $0.name == output.name })
      #expect(after[now.value] == before[output.value])
    }
    return result.nodes.map(\.op.text)
  }

  private func inputs() -> [String: Shape] {
    Dictionary(uniqueKeysWithValues: g.inputs.map { input in
      (input.name, Shape(input.dims.map { if case .fixed(let n) = $0 { n } else { 5 } }))
    })
  }
}

@Suite struct PassTests {
  @Test func fusesAWholeBlockTail() throws {
    var c = Chain()
    let h = c.linear(c.x, "fc")
    let a = c.g.core(.activation(.gelu), [h], name: "act")
    let gamma = c.g.constant("gamma", c.values([4]))
    let s = c.g.core(.multiply, [a, gamma], name: "ls")
    let r = c.g.core(.add, [c.x, s], name: "residual")
    c.g.output("out", r)
    #expect(try c.fused() == ["linear{bias gelu scale residual}"])
    let node = PassList.standard.run(c.g).nodes[0]
    // x, weight, bias, scale, residual, in this order, and the consumer's value.
    let names = node.inputs.map { id in c.g.constants[id]?.name ?? "%\(id.index)" }
    #expect(names == ["%0", "fc.weight", "fc.bias", "gamma", "%0"])
    #expect(node.output == r)
    #expect(node.name == "fc")
  }

  @Test func narrowsWhatOnlyTheFirstTokenIsReadOf() throws {
    var c = Chain()
    let before = c.linear(c.x, "before")
    let qkv = c.linear(before, "qkv", outputs: 12)
    let mixed = c.g.core(.attention(heads: 2, scale: 1), [qkv], name: "attn")
    let sum = c.g.core(.add, [before, c.linear(mixed, "proj")], name: "residual")
    let gamma = c.g.constant("gamma", c.values([4]))
    let last = c.g.core(.add, [sum, c.g.core(.multiply, [c.linear(sum, "fc"), gamma], name: "ls")], name: "residual2")
    let cls = c.g.core(.selectToken(index: 0), [last], name: "cls")
    c.g.output("cls", cls)
    let pass = PassList([NarrowToFirstToken()])
    #expect(try c.fused(pass) == ["linear{bias}", "linear{bias}", "sliceTokens{start=0 count=1}", "attention{heads=2 scale=1.0 queries=1}", "linear{bias}", "add", "linear{bias}", "multiply", "add",
                                  "selectToken{index=0}"])
    let result = pass.run(c.g), shapes = try result.inferShapes(inputs: ["x": [3, 7, 4]])
    #expect(shapes[sum] == [3, 1, 4] && shapes[last] == [3, 1, 4] && shapes[before] == [3, 7, 4])
    // Twice is once; and where anything else reads the tokens, nothing is cut.
    #expect(pass.run(result).nodes.map(\.op.text) == result.nodes.map(\.op.text))
    c.g.output("tokens", last)
    #expect(try c.fused(pass) == c.g.nodes.map(\.op.text))
  }

  @Test func narrowsNothingWhereTokensAreNotApart() throws {
    // Another token; positions, which differ by token; the first of others; integers whose steps follow from all rows.
    for kind in 0..<4 {
      var c = Chain()
      var y = c.linear(c.x, "fc")
      switch kind {
      case 1: y = c.g.core(.add, [y, c.g.constant("positions", c.values([5, 4]))], name: "positions")
      case 2: y = c.g.core(.sliceTokens(start: 1, count: nil), [y], name: "patches")
      case 3:
        var epilogue = LinearEpilogue(bias: false)
        epilogue.integers = .dynamic
        let weight = c.g.constant("integers", c.values([4, 4]))
        y = c.g.core(.linear(epilogue), [y, weight, c.g.constant("scale", c.values([4])), c.g.constant("zero", c.values([4]))], name: "product")
      default: break
      }
      c.g.output("token", c.g.core(.selectToken(index: kind == 0 ? 1 : 0), [y], name: "token"))
      #expect(NarrowToFirstToken().run(c.g).nodes.map(\.op.text) == c.g.nodes.map(\.op.text), "\(kind)")
    }
  }

  @Test func eachPassIsNamedAndCanBeSwitchedOff() throws {
    #expect(PassList.standard.names == ["narrow-to-first-token", "fuse-linear-activation", "fuse-layer-scale", "fuse-residual"])
    var c = Chain()
    let a = c.g.core(.activation(.relu), [c.linear(c.x, "fc")], name: "act")
    c.g.output("out", c.g.core(.add, [a, c.x], name: "residual"))
    #expect(try c.fused() == ["linear{bias relu residual}"])
    #expect(try c.fused(disabled: ["fuse-residual"]) == ["linear{bias relu}", "add"])
    #expect(try c.fused(disabled: ["fuse-linear-activation"]) == ["linear{bias}", "activation{relu}", "add"])
    #expect(try c.fused(disabled: Set(PassList.standard.names)) == ["linear{bias}", "activation{relu}", "add"])
    var seen: [String] = []
    _ = PassList.standard.run(c.g) { name, _ in seen.append(name) }
    #expect(seen == PassList.standard.names)
  }

  @Test func keepsValuesThatOthersRead() throws {
    var c = Chain()
    let h = c.linear(c.x, "fc")
    c.g.output("out", c.g.core(.activation(.gelu), [h], name: "act"))
    c.g.output("hidden", h)
    #expect(try c.fused() == ["linear{bias}", "activation{gelu}"])

    var d = Chain()
    let k = d.linear(d.x, "fc")
    d.g.output("out", d.g.core(.activation(.gelu), [k], name: "act"))
    d.g.output("other", d.g.core(.softmax, [k], name: "softmax"))
    #expect(try d.fused() == ["linear{bias}", "activation{gelu}", "softmax"])

    var e = Chain()
    let twice = e.linear(e.x, "fc")
    e.g.output("out", e.g.core(.add, [twice, twice], name: "double"))
    #expect(try e.fused() == ["linear{bias}", "add"])
  }

  @Test func keepsTheOrderOfTheEpilogue() throws {
    // scale, then activation: an epilogue cannot say it.
    var c = Chain()
    let s = c.g.core(.multiply, [c.linear(c.x, "fc"), c.g.constant("gamma", c.values([4]))], name: "ls")
    c.g.output("out", c.g.core(.activation(.gelu), [s], name: "act"))
    #expect(try c.fused() == ["linear{bias scale}", "activation{gelu}"])
    // residual, then scale.
    var d = Chain()
    let r = d.g.core(.add, [d.linear(d.x, "fc"), d.x], name: "residual")
    d.g.output("out", d.g.core(.multiply, [r, d.g.constant("gamma", d.values([4]))], name: "ls"))
    #expect(try d.fused() == ["linear{bias residual}", "multiply"])
    // Two activations, two residuals: only the first fits.
    var e = Chain()
    let a = e.g.core(.activation(.gelu), [e.linear(e.x, "fc")], name: "a")
    e.g.output("out", e.g.core(.activation(.relu), [a], name: "b"))
    #expect(try e.fused() == ["linear{bias gelu}", "activation{relu}"])
    var f = Chain()
    let one = f.g.core(.add, [f.linear(f.x, "fc"), f.x], name: "one")
    f.g.output("out", f.g.core(.add, [one, f.x], name: "two"))
    #expect(try f.fused(PassList([FuseResidual(), FuseResidual()])) == ["linear{bias residual}", "add"])
  }

  @Test func leavesBroadcastsAndConstantsAlone() throws {
    var c = Chain()
    c.g.output("out", c.g.core(.add, [c.linear(c.x, "fc"), c.g.constant("shift", c.values([4]))], name: "shift"))
    #expect(try c.fused() == ["linear{bias}", "add"])
    // A value computed from another input, of batch 1: equal in shape only by broadcasting.
    var d = Chain()
    let row = d.g.input("row", dtype: .f32, dims: [.fixed(1), .free("T"), .fixed(4)])
    let soft = d.g.core(.softmax, [row], name: "softmax")
    d.g.output("out", d.g.core(.add, [d.linear(d.x, "fc"), soft], name: "add"))
    #expect(try d.fused() == ["softmax", "linear{bias}", "add"])
    // A factor for each token, a factor of one element.
    var e = Chain()
    e.g.output("out", e.g.core(.multiply, [e.linear(e.x, "fc"), e.g.constant("one", e.values([1]))], name: "one"))
    #expect(try e.fused() == ["linear{bias}", "multiply"])
    // The factor is computed.
    var f = Chain()
    let factor = f.g.input("factor", dtype: .f32, dims: [.fixed(4)])
    f.g.output("out", f.g.core(.multiply, [f.linear(f.x, "fc"), factor], name: "factor"))
    #expect(try f.fused() == ["linear{bias}", "multiply"])
  }

  @Test func aResidualMadeAfterTheLinearIsDefinedWhereItIsRead() throws {
    var c = Chain()
    let h = c.linear(c.x, "fc")
    let later = c.g.core(.softmax, [c.x], name: "softmax")
    c.g.output("out", c.g.core(.add, [h, later], name: "add"))
    #expect(try c.fused() == ["softmax", "linear{bias residual}"])
  }

  @Test func twoLinearsAddedBecomeOneResidual() throws {
    var c = Chain()
    let a = c.linear(c.x, "a"), b = c.linear(c.x, "b", bias: false)
    c.g.output("out", c.g.core(.add, [a, b], name: "add"))
    #expect(try c.fused() == ["linear", "linear{bias residual}"])
  }

  @Test func passesAreIdempotent() throws {
    var c = Chain()
    let a = c.g.core(.activation(.gelu), [c.linear(c.x, "fc")], name: "act")
    c.g.output("out", c.g.core(.add, [a, c.x], name: "residual"))
    let once = PassList.standard.run(c.g), twice = PassList.standard.run(once)
    #expect(once.text() == twice.text())
  }
}
