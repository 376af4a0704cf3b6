// The names that transformers' ViTModel has in memory from version 5 on, as torch.save of its state dict writes them; its own folders keep the older ones.

extension NameTable {
  /// transformers 5: ViTModel, and ViTForImageClassification's classifier.
  public static let transformers5ViT = NameTable(
    name: "transformers 5 ViT",
    rules: [
      NameRule("cls_token", ["embeddings.cls_token"]),
      NameRule("pos_embed", ["embeddings.position_embeddings"]),
      NameRule("patch_embed.proj.{p}", ["embeddings.patch_embeddings.projection.{p}"]),
      NameRule("blocks.{i}.norm1.{p}", ["layers.{i}.layernorm_before.{p}"]),
      NameRule("blocks.{i}.attn.qkv.{p}", ["layers.{i}.attention.q_proj.{p}", "layers.{i}.attention.k_proj.{p}", "layers.{i}.attention.v_proj.{p}"]),
      NameRule("blocks.{i}.attn.proj.{p}", ["layers.{i}.attention.o_proj.{p}"]),
      NameRule("blocks.{i}.norm2.{p}", ["layers.{i}.layernorm_after.{p}"]),
      NameRule("blocks.{i}.mlp.fc1.{p}", ["layers.{i}.mlp.fc1.{p}"]),
      NameRule("blocks.{i}.mlp.fc2.{p}", ["layers.{i}.mlp.fc2.{p}"]),
      NameRule("norm.{p}", ["layernorm.{p}"]),
      NameRule("head.{p}", ["classifier.{p}"]),
    ],
    ignored: transformersViT.ignored)
}
