// A graph as text for people and golden tests: one line for each input, constant, node and output. Deterministic; never read back.

public import DinoTensor

extension Graph {
  /// The graph as text, for example
  ///
  ///     input   %0 pixel_values F32 [B, 3, H, W]
  ///     const   %1 norm.weight F32 [192]
  ///     node    %9 = linear{bias gelu}(%3, %4, %5) // blocks.0.mlp.fc1 [1, 197, 768]
  ///     output  cls = %11
  ///
  /// - Parameter shapes: what `inferShapes` gave; then each node line ends with its shape.
  /// - Parameter constants: whether constants have lines of their own.
  public func text(shapes: [ValueID: Shape]? = nil, constants showConstants: Bool = true) -> String {
    var lines: [String] = []
    for input in inputs { lines.append("input   %\(input.value.index) \(input.name) \(input.dtype.rawValue) \(input.dimsText)") }
    if showConstants {
      for (id, constant) in constants.sorted(by: { $0.key < $1.key }) {
        lines.append("const   %\(id.index) \(constant.name) \(constant.tensor.dtype.rawValue) \(constant.tensor.shape)")
      }
    }
    for node in nodes {
      let operands = node.inputs.map { $0 == .absent ? "-" : "%\($0.index)" }.joined(separator: ", ")
      let results = node.outputs.map { "%\($0.index)" }.joined(separator: ", ")
      let shape = shapes?[node.output].map { " \($0)" } ?? ""
      lines.append("node    \(results) = \(node.op.text)(\(operands)) // \(node.name)\(shape)")
    }
    for output in outputs { lines.append("output  \(output.name) = %\(output.value.index)") }
    return lines.joined(separator: "\n") + "\n"
  }
}
