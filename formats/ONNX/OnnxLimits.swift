// What a reader of ONNX files allows before it allocates. The defaults let through every file of an exporter that we know, by a wide margin.

/// Limits on a file.
public struct OnnxLimits: Sendable, Equatable {
  /// Messages inside messages. A graph inside an `If` inside a graph is three levels; the protobuf libraries stop at 100 too.
  public var depth = OnnxLimits.defaultDepth
  static let defaultDepth = 100
  /// Fields in the whole file; a list of numbers in packed form counts once.
  public var fields = 8_000_000
  /// Bytes that the tree of a file may take, for each byte of the file that is not `raw_data`. Files of exporters take about 6.
  public var expansion = 32
  /// Bytes that the tree of any file may take, however small the file.
  public var expansionFloor = 1 << 20

  public init() {}
}
