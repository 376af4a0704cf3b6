// The names of transformers' Dinov2Model and Dinov2WithRegistersModel: those of its folders, and those that its state dict has in memory from version 5 on. Their
// classifiers read the class token and the mean of the patches.

extension NameTable {
  /// transformers: Dinov2Model and Dinov2WithRegistersModel.
  public static let transformersDinov2 = NameTable(
    name: "transformers Dinov2",
    rules: [
      NameRule("cls_token", ["embeddings.cls_token"]),
      NameRule("pos_embed", ["embeddings.position_embeddings"]),
      NameRule("register_tokens", ["embeddings.register_tokens"]),
      NameRule("patch_embed.proj.{p}", ["embeddings.patch_embeddings.projection.{p}"]),
      NameRule("blocks.{i}.norm1.{p}", ["encoder.layer.{i}.norm1.{p}"]),
      NameRule("blocks.{i}.attn.qkv.{p}", [
        "encoder.layer.{i}.attention.attention.query.{p}",
        "encoder.layer.{i}.attention.attention.key.{p}",
        "encoder.layer.{i}.attention.attention.value.{p}",
      ]),
      NameRule("blocks.{i}.attn.proj.{p}", ["encoder.layer.{i}.attention.output.dense.{p}"]),
      NameRule("blocks.{i}.ls1.gamma", ["encoder.layer.{i}.layer_scale1.lambda1"]),
      NameRule("blocks.{i}.norm2.{p}", ["encoder.layer.{i}.norm2.{p}"]),
      NameRule("blocks.{i}.mlp.fc1.{p}", ["encoder.layer.{i}.mlp.fc1.{p}"]),
      NameRule("blocks.{i}.mlp.fc2.{p}", ["encoder.layer.{i}.mlp.fc2.{p}"]),
      NameRule("blocks.{i}.mlp.w12.{p}", ["encoder.layer.{i}.mlp.weights_in.{p}"]),
      NameRule("blocks.{i}.mlp.w3.{p}", ["encoder.layer.{i}.mlp.weights_out.{p}"]),
      NameRule("blocks.{i}.ls2.gamma", ["encoder.layer.{i}.layer_scale2.lambda1"]),
      NameRule("norm.{p}", ["layernorm.{p}"]),
      NameRule("probe.{p}", ["classifier.{p}"]),
    ],
    ignored: transformersViT.ignored)

  /// The same in memory, as torch.save of a state dict writes them.
  public static let transformers5Dinov2 = NameTable(
    name: "transformers 5 Dinov2",
    rules: transformersDinov2.rules.map { rule in
      switch rule.official.text {
      case "blocks.{i}.attn.qkv.{p}": NameRule(rule.official, ["q", "k", "v"].map { NameTemplate("encoder.layer.{i}.attention.\($0)_proj.{p}") })
      case "blocks.{i}.attn.proj.{p}": NameRule(rule.official, ["encoder.layer.{i}.attention.o_proj.{p}"])
      case "blocks.{i}.mlp.w12.{p}": NameRule(rule.official, ["gate", "up"].map { NameTemplate("encoder.layer.{i}.mlp.\($0)_proj.{p}") })
      case "blocks.{i}.mlp.w3.{p}": NameRule(rule.official, ["encoder.layer.{i}.mlp.down_proj.{p}"])
      default: rule
      }
    },
    ignored: transformersViT.ignored)
}
