// dinoctl finetune: a network for a task of one's own, learnt from labelled photographs: what may be asked for. The two tasks are FinetuneClassification and FinetuneSegmentation; a
// classifier on frozen features is dinoctl linear's.

internal import ArgumentParser
internal import Dino
internal import DinoModels

struct Finetune: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Train a whole network on labelled photographs, or a segmentation head on its patch tokens.",
    discussion: """
      --task classification (default): every weight is trained with a linear classifier on the class token, on --data, which has one folder a class: cross-entropy with smoothed labels, AdamW, \
      a rate that rises linearly and falls on a cosine, and is smaller in earlier blocks (--layer-decay, as BEiT and MAE fine-tune), drop path, crops at random, mirrored half of \
      the time. --image-size is the crop's side, --batch-size the images of a step (default 64), to which the rate is scaled. Where the file carries a classifier of the same classes (dinoctl linear's), the classifier starts from it. --from-scratch starts from \
      random weights instead, of the shape of --model, of --arch, or of --width, --depth and --heads: the supervised twin of a network trained without labels. \
      --output-dir gets model.safetensors, which dinoctl classify uses, checkpoint.safetensors (everything that --resume needs), log.jsonl and epochs.jsonl. Stopped at any moment, the same \
      command with --resume goes on to the same weights. Of a photograph that cannot be read the name is said, another takes its place, and the exit code is 1.
      --task segmentation: one linear layer from each patch token after the last norm to the classes of the masks; the backbone stays as it is. Each photograph of --data has a mask of the \
      same size and path (any ending) below --masks, or of the same name where only one has it: grey, each level a class, 0 the background, or in the colours of DAVIS and PASCAL VOC, whose void (255) is not learnt from. All are read as colours where one is. \(MaskSet.help) A patch has the class under its centre. The layer \
      is the minimum of dinoctl linear's logistic regression, so there is no rate to choose. -o writes the model with its head; dinoctl segment --method head uses it, and \
      dinoctl evaluate segmentation --methods head measures it. Photographs are read at 480x480 bilinear unless --image-size, --interpolation or --preprocessing say otherwise; the head keeps how, and both read them so.
      """)

  @Option(name: .customLong("model"), help: ArgumentHelp("The checkpoint to start from: any that dinoctl reads. With --from-scratch only its shape and preprocessing count.", valueName: "file-or-folder"), completion: .file())
  var model: String?

  @OptionGroup var checkpoint: CheckpointOptions
  @OptionGroup var running: RunningOptions
  @OptionGroup var preprocessing: PreprocessingOptions
  @OptionGroup var reading: ReadingOptions

  @Option(help: "What to learn: classification or segmentation.")
  var task = Task.classification

  @Option(help: ArgumentHelp("The photographs; for classification in one folder a class.", valueName: "dir"), completion: .file())
  var data: String

  @OptionGroup(title: "Classification") var recipe: FinetuneOptions

  @Option(help: ArgumentHelp("segmentation: the masks of the photographs.", valueName: "dir"), completion: .directory)
  var masks: String?

  @Option(name: .customLong("c"), help: "segmentation: the inverse of the regularisation, scikit-learn's C.")
  var inverseRegularization = 1.0

  @Option(help: "segmentation: learn from so many patches at most, spread over all photographs.")
  var patches = 500_000

  @Option(name: .shortAndLong, help: ArgumentHelp("segmentation: write the model with its head.", valueName: "file.safetensors"), completion: .file())
  var output: String?

  enum Task: String, ExpressibleByArgument, CaseIterable { case classification, segmentation }

  func validate() throws {
    if !(inverseRegularization > 0 && inverseRegularization.isFinite) { throw ValidationError("--c must be above 0, not \(inverseRegularization)") }
    if patches < 2 || patches > 100_000_000 { throw ValidationError("--patches must be from 2 to 100000000, not \(patches)") }
    switch task {
    case .classification:
      if masks != nil || output != nil { throw ValidationError("--masks and -o go with --task segmentation; classification writes into --output-dir") }
      if let flag = GivenFlags.all().first(where: { ["--c", "--patches"].contains($0) }) { throw ValidationError("\(flag) goes with --task segmentation") }
      if recipe.outputDir == nil { throw ValidationError("--task classification needs --output-dir, the folder for its results") }
      if model == nil && !recipe.fromScratch { throw ValidationError("--model is needed, or --from-scratch for random weights") }
      if !recipe.fromScratch && (recipe.width != nil || recipe.depth != nil || recipe.patchSize != nil) { throw ValidationError("--width, --depth and --patch-size go with --from-scratch") }
    case .segmentation:
      if let flag = GivenFlags.all().first(where: FinetuneOptions.flags.contains) { throw ValidationError("\(flag) goes with --task classification; segmentation has one minimum to find, and writes -o") }
      try running.refuseBatchSize(of: "finetune --task segmentation")
      if model == nil { throw ValidationError("--task segmentation needs --model") }
      guard masks != nil, let output else { throw ValidationError("--task segmentation needs --masks and -o") }
      if !output.hasSuffix(".safetensors") { throw ValidationError("-o writes a file that ends in .safetensors, not \(output)") }
    }
  }

  func run() throws {
    switch task {
    case .classification: try runClassification(folder: recipe.outputDir ?? "")
    case .segmentation: try runSegmentation(masks: masks ?? "", output: output ?? "")
    }
  }

  func loadedModel() throws -> DinoModel { try ModelOptions.load(model ?? "", checkpoint, running) }
}
