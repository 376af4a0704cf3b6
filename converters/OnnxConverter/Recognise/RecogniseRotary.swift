// Rotary positions on the first columns of tokens [B, T, W], heads beside each other, as our own exports have them:
// Concat(heads · cos + rotate(heads) · sin, the other columns). On q and k by themselves attention finds them (RotaryPattern.swift).

internal import DinoGraph
internal import DinoTensor

struct RecogniseRotary: RecognitionRule {
  let name = "rotary"

  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool {
    guard case .generic(let op) = node.op, op.kind == .layout(.concat), node.inputs.count == 2, op.int("axis") == -1 || op.int("axis") == 2, let out = c.shape(node.output), out.rank == 3,
      let columns = c.shape(node.inputs[0])?.dims.last, let flat = c.view(node.inputs[0]), let rest = c.view(node.inputs[1]),
      let heads = c.shape(flat.root), heads.rank == 4, let d = heads.dims.last, d % 2 == 0,
      flat == StridedView(whole: flat.root, dims: heads.dims).reshaped([out[0], out[1], columns]),
      let rotated = RotaryPattern.rotated(flat.root, d, &c), let before = c.view(rotated.x), before.root == rest.root, c.shape(rest.root) == out
    else { return false }
    let whole = StridedView(whole: rest.root, dims: out.dims)
    guard rest == whole.sliced(axis: 2, from: columns, count: out[2] - columns), before == whole.sliced(axis: 2, from: 0, count: columns)?.reshaped(heads.dims),
      let cos = c.constant(rotated.cos), let sin = c.constant(rotated.sin), cos.shape == [1, out[1], 1, d], sin.shape == cos.shape, cos.dtype == .f32, sin.dtype == .f32
    else { return false }
    let angles = [(cos, "cos"), (sin, "sin")].map { tensor, what in c.constant("\(node.name).\(what)", tensor.reshaped([out[1], d])) }
    return c.core(.rotary(columns: columns), [rest.root] + angles, name: node.name, as: node.output) != nil
  }
}
