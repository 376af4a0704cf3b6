// The names of timm's DINOv3: its Eva, in which queries and values have a bias, or nothing has one, and positions are computed.

extension NameTable {
  /// timm: Eva as vit_*_patch16_dinov3 and vit_*_patch16_dinov3_qkvb have it.
  public static let timmDinov3 = NameTable(
    name: "timm DINOv3",
    rules: official.rules.compactMap { rule in
      switch rule.official.text {
      case "pos_embed", "rope_embed.periods": nil
      case "register_tokens": rule.sources == [rule.official] ? NameRule(rule.official, ["reg_token"]) : nil
      case "blocks.{i}.attn.qkv.bias": NameRule(rule.official, ["blocks.{i}.attn.q_bias", "blocks.{i}.attn.v_bias"], leavesOutKeys: true)
      case "blocks.{i}.ls1.gamma": NameRule(rule.official, ["blocks.{i}.gamma_1"])
      case "blocks.{i}.ls2.gamma": NameRule(rule.official, ["blocks.{i}.gamma_2"])
      default: rule
      }
    },
    ignored: official.ignored, isRotary: true)
}
