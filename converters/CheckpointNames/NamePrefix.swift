// What stands before a tensor's name in training checkpoints and flat files: wrappers ("module.", "backbone.") and the branch ("teacher.", "student.").

/// The two networks of a DINO training checkpoint.
public enum CheckpointBranch: String, Sendable, Hashable, CaseIterable { case teacher, student }

/// A name taken apart.
struct PrefixedName: Hashable {
  /// As in the file.
  var full: String
  /// Without wrappers.
  var bare: String
  var branch: CheckpointBranch?

  /// Words that only wrap: torch's DataParallel and compile, the original's MultiCropWrapper, common containers, transformers' and Lightning's.
  static let wrappers: Set<Substring> = ["module", "backbone", "model", "state_dict", "_orig_mod", "vit", "dinov2", "dinov2_with_registers", "dinov3_vit"]
  /// More than this is not a wrapper but a joke.
  static let wordLimit = 16

  init(_ full: String) {
    self.full = full
    var rest = full[...]
    for _ in 0..<Self.wordLimit {
      guard let dot = rest.firstIndex(of: ".") else { break }
      let word = rest[..<dot]
      if let found = CheckpointBranch(rawValue: String(word)), branch == nil {
        branch = found
      } else if !Self.wrappers.contains(word) {
        break
      }
      rest = rest[rest.index(after: dot)...]
    }
    bare = String(rest)
  }
}
