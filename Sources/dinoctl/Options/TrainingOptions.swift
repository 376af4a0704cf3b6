// The flags of training, in three groups: network, recipe, crops. Names and defaults are main_dino.py's; each is also taken with _ for -.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
internal import DinoModels
internal import DinoTraining

/// A long name with dashes, and the original's with underscores.
func long(_ name: String) -> NameSpecification { [.customLong(name), .customLong(name.split(separator: "-").joined(separator: "_"))] }

/// What the original's bool_flag takes: off, false, 0, on, true, 1, in any case.
struct OfficialBool: ExpressibleByArgument {
  var value: Bool

  init(_ value: Bool) { self.value = value }

  init?(argument: String) {
    switch argument.lowercased() {
    case "on", "true", "1": value = true
    case "off", "false", "0": value = false
    default: return nil
    }
  }

  var defaultValueDescription: String { "\(value)" }
}

/// What help says of these flags where train and distill differ.
protocol TrainingHelp {
  static var distills: Bool { get }
}

extension TrainingHelp {
  static func byDefault(_ training: String, distilling: String) -> String { "Default: \(distills ? distilling : training)." }
}

enum TrainHelp: TrainingHelp {
  static var distills: Bool { false }
}

enum DistillHelp: TrainingHelp {
  static var distills: Bool { true }
}

struct NetworkOptions<Help: TrainingHelp>: ParsableArguments {
  @Option(help: ArgumentHelp("Architecture: \(FeatureHelp.architectures)\(Help.distills ? "" : " Default: vit_small.")", valueName: "name"))
  var arch: String?

