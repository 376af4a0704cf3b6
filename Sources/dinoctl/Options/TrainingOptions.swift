// The flags of training, in three groups: network, recipe, crops. Names and defaults are main_dino.py's; each is also taken with _ for -.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoModels
internal import DinoTraining

/// A long name with dashes, and the original's with underscores.
func long(_ name: String) -> NameSpecification { [.customLong(name), .customLong(name.split(separator: "-").joined(separator: "_"))] }

struct NetworkOptions: ParsableArguments {
  @Option(help: "Architecture: vit_tiny, vit_small, vit_base.")
  var arch: String?

  @Option(name: long("patch-size"), help: "Side of a patch in pixels.")
  var patchSize = 16

  @Option(help: "Width, for a network of no named architecture.")
  var width: Int?

  @Option(help: "Number of blocks.")
  var depth: Int?

  @Option(help: "Number of heads.")
  var heads: Int?

  @Option(name: long("out-dim"), help: "Outputs of the projection head. Default: 65536.")
  var outDim: Int?

  @Option(help: "Width of the projection head's hidden layers.")
  var headHiddenDim = 2048

  @Option(help: "Width of the projection head before its last layer.")
  var headBottleneckDim = 256

  @Option(name: long("use-bn-in-head"), help: "Batch normalisation in the projection head (true or false).")
  var useBatchNorm = false

  func validate() throws {
    if arch != nil && (width != nil || depth != nil || heads != nil) { throw ValidationError("--arch says width, depth and heads already") }
    if arch == nil && !(width == nil && depth == nil && heads == nil) && (width == nil || depth == nil || heads == nil) { throw ValidationError("give --width, --depth and --heads together") }
    for (name, value, limit) in [("--patch-size", patchSize, 1024), ("--width", width ?? 1, 65536), ("--depth", depth ?? 1, 4096), ("--heads", heads ?? 1, 65536),
                                 ("--out-dim", outDim ?? 1, 1 << 24), ("--head-hidden-dim", headHiddenDim, 65536), ("--head-bottleneck-dim", headBottleneckDim, 65536)]
    where value < 1 || value > limit { throw ValidationError("\(name) must be from 1 to \(limit), not \(value)") }
  }

  func configuration(globalSize: Int) throws -> ViTConfig {
    let head = ViTConfig.Head.projection(.init(hiddenDim: headHiddenDim, bottleneckDim: headBottleneckDim, outDim: outDim ?? 65_536, batchNorm: useBatchNorm))
    do {
      guard let width, let depth, let heads else { return try Registry.configuration(arch ?? "vit_small", patchSize: patchSize, imageSize: globalSize, head: head) }
      let side = globalSize / patchSize
      let config = ViTConfig(patchSize: patchSize, embedDim: width, depth: depth, numHeads: heads, nativeRows: side, nativeColumns: side, head: head)
      try config.validate()
      return config
    } catch { throw Failure(.usage, DinoError(error).message) }
  }
}

struct RecipeOptions: ParsableArguments {
  @Option(name: [.customLong("batch-size-per-gpu"), .customLong("batch_size_per_gpu"), .customLong("batch-size")], help: "Images of one step; of each process, where mpirun starts several.")
  var batchSize = 64

  @Option(help: "Passes over the images.")
  var epochs = 100

  @Option(help: "adamw, sgd or lars.")
  var optimizer = "adamw"

  @Option(help: "Learning rate for 256 images a step; it is scaled to the batch.")
  var lr = 0.0005

  @Option(name: long("min-lr"), help: "Learning rate at the end. Not scaled.")
  var minLR = 1e-6

  @Option(name: long("warmup-epochs"), help: "Epochs of linear warm-up of the learning rate. Default: 10.")
  var warmupEpochs: Int?

  @Option(name: long("weight-decay"), help: "Weight decay at the start.")
  var weightDecay = 0.04

  @Option(name: long("weight-decay-end"), help: "Weight decay at the end.")
  var weightDecayEnd = 0.4

  @Option(name: long("clip-grad"), help: "Largest norm of each parameter's gradient; 0 for none.")
  var clipGrad = 3.0

  @Option(name: long("freeze-last-layer"), help: "Epochs in which the last layer stands still. Default: 1.")
  var freezeLastLayer: Int?

  @Option(name: long("norm-last-layer"), help: "Keep the last layer's rows at length 1 (true or false).")
  var normLastLayer = true

  @Option(name: long("momentum-teacher"), help: "Momentum of the teacher at the start; it rises to 1. Default: 0.996.")
  var momentumTeacher: Double?

  @Option(name: long("warmup-teacher-temp"), help: "Teacher's temperature at the start. Default: 0.04.")
  var warmupTeacherTemp: Double?

