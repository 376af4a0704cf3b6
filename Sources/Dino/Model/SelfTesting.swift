// The self-test of a weight file: the class token that the network gives on a synthetic input, made when the file is written, compared when someone asks.

public import DinoModels
internal import DinoGraph
internal import DinoRuntime
internal import DinoTensor

/// One entry of a self-test and what the network gives now.
public struct SelfTestResult: Sendable {
  public var entry: SelfTest.Entry
  public var comparison: SelfTest.Comparison
}

extension DinoModel {
  /// Runs the entries of the file's record. Empty where the file has none.
  public func selfTest() throws(DinoError) -> [SelfTestResult] {
    var results: [SelfTestResult] = []
    for entry in checkpoint.record?.selfTests ?? [] {
      let input = SelfTest.input(seed: UInt64(entry.seed), height: entry.height, width: entry.width, channels: config.inChannels)
      let cls = try run([Self.inputName: input], outputs: ["cls"])["cls"]?.floats() ?? []
      results.append(.init(entry: entry, comparison: entry.compare(cls, precision: precision.rawValue)))
    }
    return results
  }
}

extension SelfTest {
  /// Entries for new weights: at the native size and at one that is not square.
  static func entries(config: ViTConfig, weights: [String: Tensor]) throws(DinoError) -> [Entry] {
    do {
      let session = try Session(ViTGraphBuilder.build(config: config, weights: weights, outputs: ["cls"]))
      return try sizes(for: config).map { size in
        let input = SelfTest.input(seed: 0, height: size.height, width: size.width, channels: config.inChannels)
        let cls = try session.run([ViTGraphBuilder.inputName: input], outputs: ["cls"])["cls"]?.floats() ?? []
        guard cls.allSatisfy(\.isFinite) else {
          throw DinoError(.data, "the network gives values that are not finite on its self-test input, so its weights are damaged", hint: "dinoctl inspect names the tensors")
        }
        return Entry(seed: 0, height: size.height, width: size.width, cls: cls)
      }
    } catch { throw DinoError(error, path: nil) }
  }
}
