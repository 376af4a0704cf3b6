// All that a supervised run needs to go on, in one safetensors file that appears whole or not at all: the network, AdamW's moments, and how many steps were done. Random numbers
// and the order of the images follow from the seed and the step.

internal import Dino
internal import DinoKernels
internal import DinoModels
internal import DinoTensor
internal import Safetensors

enum FinetuneState {
  static let key = "dino.finetuning"
  static let version = 1

  /// - Parameters:
  ///   - data: what images and classes are, so that a run goes on with the same ones.
  ///   - origin: which weights it began with.
  ///   - preprocessing: of the model, for who uses the state as one.
  static func save(_ tuner: Finetuner, data: String, origin: String?, preprocessing: Preprocessing, to path: String) throws(DinoError) {
    var tensors: [(name: String, tensor: Tensor)] = []
    for (prefix, block) in blocks(of: tuner) {
      for (i, name) in tuner.names.enumerated() { tensors.append(("\(prefix).\(name)", block.tensors[i])) }
    }
    let json: String
    do { json = try preprocessing.json() } catch { throw DinoError(error, path: path) }
    let began: [JSONValue.Member] = origin.map { [.init("origin", .string($0))] } ?? []
    let members: [JSONValue.Member] = [
      .init("version", .integer(version)), .init("step", .integer(tuner.step)), .init("data", .string(data)), .init("preprocessing", .string(json)),
      .init("settings", .object(tuner.settings.listed(stepsPerEpoch: tuner.stepsPerEpoch).map { .init($0.flag, .string($0.value)) })),
    ]
    let record = JSONValue.object(began + members)
    do { try SafetensorsWriter.write(tensors, metadata: ["format": "pt", key: record.text], to: path) } catch { throw DinoError(error, path: path) }
  }

  /// Puts a saved state into a tuner of the same settings. Everything is checked before anything is changed.
  /// - Parameter earlier: what earlier versions of the program said of the same images.
  static func restore(_ tuner: Finetuner, data: String, earlier: String, origin: String?, from path: String) throws(DinoError) {
    let file: SafetensorsFile, record: JSONValue
    do {
      file = try SafetensorsFile(path: path)
      guard let text = file.metadata[key] else { throw DinoError(.data, "\(path): not a checkpoint of dinoctl finetune (it has no '\(key)')") }
      record = try JSONValue.parse(text)
    } catch { throw DinoError(error, path: path) }
    guard record["version"]?.integerValue == version else { throw DinoError(.data, "\(path): its state is of a version that this program does not know") }
    for (flag, value) in tuner.settings.listed(stepsPerEpoch: tuner.stepsPerEpoch) {
      guard let stored = record["settings"]?[flag]?.stringValue, stored == value else {
        throw DinoError(.usage, "\(path) was trained with \(flag) \(record["settings"]?[flag]?.stringValue ?? "unset"), now it is \(value)", hint: "resume with the flags of the first run")
      }
    }
    let stored = record["data"]?.stringValue
    guard stored == data || stored == earlier else {
      throw DinoError(.usage, "\(path) was trained on other images (\(stored ?? "unknown"), now \(data))", hint: "resume with the same --data")
    }
    // States of earlier versions do not say.
    if let began = record["origin"]?.stringValue, let origin, began != origin {
      throw DinoError(.usage, "\(path) began with other weights (\(began), now \(origin))", hint: "resume with the --model of the first run, or with its --from-scratch")
    }
    guard let step = record["step"]?.integerValue, step >= 0, step <= tuner.count else { throw DinoError(.data, "\(path): the record of its steps is malformed") }
    var found: [(block: ParameterBlock, index: Int, tensor: Tensor)] = []
    for (prefix, block) in blocks(of: tuner) {
      for (i, name) in tuner.names.enumerated() {
        guard let tensor = file.tensor("\(prefix).\(name)"), tensor.shape == block.tensors[i].shape, tensor.dtype == .f32 else {
          throw DinoError(.data, "\(path): the tensor '\(prefix).\(name)' of \(block.tensors[i].shape) is missing or of another shape")
        }
        found.append((block, i, tensor))
      }
    }
    for (block, i, tensor) in found { block.set(i, to: tensor) }
    tuner.restore(step: step)
  }

  private static func blocks(of tuner: Finetuner) -> [(prefix: String, block: ParameterBlock)] {
    [("model", tuner.weights)] + tuner.moments.enumerated().map { ("optimizer.\($0)", $1) }
  }
}
