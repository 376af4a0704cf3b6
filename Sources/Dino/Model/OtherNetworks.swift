// Files of vision transformers that are near to those that are read here: what they have, or lack, says more than the shapes that do not fit because of it.

internal import CheckpointNames
internal import DinoModels

enum OtherNetworks {
  /// A tensor that is not known, by its place part of the network.
  static func refusal(_ names: [String], path: String, hint: String? = nil) -> DinoError? {
    guard let first = names.first else { return nil }
    return DinoError(.unavailable, "\(path): the tensor '\(first)'\(names.count > 1 ? " and \(names.count - 1) more take" : " takes") part in what this network computes, and this version does not know what",
                     hint: hint)
  }

  /// Why a file without a record could not be understood.
  /// - Parameter error: what its shapes gave.
  static func reason(_ error: any Error, mapping: NameMapping, hasConfiguration: Bool, path: String) -> any Error {
    func unread(_ what: String) -> DinoError { DinoError(.unavailable, "\(path): \(what) not read by this version") }
    let isTransformer = mapping.sources["patch_embed.proj.weight"] != nil && mapping.sources["blocks.0.norm1.weight"] != nil
    if isTransformer, mapping.sources["cls_token"] == nil, !mapping.unmatched.contains(where: { $0.contains("cls_token") }) {
      return unread("none of its tensors is 'cls_token', and networks without a class token are")
    }
    if let refusal = refusal(mapping.partsOfOtherNetworks, path: path) { return refusal }
    guard case .invalid(key: "position_embedding.native_grid", reason: _)? = error as? ModelError else { return error }
    if let positions = mapping.sources["pos_embed"], positions.leavesOutClassToken, let registers = mapping.shapes["register_tokens"], registers.count == 3, positions.shape.count == 3 {
      let patches = positions.shape[1] - 2 - registers[1]
      if isSquare(patches) { return unread("'pos_embed' has positions of the class token and of \(registers[1]) registers before those of \(patches) patches, and positions of registers are") }
    }
    var known = DinoError(error, path: path)
    if !hasConfiguration {
      known.hint = "as model.safetensors or pytorch_model.bin in a folder it is read with a config.json as timm writes it: {\"architecture\": \"vit_small_patch16_224\", \"model_args\": {\"img_size\": [HEIGHT, WIDTH]}}"
    }
    return known
  }

  static func isSquare(_ count: Int) -> Bool {
    guard count > 0 else { return false }
    let side = Int(Double(count).squareRoot().rounded())
    return side * side == count
  }
}
