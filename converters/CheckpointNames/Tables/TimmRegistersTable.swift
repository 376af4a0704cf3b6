// The names of timm's DINOv2 with registers. Its positions are added to the patches alone (no_embed_class); the class token's has been added to that token.

extension NameTable {
  /// timm: VisionTransformer with `reg_token`.
  public static let timmRegisters = NameTable(
    name: "timm",
    rules: official.rules.compactMap { rule in
      switch rule.official.text {
      case "pos_embed": NameRule(rule.official, rule.sources, leavesOutClassToken: true)
      case "register_tokens": rule.sources == [rule.official] ? NameRule(rule.official, ["reg_token"]) : nil
      default: rule
      }
    },
    ignored: official.ignored)
}
