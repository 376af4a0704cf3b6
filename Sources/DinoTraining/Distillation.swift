// A student that learns from a network which stands still, as data: which loss, and between what. The steps are the trainer's own.

public import DinoModels
internal import DinoTensor

public struct Distillation: Sendable, Equatable {
  /// What the student is to agree with: the teacher's features, through a projection; or the distributions of its head, as in DINO's own training.
  public enum Loss: String, Sendable, CaseIterable { case features, dino }
  /// What the student's features go through before they are compared: a linear layer that is left out of the model, or nothing.
  public enum Projection: String, Sendable, CaseIterable { case linear, none }

  public var loss = Loss.features
  /// The teacher; with its projection head where the loss is DINO's.
  public var teacher: ViTConfig
  /// Which file it is, so that a run goes on with the same one.
  public var teacherDigest: String
  public var projection = Projection.linear
  /// Of the class token of every crop, and of the patch tokens of the global crops: the mean of 1 - cosine.
  public var classWeight = 1.0
  public var patchWeight = 1.0

  public init(teacher: ViTConfig, teacherDigest: String) {
    self.teacher = teacher
    self.teacherDigest = teacherDigest
  }

  static let classProjection = "distill.cls", patchProjection = "distill.patch"

  /// The projections' tensors: each its own, since class and patch tokens mean different things.
  func tensors(studentWidth: Int) -> [TensorSpec] {
    guard loss == .features, projection == .linear else { return [] }
    let used = [(Self.classProjection, classWeight), (Self.patchProjection, patchWeight)].filter { $0.1 > 0 }
    return used.flatMap { name, _ in
      [TensorSpec(name: "\(name).weight", shape: [teacher.embedDim, studentWidth], start: .truncatedNormal), TensorSpec(name: "\(name).bias", shape: [teacher.embedDim], start: .constant(0))]
    }
  }

  /// Every setting under its flag.
  var listed: [(flag: String, value: String)] {
    [("--teacher", teacherDigest), ("--loss", loss.rawValue)]
      + (loss == .features ? [("--projection", projection.rawValue), ("--cls-loss-weight", "\(classWeight)"), ("--patch-loss-weight", "\(patchWeight)")] : [])
  }

  /// What does not go together, in words; nil where all does.
  func contradiction(_ s: TrainingSettings) -> String? {
    if !(classWeight >= 0 && classWeight.isFinite && patchWeight >= 0 && patchWeight.isFinite) { return "--cls-loss-weight and --patch-loss-weight must be numbers from 0 on, not \(classWeight) and \(patchWeight)" }
    if teacher.inChannels != s.config.inChannels { return "the teacher reads images of \(teacher.inChannels) channels, the student of \(s.config.inChannels)" }
    if s.koleoWeight > 0 || s.ibotWeight > 0 { return "--koleo-loss-weight and --ibot-loss-weight are of a teacher that learns too" }
    if s.globalSize < teacher.patchSize || s.localCrops > 0 && s.localSize < teacher.patchSize { return "a crop must have one of the teacher's patches at least, which are \(teacher.patchSize) pixels" }
    switch loss {
    case .features:
      if classWeight == 0 && patchWeight == 0 { return "--cls-loss-weight and --patch-loss-weight are both 0: there is nothing to learn" }
      if patchWeight > 0, s.globalSize / teacher.patchSize != s.globalSize / s.config.patchSize {
        return "the teacher sees \(s.globalSize / teacher.patchSize)x\(s.globalSize / teacher.patchSize) patches of a crop of \(s.globalSize) pixels (patch \(teacher.patchSize)), the student \(s.globalSize / s.config.patchSize)x\(s.globalSize / s.config.patchSize) (patch \(s.config.patchSize)): their patch tokens have no partners; give --patch-size \(teacher.patchSize), or --patch-loss-weight 0"
      }
      if projection == .none, teacher.embedDim != s.config.embedDim { return "the teacher is \(teacher.embedDim) wide, the student \(s.config.embedDim): without a projection they must be equal; leave --projection none out" }
    case .dino:
      guard case .projection(let head)? = teacher.head else { return "the teacher has no projection head, which --loss dino compares; use --loss features, or a checkpoint that has it" }
      if head.batchNorm { return "the teacher's head has batch normalisation, which a teacher that stands still does not have here; use --loss features" }
      if head.outDim != s.outDim { return "the teacher's head has \(head.outDim) outputs, the student's \(s.outDim); --out-dim must be the teacher's" }
    }
    return nil
  }
}
