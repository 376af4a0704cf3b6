// The writer: deterministic, whole or not at all, external data in a second file, 2 GiB refused, models beyond that through external data. With a
// Python that has onnx (DINO_PYTHON) that library reads what is written.

import DinoTensor
import Foundation
import ONNXFormat
import TestSupport
import Testing

private let python = ProcessInfo.processInfo.environment["DINO_PYTHON"]

@Suite struct OnnxWriterTests {
  private func model(_ initializers: [OnnxTensor]) -> OnnxModel {
    let type = OnnxType(.tensor(.float, shape: [OnnxDimension(.symbolic("n"))]))
    let graph = OnnxGraph(
      name: "g", nodes: [OnnxNode(operatorType: "Identity", inputs: ["x"], outputs: ["y"])], inputs: [OnnxValueInfo(name: "x", type: type)],
      outputs: [OnnxValueInfo(name: "y", type: type)], initializers: initializers)
    return OnnxModel(irVersion: 8, operatorSets: [OnnxOperatorSet(version: 17)], producerName: "dino", graph: graph)
  }

  private func weights(_ random: inout SplitMix64) throws -> [OnnxTensor] {
    let large = try #require(OnnxTensor(name: "large", Tensor(random.floats(1000), shape: [10, 100])))
    let small = try #require(OnnxTensor(name: "small", Tensor([1, 2], shape: [2])))
    let typed = OnnxTensor(name: "typed", dataType: .int8, dims: [2000], content: .int32s((0..<2000).map { Int32($0 % 256) - 128 }))
    let text = OnnxTensor(name: "text", dataType: .string, dims: [1], content: .strings([[UInt8](repeating: 65, count: 3000)]))
    return [large, small, typed, text]
  }

