// The preparer of a command: the model's record, the user's options over it, and a line where something was assumed.

internal import Dino

enum Preparing {
  /// For features: the record's preprocessing, or the official evaluation's.
  static func preparer(_ model: DinoModel, _ changes: PreprocessingChanges, exifOrientation: Bool) throws -> ImagePreparer {
    var preparer = try model.preparer(changes)
    preparer.followsOrientation = exifOrientation
    do { try preparer.checkSize() } catch {
      // A size that the user did not give is the record's mistake.
      throw Failure(error.kind == .usage && changes.size == nil ? .data : ExitStatus(error.kind), error.message, hint: error.hint)
    }
    tell(preparer, model, changes)
    return preparer
  }

  /// For attention: as visualize_attention.py, 480 × 480 bilinear, unless the user says otherwise; mean and deviation as for features.
  static func attentionPreparer(_ model: DinoModel, _ changes: PreprocessingChanges, exifOrientation: Bool) throws -> ImagePreparer {
    var changes = changes
    if changes.recordFile == nil {
      changes.size = changes.size ?? .exact(height: 480, width: 480)
      changes.interpolation = changes.interpolation ?? "bilinear"
    }
    return try preparer(model, changes, exifOrientation: exifOrientation)
  }

  private static func tell(_ preparer: ImagePreparer, _ model: DinoModel, _ changes: PreprocessingChanges) {
    if model.preprocessingIsAssumed && !changes.isComplete {
      Terminal.note("\(model.checkpoint.path) says nothing about preprocessing; assumed: \(preparer.summary)")
    }
  }
}
