// Weights to start a training from other than random ones: a model, or a checkpoint of a training with other settings (longer, other crops, another head). The optimizer
// starts anew; going on with the same settings is TrainingState's.

public import Dino
internal import DinoGraph
internal import DinoKernels
internal import DinoModels
internal import DinoTensor
internal import Safetensors

public enum StartingWeights {
  /// Puts what fits of a file into a trainer that has done no step. Positions of another grid are resampled; a head of another shape stays random.
  /// - Returns: what was not taken as it is, each a sentence.
  public static func load(_ path: String, into trainer: Trainer) throws(DinoError) -> [String] {
    precondition(trainer.step == 0)
    let heads = trainer.settings.config.numHeads
    let teacher = try Checkpoint(path: path, choices: CheckpointChoices(key: nil, heads: heads))
    let student = teacher.branch == nil ? teacher : try Checkpoint(path: path, choices: CheckpointChoices(key: "student", heads: heads))
    var notes: [String] = []
    let both = [(trainer.student, try fitted(student, trainer, &notes)), (trainer.teacher, try fitted(teacher, trainer, &notes))]
    for (block, tensors) in both { for (i, tensor) in tensors { block.set(i, to: tensor) } }
    if let center = (try? SafetensorsFile(path: path))?.tensor("center"), center.shape == trainer.center.shape, center.dtype == .f32 { trainer.center.overwrite(with: center.floats()) }
    var told: Set<String> = []
    return notes.filter { told.insert($0).inserted }
  }

  private static func fitted(_ checkpoint: Checkpoint, _ trainer: Trainer, _ notes: inout [String]) throws(DinoError) -> [(index: Int, tensor: Tensor)] {
    let found = try checkpoint.weights(), config = trainer.settings.config
    var result: [(index: Int, tensor: Tensor)] = []
    var leftOut = 0
    for (i, name) in trainer.names.enumerated() {
      let shape = trainer.student.tensors[i].shape, isHead = name.hasPrefix("head.")
      if let tensor = found[name], tensor.shape == shape, tensor.dtype.convertsToFloat {
        result.append((i, tensor))
      } else if name == "pos_embed", let tensor = found[name], tensor.shape[2] == shape[2] {
        let from = checkpoint.config, special = shape[1] - config.nativeRows * config.nativeColumns, width = shape[2], values = tensor.floats()
        let resampling = PositionResampling(nativeRows: from.nativeRows, nativeColumns: from.nativeColumns, toRows: config.nativeRows, toColumns: config.nativeColumns, resize: .antialiased)
        let grid = resampling.apply(Array(values[(special * width)...]), nativeColumns: from.nativeColumns, width: width)
        result.append((i, Tensor(Array(values[..<(special * width)]) + grid, shape: shape)))
        notes.append("positions resampled from \(from.nativeRows)x\(from.nativeColumns) to \(config.nativeRows)x\(config.nativeColumns)")
      } else if isHead {
        leftOut += 1
      } else {
        throw DinoError(.data, "\(checkpoint.path): '\(name)' is \(found[name].map { "\($0.shape)" } ?? "missing"), here it is \(shape)", hint: "give the file's --width, --depth, --heads and --patch-size")
      }
    }
    if leftOut > 0 { notes.append("\(leftOut) tensors of the projection head are not in the file or of another shape: they start at random") }
    return result
  }
}
