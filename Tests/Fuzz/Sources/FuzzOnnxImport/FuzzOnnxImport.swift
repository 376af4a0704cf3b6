// Any bytes as an ONNX model, imported: for small inputs the graph is made, its constant parts are computed, and it is recognised; or there is an error of one
// sentence. Recognition keeps the inputs and outputs, and its graph is well formed.

import DinoTensor
import ONNXFormat
import OnnxConverter

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let file = try? OnnxFile(bytes: bytes) else { return 0 }
  do {
    let importer = try OnnxImporter(file)
    _ = try? importer.graph()
    var shapes: [String: Shape] = [:]
    for input in importer.inputs {
      shapes[input.name] = Shape((input.dims ?? []).enumerated().map { axis, dimension in
        if case .fixed(let n) = dimension { n } else { axis + 2 }
      })
    }
    let imported = try importer.graph(shapes: shapes)
    let (recognised, steps) = Recognition.run(imported)
    precondition(steps.count == Recognition.ruleNames.count)
    precondition(recognised.graph.outputs.map(\.name) == imported.graph.outputs.map(\.name))
    precondition(recognised.graph.inputs == imported.graph.inputs)
    _ = try? CheckpointReader.read(importer)
  } catch {
    let sentence = "\(error)"
    precondition(!sentence.isEmpty && !sentence.contains("\n"))
  }
  return 0
}