  @Test func whatIsWrittenIsRead() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var random = SplitMix64(seed: 1)
    let model = model(try weights(&random))
    let path = folder.appendingPathComponent("m.onnx").path
    try OnnxWriter.write(model, to: path)
    #expect(try OnnxFile(path: path).model == model)
    #expect([UInt8](try Data(contentsOf: URL(fileURLWithPath: path))) == (try OnnxWriter.bytes(model)))
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["m.onnx"])
  }

  @Test func externalDataGoToASecondFile() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var random = SplitMix64(seed: 2)
    let model = model(try weights(&random))
    let path = folder.appendingPathComponent("m.onnx").path
    var options = OnnxExternalDataOptions(fileName: "m.onnx.data")
    options.alignment = 4096
    try OnnxWriter.write(model, to: path, externalData: options)
    let file = try OnnxFile(path: path)
    #expect(file.model.graph.initializers.map { $0.externalReference != nil } == [true, false, true, false])
    #expect(file.model.graph.initializers[2].externalReference?["offset"] == "4096")
    for (read, original) in zip(file.model.graph.initializers, model.graph.initializers) where original.dataType != .string {
      #expect(try hexadecimal(file.tensor(read)) == hexadecimal(original.tensor()))
    }
    let first = try Data(contentsOf: URL(fileURLWithPath: path))
    // Over the file that is mapped: the data are loaded, so they may move.
    try OnnxWriter.write(try file.modelWithExternalData(), to: path, externalData: options)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == first)
    #expect(throws: OnnxError.self) { try OnnxWriter.write(file.model, to: path, externalData: options) }
    for name in ["", "../x", "a/b", "/x", ".", ".."] {
      #expect(throws: OnnxError.self) { try OnnxWriter.write(model, to: path, externalData: OnnxExternalDataOptions(fileName: name)) }
    }
    #expect(throws: OnnxError.self) { try OnnxWriter.write(model, to: path, externalData: OnnxExternalDataOptions(fileName: "m.onnx")) }
    #expect(try Set(FileManager.default.contentsOfDirectory(atPath: folder.path)) == ["m.onnx", "m.onnx.data"])
  }

  @Test func aFailedWriteLeavesNothing() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var random = SplitMix64(seed: 3)
    var model = model(try weights(&random))
    model.graph.name = "a\0b"
    let path = folder.appendingPathComponent("m.onnx").path
    #expect(throws: OnnxError.self) { try OnnxWriter.write(model, to: path) }
    #expect(throws: OnnxError.self) { try OnnxWriter.write(model, to: path, externalData: OnnxExternalDataOptions(fileName: "d")) }
    let error = #expect(throws: OnnxError.self) { try OnnxWriter.write(self.model([]), to: folder.appendingPathComponent("no/m.onnx").path) }
    if case .cannotWrite? = error {} else { Issue.record("\(String(describing: error))") }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == [])
  }

  @Test func moreThanTwoGibibytesAreRefused() throws {
    // One block of 64 MiB, named 33 times: the model would be larger than its memory.
    let block = try Tensor(dtype: .f32, shape: [1 << 24]) { _ in }
    let tensors = try (0..<33).map { i in try #require(OnnxTensor(name: "w\(i)", block)) }
    let error = #expect(throws: OnnxError.self) { try OnnxWriter.write(self.model(tensors), to: "never.onnx") }
    guard case .modelTooLarge(let bytes)? = error else { Issue.record("\(String(describing: error))"); return }
    #expect(bytes > 33 << 26 && !FileManager.default.fileExists(atPath: "never.onnx"))
  }

  @Test func externalDataBeyondTwoGibibytes() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let data = folder.appendingPathComponent("w.bin")
    // A file with a hole takes no room on disk.
    #expect(FileManager.default.createFile(atPath: data.path, contents: nil))
    let handle = try FileHandle(forWritingTo: data)
    let offset = 5 << 30
    try handle.seek(toOffset: UInt64(offset))
    try handle.write(contentsOf: Data([0, 0, 0x80, 0x3F]))
    try handle.close()
    let far = OnnxTensor(name: "far", dataType: .float, dims: [1], content: .external(OnnxExternalReference(location: "w.bin", offset: offset, length: 4)))
    let large = OnnxTensor(name: "large", dataType: .float, dims: [1 << 30, 1], content: .external(OnnxExternalReference(location: "w.bin", offset: 0, length: 4 << 30)))
    let path = folder.appendingPathComponent("m.onnx").path
    try OnnxWriter.write(model([far, large]), to: path)
    let file = try OnnxFile(path: path)
    #expect(try file.tensor(file.model.graph.initializers[0]).floats() == [1])
    #expect(try file.tensor(file.model.graph.initializers[1]).byteCount == 4 << 30)
  }

  @Test func aModelBehindALinkFindsItsDataThere() throws {
    // As in the Hugging Face cache: both names are links into a folder of blobs.
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    let manager = FileManager.default
    let blobs = folder.appendingPathComponent("blobs"), snapshot = folder.appendingPathComponent("snapshots/1")
    for url in [blobs, snapshot] { try manager.createDirectory(at: url, withIntermediateDirectories: true) }
    var random = SplitMix64(seed: 4)
    try OnnxWriter.write(model(try weights(&random)), to: blobs.appendingPathComponent("m.onnx").path, externalData: OnnxExternalDataOptions(fileName: "m.data"))
    try manager.moveItem(at: blobs.appendingPathComponent("m.onnx"), to: blobs.appendingPathComponent("aa"))
    try manager.moveItem(at: blobs.appendingPathComponent("m.data"), to: blobs.appendingPathComponent("bb"))
    try manager.createSymbolicLink(atPath: snapshot.path + "/m.onnx", withDestinationPath: "../../blobs/aa")
    try manager.createSymbolicLink(atPath: snapshot.path + "/m.data", withDestinationPath: "../../blobs/bb")
    try OnnxFile(path: snapshot.path + "/m.onnx").checkExternalData()
    // The same data link beside a model that is no link leads out of the folder.
    try manager.copyItem(at: blobs.appendingPathComponent("aa"), to: snapshot.appendingPathComponent("copy.onnx"))
    let error = #expect(throws: OnnxError.self) { try OnnxFile(path: snapshot.path + "/copy.onnx").checkExternalData() }
    if case .externalDataForbidden? = error {} else { Issue.record("\(String(describing: error))") }
  }

  @Test func nestingThatNoReaderTakesIsRefused() throws {
    var type = OnnxType(.tensor(.float, shape: nil))
    for _ in 0..<60 { type = OnnxType(.sequence(type)) }
    var model = model([])
    model.graph.inputs[0].type = type
    #expect(throws: OnnxError.self) { try OnnxWriter.bytes(model) }
  }

  @Test(.enabled(if: python != nil, "needs DINO_PYTHON=/path/to/python with onnx")) func theOnnxLibraryReadsWhatWeWrite() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var pairs: [String] = []
    var originals = ["attributes", "types", "functions", "subgraphs", "element_types"].map { Fixtures.path("onnx/\($0).onnx") }
    originals += ReferenceModel.all.map(\.path)
    for (i, original) in originals.enumerated() {
      let copy = folder.appendingPathComponent("\(i).onnx").path
      try OnnxWriter.write(try OnnxFile(path: original).model, to: copy)
      pairs += [original, copy]
    }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: python!)
    process.arguments = [Fixtures.repository.appendingPathComponent("Tests/Reference/check_onnx_writer.py").path] + pairs
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
  }
}