  @Option(name: long("teacher-temp"), help: "Teacher's temperature after its warm-up. Default: 0.04.")
  var teacherTemp: Double?

  @Option(name: long("warmup-teacher-temp-epochs"), help: "Epochs of the teacher's warm-up. Default: 0.")
  var warmupTeacherTempEpochs: Int?

  @Option(help: "Student's temperature.")
  var studentTemp = 0.1

  @Option(help: "Momentum of the centre; 1 leaves it at zero.")
  var centerMomentum = 0.9

  @Option(help: "centering, as the original, or sinkhorn_knopp, as DINOv2.")
  var centering = "centering"

  @Option(name: long("koleo-loss-weight"), help: "Weight of DINOv2's KoLeo term, which spreads the features of the global crops; DINOv2 has 0.1.")
  var koleoLossWeight = 0.0

  @Option(name: long("drop-path-rate"), help: "Drop path of the last block; it rises linearly from 0.")
  var dropPathRate = 0.1

  @Option(help: "f32, or bf16: operands of linear layers rounded, weights, sums and all else in f32.")
  var precision = "f32"

  @Option(help: "Seed of all random numbers.")
  var seed: UInt64 = 0

  func settings(_ config: ViTConfig, _ crops: CropOptions, ranks: Int = 1) throws -> TrainingSettings {
    var s = TrainingSettings(config: config)
    guard let optimizer = TrainingSettings.Optimizer(rawValue: optimizer) else {
      throw Failure(.usage, "--optimizer '\(optimizer)' is not \(TrainingSettings.Optimizer.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    s.batch = batchSize
    s.globalSize = crops.globalSize
    s.localSize = crops.localSize
    s.localCrops = crops.localCropsNumber
    s.optimizer = optimizer
    s.rate = lr * Double(batchSize * ranks) / 256
    s.leastRate = minLR
    s.warmupEpochs = warmupEpochs ?? 10
    s.epochs = epochs
    s.weightDecay = weightDecay
    s.weightDecayEnd = weightDecayEnd
    s.clipGradient = clipGrad
    s.freezeLastLayer = freezeLastLayer ?? 1
    s.normLastLayer = normLastLayer
    s.teacherMomentum = momentumTeacher ?? 0.996
    s.warmupTeacherTemperature = warmupTeacherTemp ?? 0.04
    s.teacherTemperature = teacherTemp ?? 0.04
    s.warmupTeacherTemperatureEpochs = warmupTeacherTempEpochs ?? 0
    s.studentTemperature = studentTemp
    s.centerMomentum = centerMomentum
    guard let centering = TrainingSettings.Centering(rawValue: centering) else {
      throw Failure(.usage, "--centering '\(centering)' is not \(TrainingSettings.Centering.allCases.map(\.rawValue).joined(separator: " or "))")
    }
    s.centering = centering
    s.koleoWeight = koleoLossWeight
    s.dropPath = dropPathRate
    guard let precision = TrainingSettings.Precision(rawValue: precision) else {
      throw Failure(.usage, "--precision '\(precision)' is not \(TrainingSettings.Precision.allCases.map(\.rawValue).joined(separator: " or "))")
    }
    s.precision = precision
    s.seed = seed
    try s.validate()
    return s
  }
}

struct CropOptions: ParsableArguments {
  @Option(help: "Side of the global crops in pixels.")
  var globalSize = 224

  @Option(help: "Side of the local crops in pixels.")
  var localSize = 96

  @Option(name: [.customLong("local-crops-number"), .customLong("local_crops_number"), .customLong("local-crops")], help: "Local crops of each image.")
  var localCropsNumber = 8

  @Option(name: long("global-crops-scale"), parsing: .upToNextOption, help: "Least and largest share of the photograph in a global crop. Default: 0.4 1.")
  var globalScale: [Double] = []

  @Option(name: long("local-crops-scale"), parsing: .upToNextOption, help: "The same of local crops. Default: 0.05 0.4.")
  var localScale: [Double] = []

  func augmentation() throws -> MultiCropAugmentation {
    var a = MultiCropAugmentation(globalSize: globalSize, localSize: localSize, localCrops: localCropsNumber)
    a.globalScale = try range(globalScale, "--global-crops-scale") ?? a.globalScale
    a.localScale = try range(localScale, "--local-crops-scale") ?? a.localScale
    return a
  }

  private func range(_ values: [Double], _ flag: String) throws -> ClosedRange<Double>? {
    if values.isEmpty { return nil }
    guard values.count == 2, values[0] > 0, values[0] <= values[1], values[1] <= 1 else { throw Failure(.usage, "\(flag) takes two numbers, 0 < least <= largest <= 1") }
    return values[0]...values[1]
  }
}
