// How operators are written for people, and how many inputs each takes. Both are total over Core: a new case does not compile until it has both.

extension Core {
  /// The operator's name without attributes.
  public var name: String {
    switch self {
    case .patchEmbedding: "patchEmbedding"
    case .positionEmbedding: "positionEmbedding"
    case .prependTokens: "prependTokens"
    case .add: "add"
    case .multiply: "multiply"
    case .layerNorm: "layerNorm"
    case .linear: "linear"
    case .activation: "activation"
    case .gate: "gate"
    case .round: "round"
    case .attention: "attention"
    case .attentionWeights: "attentionWeights"
    case .rotary: "rotary"
    case .rotaryAngles: "rotaryAngles"
    case .selectToken: "selectToken"
    case .sliceTokens: "sliceTokens"
    case .meanTokens: "meanTokens"
    case .l2Normalize: "l2Normalize"
    case .weightNorm: "weightNorm"
    case .softmax: "softmax"
    case .training(let op): op.name
    }
  }

  /// The attributes as `key=value`, in a fixed order; empty where there are none.
  public var attributes: [String] {
    switch self {
    case .patchEmbedding(let patch): ["patch=\(patch)"]
    case .positionEmbedding(let patch, let special, let rows, let columns, let resize):
      ["patch=\(patch)", "special=\(special)", "native=\(rows)x\(columns)", "resize=\(resize.text)"]
    case .layerNorm(let epsilon): ["epsilon=\(epsilon)"]
    case .linear(let epilogue): epilogue.attributes
    case .activation(let f), .gate(let f): [f.rawValue]
    case .round(let steps): [steps.text]
    case .attention(let heads, let scale, let queries): ["heads=\(heads)", "scale=\(scale)"] + (queries.map { ["queries=\($0)"] } ?? [])
    case .attentionWeights(let heads, let scale, let firstRowOnly):
      ["heads=\(heads)", "scale=\(scale)"] + (firstRowOnly ? ["firstRowOnly"] : [])
    case .rotary(let columns, let transposed): ["columns=\(columns)"] + (transposed ? ["transposed"] : [])
    case .rotaryAngles(let patch, let special, let sine): ["patch=\(patch)", "special=\(special)", sine ? "sine" : "cosine"]
    case .selectToken(let index): ["index=\(index)"]
    case .sliceTokens(let start, let count): ["start=\(start)"] + (count.map { ["count=\($0)"] } ?? [])
    case .l2Normalize(let epsilon): ["epsilon=\(epsilon)"]
    case .prependTokens, .add, .multiply, .meanTokens, .weightNorm, .softmax: []
    case .training(let op): op.attributes
    }
  }

  /// The numbers of inputs that are allowed.
  public var arities: [Int] {
    switch self {
    case .patchEmbedding, .layerNorm, .rotary: [3]
    case .positionEmbedding, .rotaryAngles, .prependTokens, .add, .multiply, .weightNorm: [2]
    case .linear(let e): [2 + (e.integers != nil ? 2 : 0) + (e.bias ? 1 : 0) + (e.scale ? 1 : 0) + (e.residual ? 1 : 0)]
    case .activation, .gate, .round, .selectToken, .sliceTokens, .meanTokens, .l2Normalize, .softmax: [1]
    case .attention, .attentionWeights: [1, 3]
    case .training(let op): op.arities
    }
  }
}

extension Operator {
  /// "linear{bias gelu}".
  public var text: String {
    switch self {
    case .core(let op): op.attributes.isEmpty ? op.name : "\(op.name){\(op.attributes.joined(separator: " "))}"
    case .generic(let op): op.attributes.isEmpty ? op.kind.name : "\(op.kind.name){\(op.attributeTexts.joined(separator: " "))}"
    }
  }

  public var name: String {
    switch self {
    case .core(let op): op.name
    case .generic(let op): op.kind.name
    }
  }

  /// The numbers of inputs that are allowed; nil for foreign operators, whose shape rules check them.
  public var arities: [Int]? {
    switch self {
    case .core(let op): op.arities
    case .generic: nil
    }
  }
}

extension LinearEpilogue {
  fileprivate var attributes: [String] {
    (bias ? ["bias"] : []) + (activation.map { [$0.rawValue] } ?? []) + (scale ? ["scale"] : []) + (residual ? ["residual"] : [])
      + (transposedWeight ? ["transposedWeight"] : [])
      + (integers.map { if case .fixed(let steps) = $0 { ["int8:\(steps.text)"] } else { ["int8"] } } ?? [])
  }

  /// Where each operand stands among a linear's inputs (x, weight, scale and zero of integers?, bias?, scale?, residual?); nil where it is absent.
  public var integersIndex: Int? { integers == nil ? nil : 2 }
  public var biasIndex: Int? { bias ? first : nil }
  public var scaleIndex: Int? { scale ? first + (bias ? 1 : 0) : nil }
  public var residualIndex: Int? { residual ? first + (bias ? 1 : 0) + (scale ? 1 : 0) : nil }
  private var first: Int { integers == nil ? 2 : 4 }
}

extension RoundingSteps {
  /// "0.02*(0...255-128)".
  fileprivate var text: String { "\(scale)*(\(lower)...\(upper)\(zero == 0 ? "" : "-(\(zero))"))" }
}

extension PositionResize {
  /// "bicubic,a=-0.75,offset=0.1".
  public var text: String {
    var parts = [kernel.rawValue]
    if kernel == .bicubic { parts.append("a=\(cubicA)") }
    if antialias { parts.append("antialias") }
    if let offset { parts.append("offset=\(offset)") }
    return parts.joined(separator: ",")
  }
}
