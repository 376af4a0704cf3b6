// An ONNX file as a checkpoint: tensors under their official names, with a record as our own files have it. What the file computes by itself is OnnxNetwork.swift.

internal import DinoModels
internal import DinoTensor
internal import ONNXFormat
internal import OnnxConverter

struct OnnxCheckpoint {
  let tensors: [String: Tensor]
  let stored: [StoredTensor]
  /// As a file of our format would have it.
  let metadata: [String: String]
  let losses: [String]
  let notes: [String]

  init(path: String) throws {
    let file = try OnnxFile(path: path)
    try file.checkExternalData()
    let recovered: RecoveredCheckpoint
    do {
      recovered = try CheckpointReader.read(OnnxImporter(file))
    } catch let error as RecoveryError {
      throw DinoError(.unavailable, "\(path): not recognised as a DINO vision transformer: \(error)", hint: "dinoctl run gives the file's own outputs; dinoctl inspect says more")
    }
    tensors = recovered.tensors
    stored = recovered.config.tensors.compactMap { spec in
      recovered.tensors[spec.name].map { StoredTensor(name: spec.name, dtype: $0.dtype, shape: $0.shape.dims) }
    }
    let properties = Dictionary(file.model.metadata.map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
    var record = ModelRecord(config: recovered.config)
    if let text = properties[ModelRecord.Key.preprocessing] { record.preprocessing = try Preprocessing(json: text) }
    if properties["dino.random_weights"] == "true" {
      record.provenance = Provenance(tool: "\(file.model.producerName) \(file.model.producerVersion)".trimmingSuffixSpaces, randomWeights: true)
    }
    record.other[ClassifierHead.metadataKey] = Self.classes(recovered.config, stated: properties[ClassifierHead.metadataKey])?.text
    metadata = try record.metadata()
    (losses, notes) = (recovered.losses, recovered.notes)
  }

  /// What the file says of its classifier, where that is the one which was found in it; of a probe at least what it reads.
  private static func classes(_ config: ViTConfig, stated text: String?) -> ClassifierRecord? {
    let stated = text.flatMap { try? ClassifierRecord($0, depth: config.depth) }
    switch config.head {
    case .classifier(let classes)?: return stated.flatMap { !$0.isProbe && $0.names.count == classes ? $0 : nil }
    case .probe(let probe)?:
      var found = ClassifierRecord(probe)
      if let stated, stated.isProbe, stated.names.count == probe.classes { found.names = stated.names }
      return found
    case .projection?, nil: return nil
    }
  }
}

extension String {
  fileprivate var trimmingSuffixSpaces: String { String(reversed().drop(while: { $0 == " " }).reversed()) }
}
