// What a state of dinoctl train, distill or finetune says of its network besides the tensors, so that it is used as the model that the run makes. The state itself is DinoTraining's.

internal import DinoModels
internal import Safetensors

struct TrainingRecord {
  /// Metadata of the two kinds of states.
  private static let keys = ["dino.training", "dino.finetuning"]
  var heads: Int?
  var preprocessing: Preprocessing?
  /// Names of the classes; empty where it has none.
  var classes: [String] = []

  /// What is not there or cannot be read says nothing.
  init(metadata: [String: String]) {
    guard let text = Self.keys.compactMap({ metadata[$0] }).first, let json = try? JSONValue.parse(text) else { return }
    heads = json["settings"]?["--heads"]?.stringValue.flatMap { Int($0) }
    preprocessing = json["preprocessing"]?.stringValue.flatMap { try? Preprocessing(json: $0) }
    classes = (json["classes"]?.arrayValue ?? []).compactMap(\.stringValue)
  }
}
