// Recognition: foreign operators become Core operators where they mean the same. Each rule is one file; this one holds their order and walks the graph. Rules
// work on a graph made for given shapes, so that a reshape is what its shapes say. What no rule matches stays as it is.

internal import DinoGraph
internal import DinoTensor

/// A rewrite of one kind of thing.
protocol RecognitionRule: Sendable {
  /// A short name in kebab case.
  var name: String { get }
  /// Writes what replaces `node`, whose outputs keep their identity, and returns true; or writes nothing and returns false.
  func rewrite(_ node: Node, _ c: inout RewriteContext) -> Bool
}

/// What a rule did, for people.
public struct RecognitionStep: Sendable, Equatable {
  public var rule: String
  public var matches: Int
  /// Nodes of the graph afterwards.
  public var nodes: Int
}

/// What is done with the rounding of activations in a quantized file.
public enum Rounding: Sendable {
  case kept, leftOut
}

public enum Recognition {
  /// In order: what does nothing goes first; fused foreign operators are opened; norms and activations go before the elementwise operators that they are made of; attention looks for
  /// the linear layers around it, and what turns them; what is left of sums and products comes last.
  static let rules: [any RecognitionRule] = [
    DropNoOps(), OpenFused(), RecogniseLayerNorm(), RecogniseActivation(), RecogniseGate(), RecogniseIntegerProduct(), RecogniseLinear(), RecogniseBias(),
    RecogniseConvolutionBias(), RecognisePatches(), RecogniseRotary(), RecogniseAttention(),
    RecogniseAttentionWeights(), RecogniseTokens(), RecogniseRegisters(), RecogniseElementwise(),
  ]

  /// The names of the rules, in order.
  public static var ruleNames: [String] { ["quantization"] + rules.map(\.name) }

  /// Rewrites a graph.
  /// - Parameters:
  ///   - disabled: names of rules to leave out.
  ///   - rounding: what is done with the rounding of activations: kept, the graph computes what the file does.
  public static func run(_ imported: ImportedGraph, disabled: Set<String> = [], rounding: Rounding = .kept) -> (graph: ImportedGraph, steps: [RecognitionStep]) {
    var current = imported, steps: [RecognitionStep] = []
    if !disabled.contains("quantization") {
      let (graph, matches) = Dequantization.run(current, rounding: rounding)
      current = graph
      steps.append(RecognitionStep(rule: "quantization", matches: matches, nodes: current.graph.nodes.count))
    }
    for rule in rules where !disabled.contains(rule.name) {
      var context = RewriteContext(current), matches = 0
      for node in current.graph.nodes {
        let node = context.resolved(node)
        if rule.rewrite(node, &context) { matches += 1 } else { context.keep(node) }
      }
      current = context.finished()
      steps.append(RecognitionStep(rule: rule.name, matches: matches, nodes: current.graph.nodes.count))
    }
    return (current, steps)
  }
}
