// A recorded case of the original training run again: configuration, initial weights and crops from a folder, results beside what was recorded there
// (layout: reference/training of the golden data; case.json, initial.safetensors, crops.safetensors).

public import Dino
internal import DinoKernels
internal import DinoModels
public import DinoTensor
internal import Safetensors

public struct Replay {
  public let settings: TrainingSettings
  public let stepsPerEpoch: Int
  private let initial: [String: Tensor]
  /// Of a distillation.
  private let teacher: [String: Tensor]
  private let crops: SafetensorsFile

  /// What a replay gives.
  public struct Result {
    public var losses: [Double]
    /// Before clipping and freezing, by the recorded names.
    public var firstGradients: [(name: String, tensor: Tensor)]
    /// `student.*`, `teacher.*`, `center`.
    public var final: [(name: String, tensor: Tensor)]
  }

  public init(folder: String) throws(DinoError) {
    let path = "\(folder)/case.json"
    do {
      let storage = try Storage(mapping: path)
      guard storage.byteCount <= 16 << 20 else { throw DinoError(.data, "\(path): \(storage.byteCount) bytes are too many for a case") }
      let json = try storage.withBytes { bytes throws(JSONError) in try JSONValue.parse(bytes) }
      guard let c = json["config"] else { throw DinoError(.data, "\(path): no 'config'") }
      initial = try Self.weights("\(folder)/initial.safetensors")
      teacher = c["distillation"] == nil ? [:] : try Self.weights("\(folder)/teacher.safetensors")
      crops = try SafetensorsFile(path: "\(folder)/crops.safetensors")
      (settings, stepsPerEpoch) = try Self.settings(c, path: path, layers: initial.filter { $0.key.hasPrefix("head.mlp.") && $0.key.hasSuffix(".weight") && $0.value.shape.rank == 2 }.count)
    } catch { throw DinoError(error, path: path) }
  }

  private static func weights(_ path: String) throws -> [String: Tensor] {
    let file = try SafetensorsFile(path: path)
    let names = file.names.map { ($0, official($0)) }
    guard Set(names.map(\.1)).count == names.count else { throw DinoError(.data, "\(path): a tensor is there under its own name and under 'backbone.'") }
    return Dictionary(uniqueKeysWithValues: names.map { ($1, file.tensor($0)!) })
  }

  /// The recorded names have the backbone's tensors under `backbone.`.
  private static func official(_ name: String) -> String { name.hasPrefix("backbone.") ? String(name.dropFirst("backbone.".count)) : name }
  private static func recorded(_ name: String) -> String { name.hasPrefix("head.") || name.hasPrefix("distill.") ? name : "backbone.\(name)" }

