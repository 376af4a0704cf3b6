// Positions of the patches alone, in networks without registers: timm's `no_embed_class`, as DeiT III has it. They have the official name; only their number tells.

public enum PatchPositions {
  /// The mapping with zeros as the class token's position, where the file's positions are those of a grid and would be none without the first.
  /// - Parameter isGrid: whether so many patches are the network's native grid.
  public static func completed(_ mapping: NameMapping, isGrid: (Int) -> Bool) -> NameMapping {
    guard mapping.table == NameTable.official.name, let source = mapping.sources["pos_embed"], source.shape.count == 3, source.shape[0] == 1, (2...(1 << 24)).contains(source.shape[1]),
      mapping.sources["cls_token"] != nil, mapping.sources["register_tokens"] == nil, isGrid(source.shape[1]), !isGrid(source.shape[1] - 1)
    else { return mapping }
    var result = mapping
    result.sources["pos_embed"]?.shape[1] += 1
    result.sources["pos_embed"]?.leavesOutClassToken = true
    return result
  }
}
