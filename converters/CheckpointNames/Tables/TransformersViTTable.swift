// The names of transformers' ViTModel, in which the DINO v1 checkpoints of its hub are stored. Query, key and value are three tensors there. Its
// config.json gives `layer_norm_eps`; what the hub's DINO files say there (1e-12) differs from the original's 1e-6.

extension NameTable {
  /// transformers: ViTModel, and ViTForImageClassification's classifier (its prefix `vit.` is stripped before).
  public static let transformersViT = NameTable(
    name: "transformers ViT",
    rules: [
      NameRule("cls_token", ["embeddings.cls_token"]),
      NameRule("pos_embed", ["embeddings.position_embeddings"]),
      NameRule("patch_embed.proj.{p}", ["embeddings.patch_embeddings.projection.{p}"]),
      NameRule("blocks.{i}.norm1.{p}", ["encoder.layer.{i}.layernorm_before.{p}"]),
      NameRule("blocks.{i}.attn.qkv.{p}", [
        "encoder.layer.{i}.attention.attention.query.{p}",
        "encoder.layer.{i}.attention.attention.key.{p}",
        "encoder.layer.{i}.attention.attention.value.{p}",
      ]),
      NameRule("blocks.{i}.attn.proj.{p}", ["encoder.layer.{i}.attention.output.dense.{p}"]),
      NameRule("blocks.{i}.norm2.{p}", ["encoder.layer.{i}.layernorm_after.{p}"]),
      NameRule("blocks.{i}.mlp.fc1.{p}", ["encoder.layer.{i}.intermediate.dense.{p}"]),
      NameRule("blocks.{i}.mlp.fc2.{p}", ["encoder.layer.{i}.output.dense.{p}"]),
      NameRule("norm.{p}", ["layernorm.{p}"]),
      NameRule("head.{p}", ["classifier.{p}"]),
    ],
    ignored: [
      IgnoreRule(.prefix("pooler."), "the pooler is a layer of transformers' own; cls is the class token"),
      IgnoreRule(.exact("embeddings.mask_token"), trainingOnly),
      IgnoreRule(.exact("embeddings.position_ids"), "it is a list of numbers that follows from the shape"),
    ])
}