  private static func settings(_ c: JSONValue, path: String, layers: Int) throws(DinoError) -> (TrainingSettings, Int) {
    func integer(_ key: String, least: Int = 1, most: Int = 1 << 24) throws(DinoError) -> Int {
      guard let value = c[key]?.integerValue, value >= least, value <= most else { throw DinoError(.data, "\(path): '\(key)' must be a number from \(least) to \(most)") }
      return value
    }
    func number(_ key: String) throws(DinoError) -> Double {
      guard let value = c[key]?.doubleValue, value.isFinite else { throw DinoError(.data, "\(path): '\(key)' must be a number") }
      return value
    }
    let patch = try integer("patch", most: 1024), size = try integer("img", most: 4096)
    guard size >= patch else { throw DinoError(.data, "\(path): images of \(size) pixels are smaller than a patch of \(patch)") }
    // Features are compared without a head.
    let isOfFeatures = c["distillation"]?["loss"]?.stringValue == Distillation.Loss.features.rawValue
    let head = isOfFeatures ? nil : ViTConfig.ProjectionHead(layers: max(layers, 1), hiddenDim: try integer("head_hidden"), bottleneckDim: try integer("head_bottleneck"), outDim: try integer("out_dim"),
                                        batchNorm: c["use_bn_in_head"]?.boolValue ?? c["use_bn"]?.boolValue ?? false)
    var s = TrainingSettings(config: ViTConfig(patchSize: patch, embedDim: try integer("dim"), depth: try integer("depth", most: 4096), numHeads: try integer("heads", most: 65536),
                                               mlpRatio: c["mlp_ratio"]?.doubleValue ?? 4, nativeRows: size / patch, nativeColumns: size / patch, head: head.map { .projection($0) }))
    s.batch = try integer("batch")
    s.globalSize = size
    s.localCrops = try integer("local_crops", least: 0, most: 62)
    s.localSize = s.localCrops > 0 ? try integer("local_size", most: 4096) : size
    if let flag = c["norm_last_layer"]?.boolValue { s.normLastLayer = flag }
    s.freezeLastLayer = try integer("freeze_last_layer", least: 0)
    s.clipGradient = try number("clip_grad")
    guard let optimizer = TrainingSettings.Optimizer(rawValue: c["optimizer"]?.stringValue ?? "adamw") else {
      throw DinoError(.data, "\(path): the optimizer '\(c["optimizer"]?.stringValue ?? "")' is not adamw, sgd or lars")
    }
    s.optimizer = optimizer
    s.rate = try number("lr")
    s.leastRate = try number("min_lr")
    s.warmupEpochs = try integer("warmup_epochs", least: 0)
    s.epochs = try integer("epochs")
    s.weightDecay = try number("weight_decay")
    s.weightDecayEnd = try number("weight_decay_end")
    s.teacherMomentum = try number("momentum_teacher")
    s.warmupTeacherTemperature = try number("warmup_teacher_temp")
    s.teacherTemperature = try number("teacher_temp")
    s.warmupTeacherTemperatureEpochs = try integer("warmup_teacher_temp_epochs", least: 0)
    s.studentTemperature = try number("student_temp")
    s.centerMomentum = try number("center_momentum")
    s.dropPath = c["drop_path"]?.doubleValue ?? 0
    let centering = c["centering"]?.stringValue ?? TrainingSettings.Centering.centering.rawValue
    guard let known = TrainingSettings.Centering(rawValue: centering) else { throw DinoError(.data, "\(path): the centering '\(centering)' is not known") }
    s.centering = known
    s.koleoWeight = c["koleo_loss_weight"]?.doubleValue ?? 0
    s.ibotWeight = c["ibot_loss_weight"]?.doubleValue ?? 0
    if let p = c["ibot_mask_sample_probability"]?.doubleValue { s.maskProbability = p }
    if let bounds = c["ibot_mask_ratio_min_max"]?.arrayValue?.compactMap(\.doubleValue), bounds.count == 2, bounds[0] <= bounds[1] { s.maskRatios = bounds[0]...bounds[1] }
    if let d = c["distillation"] { s.distillation = try distillation(d, s, path: path) }
    try s.validate()
    return (s, try integer("iterations_per_epoch"))
  }

  /// The teacher's size, and what is compared. Its head, where it has one, is of the student's size.
  private static func distillation(_ c: JSONValue, _ s: TrainingSettings, path: String) throws(DinoError) -> Distillation {
    guard let width = c["dim"]?.integerValue, let depth = c["depth"]?.integerValue, let heads = c["heads"]?.integerValue, let loss = Distillation.Loss(rawValue: c["loss"]?.stringValue ?? ""),
          let projection = Distillation.Projection(rawValue: c["projection"]?.stringValue ?? "linear") else { throw DinoError(.data, "\(path): the distillation is malformed") }
    var teacher = s.config
    (teacher.embedDim, teacher.depth, teacher.numHeads) = (width, depth, heads)
    var d = Distillation(teacher: teacher, teacherDigest: "recorded")
    (d.loss, d.projection) = (loss, projection)
    d.classWeight = c["cls_loss_weight"]?.doubleValue ?? 1
    d.patchWeight = c["patch_loss_weight"]?.doubleValue ?? 1
    return d
  }

