// What a saved state says of its run, flag by flag, held against what the run that goes on from it is asked for.

internal import Dino
internal import DinoModels
internal import Safetensors

enum RecordedFlags {
  typealias List = [(flag: String, value: String)]

  /// Not a flag: what follows from the batch and the number of images.
  static let steps = "steps an epoch"

  /// What a flag is that is listed only where it is something else.
  private static let unlisted: [String: String] = [
    "--precision": "f32", "--centering": "centering", "--use-bn-in-head": "false", "--koleo-loss-weight": "0.0", "--ibot-loss-weight": "0.0", "--negative-probability": "0.0",
    "--mean": text(Preprocessing.imageNet.mean), "--std": text(Preprocessing.imageNet.std),
  ]

  /// Mean and deviation where they are not ImageNet's.
  static func statistics(_ p: Preprocessing) -> List {
    let all: List = [("--mean", text(p.mean)), ("--std", text(p.std))]
    return all.filter { $0.value != unlisted[$0.flag] }
  }

  /// How photographs are read by a model, under the flags or the keys of its record. Mean and deviation are among the crops'.
  static func reading(_ p: Preprocessing) -> List {
    let resize: String =
      switch p.resize {
      case nil: "none"
      case .shorterSide(let side)?: "\(side)"
      case .exact(let height, let width)?: "\(height)x\(width)"
      }
    return [
      ("resize", resize), ("--interpolation", p.interpolation.rawValue), ("crop", p.crop.map { "\($0)" } ?? "none"), ("crop_rounding", p.cropRounding.rawValue), ("channel_order", p.channelOrder.rawValue),
    ]
  }

  private static func text(_ values: [Double]) -> String { values.map { "\($0)" }.joined(separator: ",") }

  static func json(_ list: List) -> JSONValue { .object(list.map { .init($0.flag, .string($0.value)) }) }

  static func list(_ json: JSONValue?) -> List { (json?.objectValue ?? []).map { (flag: $0.key, value: $0.value.stringValue ?? "") } }

  /// Fails where a flag was another one.
  static func check(_ stored: List, against now: List, except: Set<String> = [], of path: String) throws(DinoError) {
    let flags = Set(now.map(\.flag))
    if let other = stored.first(where: { !flags.contains($0.flag) }) { throw differs(path, other.flag, other.value, unlisted[other.flag]) }
    for (flag, value) in now where !except.contains(flag) {
      let found = stored.first { $0.flag == flag }?.value ?? unlisted[flag]
      if found != value { throw differs(path, flag, found, value) }
    }
  }

  private static func differs(_ path: String, _ flag: String, _ stored: String?, _ now: String?) -> DinoError {
    let was = stored.map { $0.isEmpty ? "with \(flag)" : "with \(flag) \($0)" } ?? "without \(flag)"
    let isNow = now.map { $0.isEmpty ? "now with it" : "now it is \($0)" } ?? "now without it"
    let ofAll = flag == "--batch-size-per-gpu" ? "; the images of a step are those of all processes" : ""
    return DinoError(.usage, "\(path) was trained \(was), \(isNow)", hint: "resume with the flags of the first run\(ofAll)")
  }

  /// The rate for 256 images a step, of a state of earlier versions, which listed it scaled to the batch.
  /// - Parameters:
  ///   - scaled: this run's, which was scaled from `given`.
  static func unscaled(_ stored: String, scaled: Double, given: Double, images: Int) -> String {
    if stored == "\(scaled)" { return "\(given)" }
    return Double(stored).map { "\($0 * 256 / Double(images))" } ?? stored
  }
}
