// The values of foreign operators: each computed plainly, with ONNX's exact semantics for the version that the node carries. This is the meaning that recognition
// and fast kernels are tested against, how constant parts of a file are folded, and how what is not recognised runs. It may allocate.

public import DinoGraph
public import DinoKernels
public import DinoTensor

/// What operators may use to be fast: a kernel table and threads. Results of integer operators do not depend on it.
public struct OperatorContext: Sendable {
  public let table: KernelTable
  public let team: ThreadTeam
  public init(table: KernelTable = .selected, team: ThreadTeam = .shared(1)) {
    self.table = table
    self.team = team
  }
}

extension Generic {
  /// Applies the operator. Inputs that are not given are nil.
  /// - Parameter outputs: how many outputs the node names.
  /// - Throws: `GenericProblem` where inputs contradict the operator's definition, or the case is not computed here; never a wrong result.
  public func evaluate(_ inputs: [Tensor?], outputs: Int, context: OperatorContext = OperatorContext()) throws(GenericProblem) -> [Tensor] {
    let call = OperatorCall(op: self, inputs: inputs, outputs: outputs, context: context)
    let results: [Tensor]
    switch kind {
    case .arithmetic(let k): results = try call.arithmetic(k)
    case .unary(let k): results = try call.unary(k)
    case .comparison(let k): results = try call.comparison(k)
    case .layout(let k): results = try call.layout(k)
    case .indexing(let k): results = try call.indexing(k)
    case .reduction(let k): results = try call.reduction(k)
    case .product(let k): results = try call.product(k)
    case .convolution(let k): results = try call.convolution(k)
    case .normalization(let k): results = try call.normalization(k)
    case .resampling(let k): results = try call.resampling(k)
    case .attention(let k): results = try call.attention(k)
    case .quantization(let k): results = try call.quantization(k)
    }
    guard results.count >= outputs else { throw .unsupported("\(name) gives \(results.count) of the \(outputs) outputs that are asked for") }
    return results
  }

  private var name: String { kind.name }
}

/// One application: what the twins of all groups share.
struct OperatorCall {
  let op: Generic
  let inputs: [Tensor?]
  let outputs: Int
  let context: OperatorContext

  /// An input that must be given.
  func input(_ i: Int) throws(GenericProblem) -> Tensor {
    guard i < inputs.count, let tensor = inputs[i] else { throw .invalid("\(op.kind.name) needs its input \(i), which is not given") }
    return tensor
  }

  /// An input that may be left out.
  func optional(_ i: Int) -> Tensor? { i < inputs.count ? inputs[i] : nil }
}
