// What the three fusions into a linear's epilogue share: who uses a value, which linears may be extended, and the rewrite itself.
// It decides nothing: each pass says what it matches.

internal import DinoTensor

/// One graph seen by a fusion pass.
struct LinearFusion {
  private(set) var graph: Graph
  /// How often nodes and outputs read each value.
  private var uses: [ValueID: Int] = [:]
  /// Positions of nodes, by what they produce.
  private var producer: [ValueID: Int] = [:]
  private var removed: Set<Int> = []

  init(_ graph: Graph) {
    self.graph = graph
    for (i, node) in graph.nodes.enumerated() {
      for id in node.inputs { uses[id, default: 0] += 1 }
      producer[node.output] = i
    }
    for output in graph.outputs { uses[output.value, default: 0] += 1 }
  }

  /// The linear that produces `id`, where this one read is its only use (an output counts as a use).
  func linear(onlyFor id: ValueID) -> (position: Int, epilogue: LinearEpilogue)? {
    guard uses[id] == 1, let position = producer[id], case .core(.linear(let epilogue)) = graph.nodes[position].op else { return nil }
    return (position, epilogue)
  }

  /// Puts the extended linear where its consumer stood (all its operands are defined there) and takes the old one away.
  mutating func replace(consumer: Int, linear position: Int, epilogue: LinearEpilogue, extraInput: ValueID?) {
    let linear = graph.nodes[position]
    let fused = Node(op: .core(.linear(epilogue)), inputs: linear.inputs + (extraInput.map { [$0] } ?? []),
                     output: graph.nodes[consumer].output, name: linear.name)
    graph.nodes[consumer] = fused
    producer[fused.output] = consumer
    removed.insert(position)
  }

  /// The rewritten graph.
  func finished() -> Graph {
    var result = graph
    result.nodes = graph.nodes.indices.filter { !removed.contains($0) }.map { graph.nodes[$0] }
    return result
  }
}

/// Shapes that hold for every run: passes know no input shapes, so each question is asked for two unlike assignments of the free dimensions, and
/// the answer counts only where both agree. No extent is 1, so that nothing is equal by broadcasting.
struct ProbeShapes {
  private let probes: [[ValueID: Shape]]

  /// Nil probes (a graph that accepts neither assignment) answer no to everything.
  init(_ graph: Graph) {
    // Primes above twice the largest patch that a configuration may have; shapes cost nothing.
    let primes = [[8209, 8219, 8221, 8231, 8233, 8237], [10007, 10039, 10009, 10061, 10037, 10067]]
    var found: [[ValueID: Shape]] = []
    for row in primes {
      var bound: [String: Int] = [:]
      var shapes: [String: Shape] = [:]
      for input in graph.inputs {
        shapes[input.name] = Shape(input.dims.map { dimension in
          switch dimension {
          case .fixed(let n): return n
          case .free(let name):
            let value = bound[name] ?? row[bound.count % row.count] + bound.count / row.count * 30_000
            bound[name] = value
            return value
          }
        })
      }
      guard let inferred = try? graph.inferShapes(inputs: shapes) else {
        found = []
        break
      }
      found.append(inferred)
    }
    probes = found
  }

  func areEqual(_ a: ValueID, _ b: ValueID) -> Bool {
    !probes.isEmpty && probes.allSatisfy { $0[a] != nil && $0[a] == $0[b] }
  }

  /// [B, T, D] with more than one token
  func hasTokens(_ a: ValueID) -> Bool { !probes.isEmpty && probes.allSatisfy { $0[a].map { $0.rank == 3 && $0[1] != 1 } ?? false } }

  /// Whether a value that is broadcast along [B, T, D] is the same for all tokens.
  func isOneForAllTokens(_ a: ValueID) -> Bool { !probes.isEmpty && probes.allSatisfy { $0[a].map { $0.rank < 2 || $0[-2] == 1 } ?? false } }

  /// The last extent, where it is the same in every run.
  func lastExtent(_ a: ValueID) -> Int? {
    guard let first = probes.first?[a]?.dims.last else { return nil }
    return probes.allSatisfy { $0[a]?.dims.last == first } ? first : nil
  }
}
