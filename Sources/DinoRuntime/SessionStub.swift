// A stand-in until the runtime's Session is merged; not to be merged anywhere.
public import DinoGraph
public import DinoTensor
public final class Session: @unchecked Sendable {
  public init(_ graph: Graph, options: SessionOptions = .init()) throws(RuntimeError) {}
  public func run(_ inputs: [String: Tensor], outputs: [String]) throws(RuntimeError) -> [String: Tensor] { [:] }
}
