// An ONNX file as a network of its own: its inputs and outputs by their own names, run by its own graph, recognised where that is possible. What makes a
// checkpoint of it is OnnxCheckpoint.swift.

internal import DinoGraph
public import DinoRuntime
public import DinoTensor
internal import ONNXFormat
internal import OnnxConverter

/// An ONNX model, ready to run.
public final class OnnxNetwork: Sendable {
  /// An input as the file declares it.
  public struct Input: Sendable, Equatable {
    public var name: String
    public var dtype: DType
    /// Fixed extents; nil where any is allowed. Nil where the file says no rank.
    public var dims: [Int?]?
    /// "[batch, 3, 224, 224]".
    public var shapeText: String
  }

  public let path: String
  public let options: DinoModel.Options
  let importer: OnnxImporter
  private let session: ShapedSession

  /// The files beside an ONNX file that its weights are in, as paths; none where it cannot be read.
  public static func externalFiles(of path: String) -> [String] {
    guard let file = try? OnnxFile(path: path) else { return [] }
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    return file.externalLocations.map { folder + $0 }
  }

  /// Opens a file and its external data. Weights stay mapped.
  public init(contentsOf path: String, options: DinoModel.Options = .init()) throws(DinoError) {
    self.path = path
    self.options = options
    do {
      let file = try OnnxFile(path: path)
      try file.checkExternalData()
      let importer = try OnnxImporter(file)
      self.importer = importer
      session = try ShapedSession(Self.source(importer), options: SessionOptions(threads: options.threads, precision: options.precision ?? .f32, disabledPasses: options.disabledPasses))
    } catch { throw DinoError(error, path: path) }
  }

  /// Graphs for given shapes: imported, then recognised.
  private static func source(_ importer: OnnxImporter) -> GraphSource {
    GraphSource(inputs: importer.inputs.map { .init(name: $0.name, dtype: $0.dtype) }) { (shapes, values, outputs) throws(GenericProblem) in
      let official = outputs.filter { OfficialOutputs.names.contains($0) && !importer.outputs.contains($0) }
      let recognised: ImportedGraph
      do throws(OnnxImportError) {
        recognised = Recognition.run(try importer.graph(shapes: shapes, values: values, outputs: official.isEmpty ? outputs : nil)).graph
      } catch {
        throw GenericProblem(error.kind, "\(importer.file.path): \(error)")
      }
      guard let first = official.first else { return recognised.graph }
      guard let graph = OfficialOutputs.graph(recognised, outputs: outputs) else {
        throw GenericProblem(.unsupported, "\(importer.file.path): it is not recognised as a vision transformer, so it has no '\(first)', only outputs of its own names, which inspect lists")
      }
      return graph
    }
  }

  public var inputs: [Input] {
    importer.inputs.map { input in
      Input(name: input.name, dtype: input.dtype, dims: input.dims?.map { if case .fixed(let n) = $0 { n } else { nil } }, shapeText: input.dimsText)
    }
  }
  public var outputNames: [String] { importer.outputs }

  /// Runs the network; all outputs where none are named.
  public func run(_ inputs: [String: Tensor], outputs: [String]? = nil) throws(DinoError) -> [String: Tensor] {
    do { return try session.run(inputs, outputs: outputs ?? outputNames) } catch { throw DinoError(error, path: path) }
  }

  /// Writes the network to another ONNX file: functions unfolded, branches decided, constants computed, what no output needs left out. It computes the same.
  public func write(to path: String, externalData: Bool = false, producerVersion: String = "") throws(DinoError) -> (nodesBefore: Int, nodesAfter: Int) {
    do {
      let model = importer.file.model
      let written = try ForeignExporter.model(of: importer.graph(), inputs: importer.inputs, declared: model.graph.outputs, operatorSet: model.operatorSetVersion() ?? 17,
                                              irVersion: max(model.irVersion, 4), producerVersion: producerVersion, metadata: model.metadata)
      let name = path.split(separator: "/").last.map(String.init) ?? path
      try OnnxWriter.write(written, to: path, externalData: externalData ? OnnxExternalDataOptions(fileName: name + ".data") : nil)
      return (model.graph.nodes.count, written.graph.nodes.count)
    } catch { throw DinoError(error, path: self.path) }
  }

  /// What a run with such inputs does.
  public func plan(_ inputs: [String: Tensor], outputs: [String]? = nil) throws(DinoError) -> (summary: PlanSummary, foreign: Int, plans: Int) {
    do {
      let names = outputs ?? outputNames
      let summary = try session.plan(inputs, outputs: names), stages = try session.stages(inputs, outputs: names)
      return (summary, stages.foreign, stages.plans)
    } catch { throw DinoError(error, path: path) }
  }
}