  /// Runs all steps. `observe` is called after each.
  public func run(threads: Int = 0, kernels: String? = nil, observe: (StepReport) -> Void = { _ in }) throws(DinoError) -> Result {
    let trainer = try Trainer(settings, stepsPerEpoch: stepsPerEpoch, weights: initial, teacherWeights: teacher, threads: threads, kernels: kernels)
    var result = Result(losses: [], firstGradients: [], final: [])
    for step in 0..<trainer.schedule.count {
      let globals = try batch(step, 0..<2, size: settings.globalSize)
      let locals = settings.localCrops > 0 ? try batch(step, 2..<settings.views, size: settings.localSize) : nil
      trainer.givenMasks = try masks(step, trainer)
      trainer.givenPatches = try patches(step, trainer)
      let report = try trainer.run(globals: globals, locals: locals)
      // The optimizer leaves the gradients as they are.
      if step == 0 { result.firstGradients = trainer.namedGradients().map { (Self.recorded($0.name), $0.tensor) } }
      result.losses.append(report.loss)
      observe(report)
    }
    for (i, name) in trainer.names.enumerated() {
      result.final.append(("student.\(Self.recorded(name))", trainer.student.tensors[i]))
      if trainer.settings.distillation == nil { result.final.append(("teacher.\(Self.recorded(name))", trainer.teacher.tensors[i])) }
    }
    result.final += trainer.centers
    return result
  }

  /// The drop-path factors of a step, where the case records them; a case without them draws its own.
  private func masks(_ step: Int, _ trainer: Trainer) throws(DinoError) -> [[Float]]? {
    var found: [[Float]] = []
    for mask in trainer.masks {
      guard let tensor = crops.tensor("step\(step).\(mask.name)") else { break }
      guard tensor.count == mask.rows, tensor.dtype.convertsToFloat else { throw DinoError(.data, "crops.safetensors: 'step\(step).\(mask.name)' has shape \(tensor.shape), expected \(mask.rows) factors") }
      found.append(tensor.floats())
    }
    guard found.isEmpty || found.count == trainer.masks.count else { throw DinoError(.data, "crops.safetensors has no 'step\(step).\(trainer.masks[found.count].name)'") }
    return found.isEmpty ? nil : found
  }

  /// The masked patches of a step, where the case records them.
  private func patches(_ step: Int, _ trainer: Trainer) throws(DinoError) -> [(patch: Int, weight: Double)]? {
    guard let expected = trainer.maskedPatches, let tensor = crops.tensor("step\(step).masks") else { return nil }
    let values = tensor.floats(), size = expected.rows * expected.columns
    guard tensor.count == expected.crops * size, values.count(where: { $0 != 0 }) == expected.count else {
      throw DinoError(.data, "crops.safetensors: 'step\(step).masks' has shape \(tensor.shape) with \(values.count { $0 != 0 }) patches masked, expected \(expected.crops) x \(size) with \(expected.count)")
    }
    return values.indices.filter { values[$0] != 0 }.map { i in (i, 1 / Double(values[i / size * size..<(i / size + 1) * size].count { $0 != 0 })) }
  }

  private func batch(_ step: Int, _ views: Range<Int>, size: Int) throws(DinoError) -> Tensor {
    let shape: Shape = [settings.batch, settings.config.inChannels, size, size]
    var values: [Float] = []
    for view in views {
      let name = "step\(step).crop\(view)"
      guard let crop = crops.tensor(name) else { throw DinoError(.data, "crops.safetensors has no '\(name)'") }
      guard crop.shape == shape, crop.dtype.convertsToFloat else { throw DinoError(.data, "crops.safetensors: '\(name)' has shape \(crop.shape), expected \(shape)") }
      values += crop.floats()
    }
    return Tensor(values, shape: Shape([values.count / (shape.count / shape[0])] + shape.dims.dropFirst()))
  }
}
