// Nodes in an order in which each comes after those whose results it reads. ONNX asks for that order in the file, but tools that add nodes at the end (ONNX
// Runtime's float16 converter) break it, and ONNX Runtime reads such files. A file in order stays as it is.

internal import ONNXFormat

enum NodeOrder {
  /// The same nodes in order. Where they read each other in a circle, some reads what is not there yet, as the walker then says.
  static func sorted(_ nodes: [OnnxNode]) -> [OnnxNode] {
    var producer: [String: Int] = [:]
    for (i, node) in nodes.enumerated() {
      for output in node.outputs where !output.isEmpty && producer[output] == nil { producer[output] = i }
    }
    let reads = nodes.map { node in
      var names: Set<String> = []
      Need.collectReads(of: node, into: &names)
      return names.compactMap { producer[$0] }.sorted()
    }
    guard zip(nodes.indices, reads).contains(where: { i, before in before.contains { $0 >= i } }) else { return nodes }
    // Depth first, the nodes in the order of the file: with a stack of our own, since chains are as long as the file.
    var order: [Int] = [], seen = Array(repeating: false, count: nodes.count)
    var stack: [(node: Int, next: Int)] = []
    for first in nodes.indices where !seen[first] {
      seen[first] = true
      stack.append((first, 0))
      while let (node, next) = stack.last {
        if next < reads[node].count {
          stack[stack.count - 1].next += 1
          let before = reads[node][next]
          if !seen[before] {
            seen[before] = true
            stack.append((before, 0))
          }
        } else {
          order.append(node)
          stack.removeLast()
        }
      }
    }
    return order.map { nodes[$0] }
  }
}
