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
  /// Whether it is of DINOv3's `model_ema`: the student's average, which is the teacher but in a distillation, where that is another network.
  var isAverage = false

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
      if branch == nil, word == Self.average {
        (branch, isAverage) = (.teacher, true)
      } else if branch == nil, let found = CheckpointBranch(rawValue: String(word)) {
        branch = found
      } else if !Self.wrappers.contains(word) {
        break
      }
      rest = rest[rest.index(after: dot)...]
    }
    bare = Self.withoutChunk(rest)
  }

  static let average: Substring = "model_ema"

  /// DINOv2's trainer cuts the blocks into chunks for FSDP: blocks.CHUNK.I, where I goes on through all chunks, and so is never below CHUNK. Numbers that begin anew are another network's.
  private static func withoutChunk(_ name: Substring) -> String {
    let words = name.split(separator: ".", maxSplits: 3, omittingEmptySubsequences: false)
    guard words.count == 4, words[0] == "blocks", let chunk = NameTemplate.blockNumber(words[1]), let block = NameTemplate.blockNumber(words[2]), block >= chunk else { return String(name) }
    return "blocks.\(block).\(words[3])"
  }
}
