// The preparer of a command: the model's record, the user's options over it, and a line where something was assumed.

internal import Dino
internal import DinoModels

enum Preparing {
  /// For features: the record's preprocessing, or the official evaluation's.
  /// - Parameter record: what takes the place of the model's record.
  static func preparer(_ model: DinoModel, _ changes: PreprocessingChanges, over record: Preprocessing? = nil, exifOrientation: Bool) throws -> ImagePreparer {
    var preparer = try model.preparer(changes, over: record)
    preparer.followsOrientation = exifOrientation
    do { try preparer.checkSize() } catch {
      // A size that the user did not give is the record's mistake.
      throw Failure(error.kind == .usage && changes.size == nil ? .data : ExitStatus(error.kind), error.message, hint: error.hint)
    }
    tell(preparer, model, changes)
    return preparer
  }

  /// For attention: as visualize_attention.py, 480 × 480 bilinear, unless the user says otherwise; mean and deviation as for features.
  /// - Parameter head: whose photographs are read instead as those that it learnt from, where its file says how.
  static func attentionPreparer(_ model: DinoModel, _ changes: PreprocessingChanges, head: SegmentationHead? = nil, exifOrientation: Bool) throws -> ImagePreparer {
    if let record = head?.preprocessing { return try preparer(model, changes, over: record, exifOrientation: exifOrientation) }
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