  @Option(name: long("patch-size"), help: ArgumentHelp("Side of a patch in pixels. \(Help.byDefault("that of --arch where its name says it (dino_vits8), or 16", distilling: "that of --arch where its name says it (dino_vits8), or the teacher's"))"))
  var patchSize: Int?

  @Option(help: "Width, for a network of no named architecture.")
  var width: Int?

  @Option(help: "Number of blocks.")
  var depth: Int?

  @Option(help: "Number of heads.")
  var heads: Int?

  @Option(name: long("out-dim"), help: ArgumentHelp("Outputs of the projection head. \(Help.byDefault("65536", distilling: "the teacher's"))"))
  var outDim: Int?

  @Option(help: ArgumentHelp("Width of the projection head's hidden layers. \(Help.byDefault("2048", distilling: "the teacher's"))"))
  var headHiddenDim: Int?

  @Option(help: ArgumentHelp("Width of the projection head before its last layer. \(Help.byDefault("256", distilling: "the teacher's"))"))
  var headBottleneckDim: Int?

  @Option(name: long("use-bn-in-head"), help: "Batch normalisation in the projection head (true or false).")
  var useBatchNorm = OfficialBool(false)

  func validate() throws {
    if arch != nil && (width != nil || depth != nil || heads != nil) { throw ValidationError("--arch says width, depth and heads already") }
    if arch == nil && !(width == nil && depth == nil && heads == nil) && (width == nil || depth == nil || heads == nil) { throw ValidationError("give --width, --depth and --heads together") }
    for (name, value, limit) in [("--patch-size", patchSize ?? 16, 1024), ("--width", width ?? 1, 65536), ("--depth", depth ?? 1, 4096), ("--heads", heads ?? 1, 65536),
                                 ("--out-dim", outDim ?? 1, 1 << 24), ("--head-hidden-dim", headHiddenDim ?? 1, 65536), ("--head-bottleneck-dim", headBottleneckDim ?? 1, 65536)]
    where value < 1 || value > limit { throw ValidationError("\(name) must be from 1 to \(limit), not \(value)") }
  }

  /// The network to train. In distillation what is not given is the teacher's: patches, and where distributions are compared the head.
  func configuration(globalSize: Int, distillation: Distillation? = nil) throws -> ViTConfig {
    let named = arch.flatMap(Registry.publishedModel(named:))?.patchSize, patch = patchSize ?? named ?? distillation?.teacher.patchSize ?? 16
    guard globalSize >= patch else { throw Failure(.usage, "--global-size \(globalSize) is smaller than a patch of \(patch) pixels") }
    let head = distillation?.loss == .features ? nil : ViTConfig.Head.projection(projectionHead(like: distillation?.teacher.head))
    do {
      guard let width, let depth, let heads else { return try Registry.configuration(arch ?? "vit_small", patchSize: patch, imageSize: globalSize, head: head) }
      let side = globalSize / patch
      let config = ViTConfig(patchSize: patch, embedDim: width, depth: depth, numHeads: heads, nativeRows: side, nativeColumns: side, head: head)
      try config.validate()
      return config
    } catch { throw Failure(.usage, DinoError(error).message) }
  }

  private func projectionHead(like teacher: ViTConfig.Head?) -> ViTConfig.ProjectionHead {
    var head = ViTConfig.ProjectionHead()
    if case .projection(let other)? = teacher { head = other }
    head.hiddenDim = headHiddenDim ?? head.hiddenDim
    head.bottleneckDim = headBottleneckDim ?? head.bottleneckDim
    head.outDim = outDim ?? head.outDim
    head.batchNorm = useBatchNorm.value
    return head
  }
}

struct RecipeOptions<Help: TrainingHelp>: ParsableArguments {
  func validate() throws {
    if batchSize < 1 { throw ValidationError("--batch-size must be at least 1, not \(batchSize)") }
    if centering == TrainingSettings.Centering.sinkhornKnopp.rawValue, GivenFlags.all().contains("--center-momentum") {
      throw ValidationError("--center-momentum goes with --centering centering: sinkhorn_knopp has no centre")
    }
    if epochs < 1 { throw ValidationError("--epochs must be at least 1, not \(epochs)") }
  }

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

  @Option(name: long("freeze-last-layer"), help: ArgumentHelp("Epochs in which the last layer stands still. \(Help.byDefault("1", distilling: "0"))"))
  var freezeLastLayer: Int?

  @Option(name: long("norm-last-layer"), help: "Keep the last layer's rows at length 1 (true or false).")
  var normLastLayer = OfficialBool(true)

  @Option(name: long("momentum-teacher"), help: ArgumentHelp("Momentum of the teacher at the start; it rises to 1. Default: 0.996.", visibility: Help.distills ? .hidden : .default))
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

  @Option(name: long("ibot-loss-weight"), help: "Weight of iBOT's term: the teacher's distributions of patches of the global crops that are masked for the student, through the same head; DINOv2 and iBOT have 1.")
  var ibotLossWeight = 0.0

  @Option(name: long("ibot-mask-sample-probability"), help: "The share of global crops with masked patches.")
  var maskProbability = 0.5

  @Option(name: long("ibot-mask-ratio-min-max"), parsing: .upToNextOption, help: "Least and largest share of a crop's patches that are masked. Default: 0.1 0.5.")
  var maskRatios: [Double] = []

  @Option(name: long("ibot-mask-shape"), help: "block: rectangles, as BEiT, iBOT and DINOv2; random: patches one by one.")
  var maskShape = "block"

  @Option(name: long("drop-path-rate"), help: ArgumentHelp("Drop path of the last block; it rises linearly from 0. \(Help.byDefault("0.1", distilling: "0"))"))
  var dropPathRate: Double?

  @Option(help: "f32, or bf16: operands of linear layers rounded, weights, sums and all else in f32.")
  var precision = "f32"

  @Option(help: "Seed of all random numbers.")
  var seed: UInt64 = 0

  /// Not yet held against each other: of a run that goes on, what differs from its state is told first.
  func settings(_ config: ViTConfig, _ crops: CropOptions<Help>, distillation: Distillation? = nil, ranks: Int = 1) throws -> TrainingSettings {
    var s = TrainingSettings(config: config)
    guard let optimizer = TrainingSettings.Optimizer(rawValue: optimizer) else {
      throw Failure(.usage, "--optimizer '\(optimizer)' is not \(TrainingSettings.Optimizer.allCases.map(\.rawValue).joined(separator: ", "))")
    }
    s.batch = batchSize
    s.globalSize = crops.globalSize
    s.localSize = crops.localSize
    s.distillation = distillation
    s.localCrops = crops.localCropsNumber ?? (distillation?.loss == .features ? 0 : 8)
    s.optimizer = optimizer
    s.scaleRate(lr, images: batchSize * ranks)
    s.leastRate = minLR
    s.warmupEpochs = warmupEpochs ?? 10
    s.epochs = epochs
    s.weightDecay = weightDecay
    s.weightDecayEnd = weightDecayEnd
    s.clipGradient = clipGrad
    s.freezeLastLayer = freezeLastLayer ?? (distillation == nil ? 1 : 0)
    s.normLastLayer = normLastLayer.value
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
    s.ibotWeight = ibotLossWeight
    s.maskProbability = maskProbability
    if !maskRatios.isEmpty {
      guard maskRatios.count == 2, maskRatios[0] <= maskRatios[1] else { throw Failure(.usage, "--ibot-mask-ratio-min-max takes two numbers, 0 < least <= largest <= 1") }
      s.maskRatios = maskRatios[0]...maskRatios[1]
    }
    guard let shape = TrainingSettings.MaskShape(rawValue: maskShape) else { throw Failure(.usage, "--ibot-mask-shape '\(maskShape)' is not \(TrainingSettings.MaskShape.allCases.map(\.rawValue).joined(separator: " or "))") }
    s.maskShape = shape
    s.dropPath = dropPathRate ?? (distillation == nil ? 0.1 : 0)
    if precision == PrecisionArgument.int8.rawValue { throw Failure(.unavailable, "training computes in f32 or bf16, not in int8") }
    guard let precision = TrainingSettings.Precision(rawValue: precision) else {
      throw Failure(.usage, "--precision '\(precision)' is not \(TrainingSettings.Precision.allCases.map(\.rawValue).joined(separator: " or "))")
    }
    s.precision = precision
    s.seed = seed
    return s
  }
}

struct CropOptions<Help: TrainingHelp>: ParsableArguments {
  @Option(help: "Side of the global crops in pixels.")
  var globalSize = 224

  @Option(help: "Side of the local crops in pixels.")
  var localSize = 96

  @Option(name: [.customLong("local-crops-number"), .customLong("local_crops_number"), .customLong("local-crops")], help: ArgumentHelp("Local crops of each image. \(Help.byDefault("8", distilling: "0, or 8 with --loss dino"))"))
  var localCropsNumber: Int?

  @Option(name: long("global-crops-scale"), parsing: .upToNextOption, help: "Least and largest share of the photograph in a global crop. Default: 0.4 1.")
  var globalScale: [Double] = []

  @Option(name: long("local-crops-scale"), parsing: .upToNextOption, help: "Least and largest share of the photograph in a local crop. Default: 0.05 0.4.")
  var localScale: [Double] = []

  @Option(help: "How likely a crop is made gray. 0.2 is the original's; 1 on few photographs, so that they are not told apart by their colours.")
  var grayscaleProbability = 0.2

  @Option(name: long("blur-radius"), parsing: .upToNextOption, help: "Least and largest deviation of the blur, in pixels of the crop. Default: 0.1 2, the original's for crops of 224; for smaller ones less, in proportion.")
  var blurRadius: [Double] = []

  @Option(help: "How likely a crop is turned into its negative: more than the original's 0 where light and dark say nothing of what is shown.")
  var negativeProbability = 0.0

  func augmentation(localCrops: Int) throws -> MultiCropAugmentation {
    guard (0...1).contains(grayscaleProbability) else { throw Failure(.usage, "--grayscale-probability must be from 0 to 1, not \(grayscaleProbability)") }
    var a = MultiCropAugmentation(globalSize: globalSize, localSize: localSize, localCrops: localCrops)
    a.globalScale = try range(globalScale, "--global-crops-scale") ?? a.globalScale
    a.localScale = try range(localScale, "--local-crops-scale") ?? a.localScale
    a.grayscaleProbability = grayscaleProbability
    guard (0...1).contains(negativeProbability) else { throw Failure(.usage, "--negative-probability must be from 0 to 1, not \(negativeProbability)") }
    a.negativeProbability = negativeProbability
    if !blurRadius.isEmpty {
      guard blurRadius.count == 2, blurRadius[0] >= 0, blurRadius[0] <= blurRadius[1], blurRadius[1] <= 100 else { throw Failure(.usage, "--blur-radius takes two numbers, 0 <= least <= largest <= 100") }
      a.blurRadius = blurRadius[0]...blurRadius[1]
    }
    return a
  }

  private func range(_ values: [Double], _ flag: String) throws -> ClosedRange<Double>? {
    if values.isEmpty { return nil }
    guard values.count == 2, values[0] > 0, values[0] <= values[1], values[1] <= 1 else { throw Failure(.usage, "\(flag) takes two numbers, 0 < least <= largest <= 1") }
    return values[0]...values[1]
  }
}
