// The names of transformers' DINOv3ViTModel, whose keys have no bias unless its configuration says so, and whose positions are computed.

extension NameTable {
  /// transformers: DINOv3ViTModel.
  public static let transformersDinov3 = NameTable(
    name: "transformers DINOv3",
    rules: [
      NameRule("cls_token", ["embeddings.cls_token"]),
      NameRule("register_tokens", ["embeddings.register_tokens"]),
      NameRule("patch_embed.proj.{p}", ["embeddings.patch_embeddings.{p}"]),
      NameRule("blocks.{i}.norm1.{p}", ["layer.{i}.norm1.{p}"]),
      NameRule("blocks.{i}.attn.qkv.weight", ["q", "k", "v"].map { NameTemplate("layer.{i}.attention.\($0)_proj.weight") }),
      NameRule("blocks.{i}.attn.qkv.bias", ["q", "v"].map { NameTemplate("layer.{i}.attention.\($0)_proj.bias") }, leavesOutKeys: true),
      NameRule("blocks.{i}.attn.proj.{p}", ["layer.{i}.attention.o_proj.{p}"]),
      NameRule("blocks.{i}.ls1.gamma", ["layer.{i}.layer_scale1.lambda1"]),
      NameRule("blocks.{i}.norm2.{p}", ["layer.{i}.norm2.{p}"]),
      NameRule("blocks.{i}.mlp.fc1.{p}", ["layer.{i}.mlp.up_proj.{p}"]),
      NameRule("blocks.{i}.mlp.fc2.{p}", ["layer.{i}.mlp.down_proj.{p}"]),
      NameRule("blocks.{i}.ls2.gamma", ["layer.{i}.layer_scale2.lambda1"]),
      NameRule("norm.{p}", ["norm.{p}"]),
    ],
    ignored: transformersViT.ignored, isRotary: true)

  /// The same where `key_bias` is true.
  public static let transformersDinov3KeyBias = transformersDinov3.withKeyBias

  var withKeyBias: NameTable {
    NameTable(
      name: name + " with a bias of keys",
      rules: rules.map { rule in
        guard rule.leavesOutKeys else { return rule }
        return NameRule(rule.official, ["q", "k", "v"].map { NameTemplate("layer.{i}.attention.\($0)_proj.bias") })
      },
      ignored: ignored, isRotary: true)
  }
}
