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
  ///   - crops: how crops are made of them, under the flags.
  ///   - classes: their names, for who uses the state as a model.
  ///   - origin: which weights it began with.
  ///   - preprocessing: of the model, for who uses the state as one.
  static func save(_ tuner: Finetuner, data: String, crops: RecordedFlags.List = [], classes: [String] = [], origin: String?, preprocessing: Preprocessing, to path: String) throws(DinoError) {
    var tensors: [(name: String, tensor: Tensor)] = []
    for (prefix, block) in blocks(of: tuner) {
      for (i, name) in tuner.names.enumerated() { tensors.append(("\(prefix).\(name)", block.tensors[i])) }
    }
    let json: String
    do { json = try preprocessing.json() } catch { throw DinoError(error, path: path) }
    var began: [JSONValue.Member] = origin.map { [.init("origin", .string($0))] } ?? []
    if !crops.isEmpty { began.append(.init("crops", RecordedFlags.json(crops))) }
    if !classes.isEmpty { began.append(.init("classes", .array(classes.map { .string($0) }))) }
    // Whoever says it lists the rate for 256 images; earlier versions listed it scaled to the batch.
    began.append(.init("step_images", .integer(tuner.settings.batch)))
    let members: [JSONValue.Member] = [
      .init("version", .integer(version)), .init("step", .integer(tuner.step)), .init("data", .string(data)), .init("preprocessing", .string(json)),
      .init("settings", RecordedFlags.json(tuner.settings.listed(stepsPerEpoch: tuner.stepsPerEpoch))),
    ]
    let record = JSONValue.object(began + members)
    do { try SafetensorsWriter.write(tensors, metadata: ["format": "pt", key: record.text], to: path) } catch { throw DinoError(error, path: path) }
  }

  /// Puts a saved state into a tuner of the same settings. Everything is checked before anything is changed.
  /// - Parameter earlier: what earlier versions of the program said of the same images and crops.
  static func restore(_ tuner: Finetuner, data: String, crops: RecordedFlags.List = [], earlier: [String], origin: String?, preprocessing: Preprocessing, from path: String) throws(DinoError) {
    let (file, record) = try read(path)
    // Images first: how many classes and steps an epoch there are follows from them.
    try TrainingState.check(record, data: data, crops: crops, earlier: earlier, of: path)
    try RecordedFlags.check(listed(record, tuner.settings), against: tuner.settings.listed(stepsPerEpoch: tuner.stepsPerEpoch), of: path)
    // Crops do not show how the model reads photographs whole.
    if let text = record["preprocessing"]?.stringValue {
      let stored: Preprocessing
      do { stored = try Preprocessing(json: text) } catch { throw DinoError(error, path: path) }
      try RecordedFlags.check(RecordedFlags.reading(stored), against: RecordedFlags.reading(preprocessing), of: path)
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

  /// Fails where a state is of other flags than `settings`, but for what follows from the images: for who has none yet.
  static func check(_ settings: FinetuneSettings, of path: String) throws(DinoError) {
    let record = try read(path).record
    try RecordedFlags.check(listed(record, settings), against: settings.listed(stepsPerEpoch: 0), except: [FinetuneSettings.classesFlag, RecordedFlags.steps], of: path)
  }

  private static func read(_ path: String) throws(DinoError) -> (file: SafetensorsFile, record: JSONValue) {
    do {
      let file = try SafetensorsFile(path: path)
      guard let text = file.metadata[key] else { throw DinoError(.data, "\(path): not a checkpoint of dinoctl finetune (it has no '\(key)')") }
      let record = try JSONValue.parse(text)
      guard record["version"]?.integerValue == version else { throw DinoError(.data, "\(path): its state is of a version that this program does not know") }
      return (file, record)
    } catch { throw DinoError(error, path: path) }
  }

  /// The settings of a state as they are listed now.
  private static func listed(_ record: JSONValue, _ s: FinetuneSettings) -> RecordedFlags.List {
    var stored = RecordedFlags.list(record["settings"])
    if record["step_images"] == nil, let rate = stored.firstIndex(where: { $0.flag == "--lr" }) {
      stored[rate].value = RecordedFlags.unscaled(stored[rate].value, scaled: s.rate, given: s.statedRate, images: s.batch)
    }
    return stored
  }

  private static func blocks(of tuner: Finetuner) -> [(prefix: String, block: ParameterBlock)] {
    [("model", tuner.weights)] + tuner.moments.enumerated().map { ("optimizer.\($0)", $1) }
  }
}
