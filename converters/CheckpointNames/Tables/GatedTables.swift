// Where a library's names of a gated feed-forward part are those of a plain one: tables of the gated networks, and timm's packed gates, which only shapes tell.

extension NameTable {
  /// transformers: DINOv3ViTModel with `use_gated_mlp`. Its `up_proj` alone is a plain part's first layer.
  public static let transformersDinov3Gated = transformersDinov3.gated(["layer.{i}.mlp.gate_proj.{p}", "layer.{i}.mlp.up_proj.{p}"], "layer.{i}.mlp.down_proj.{p}")

  /// The same where `key_bias` is true.
  public static let transformersDinov3GatedKeyBias = transformersDinov3Gated.withKeyBias

  /// timm: Eva as vit_small_plus_patch16_dinov3, vit_huge_plus_patch16_dinov3 and vit_7b_patch16_dinov3 have it.
  public static let timmDinov3Gated = timmDinov3.gated(["blocks.{i}.mlp.fc1_g.{p}", "blocks.{i}.mlp.fc1_x.{p}"], "blocks.{i}.mlp.fc2.{p}")

  /// The same names but for feed-forward parts, which are gated.
  private func gated(_ first: [NameTemplate], _ second: NameTemplate) -> NameTable {
    let others = rules.filter { !$0.official.text.hasPrefix("blocks.{i}.mlp.") }
    return NameTable(name: name, rules: others + [NameRule("blocks.{i}.mlp.w12.{p}", first), NameRule("blocks.{i}.mlp.w3.{p}", [second])], ignored: ignored, isRotary: isRotary)
  }
}

/// timm's DINOv2 giant: gate and value in one layer, as the original has them, under the names of a plain part.
public enum PackedGates {
  private static let names = [(timm: ".mlp.fc1.", official: ".mlp.w12."), (timm: ".mlp.fc2.", official: ".mlp.w3.")]

  /// What timm calls a tensor of a network with gated parts.
  public static func timm(_ official: String) -> String { names.reduce(official) { $0.replacing($1.official, with: $1.timm) } }

  /// The mapping with the official names, where the first block's first layer has twice as many rows as the second has columns.
  public static func unpacked(_ mapping: NameMapping) -> NameMapping {
    guard let before = mapping.sources["blocks.0.mlp.fc1.weight"]?.shape, let behind = mapping.sources["blocks.0.mlp.fc2.weight"]?.shape, before.count == 2, behind.count == 2, behind[1] > 0,
      before[0].isMultiple(of: 2), before[0] / 2 == behind[1]
    else { return mapping }
    // A file that has both forms is no such network.
    guard !mapping.sources.keys.contains(where: { name in names.contains { name.contains($0.official) } }) else { return mapping }
    var result = mapping
    result.sources = Dictionary(uniqueKeysWithValues: mapping.sources.map { name, source in (names.reduce(name) { $0.replacing($1.timm, with: $1.official) }, source) })
    return result
  }
}
