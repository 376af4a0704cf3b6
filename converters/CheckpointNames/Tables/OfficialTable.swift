// The names of facebookresearch/dino, dinov2 and dinov3, which are ours; timm's and torch.hub's backbones have the same, but for what comes with registers.

extension NameTable {
  /// facebookresearch/dino, dinov2 and dinov3: VisionTransformer, DINOHead, and a linear classifier.
  public static let official = NameTable(
    name: "official",
    rules: same([
      "cls_token", "pos_embed", "register_tokens", "rope_embed.periods", "patch_embed.proj.{p}",
      "blocks.{i}.norm1.{p}", "blocks.{i}.attn.qkv.weight", "blocks.{i}.attn.proj.{p}", "blocks.{i}.ls1.gamma",
      "blocks.{i}.norm2.{p}", "blocks.{i}.mlp.fc1.{p}", "blocks.{i}.mlp.fc2.{p}", "blocks.{i}.mlp.w12.{p}", "blocks.{i}.mlp.w3.{p}", "blocks.{i}.ls2.gamma",
      "norm.{p}", "head.{p}", "head.mlp.{p}", "head.mlp.{i}.{p}", "head.mlp.{i}.running_mean", "head.mlp.{i}.running_var",
      "head.last_layer.weight_g", "head.last_layer.weight_v",
    ]) + [
      // DINOv3 multiplies the bias by a mask, which takes the keys' away, and has a name of its own for registers.
      NameRule("blocks.{i}.attn.qkv.bias", ["blocks.{i}.attn.qkv.bias"], mask: "blocks.{i}.attn.qkv.bias_mask"),
      NameRule("register_tokens", ["storage_tokens"]),
      // Classifiers of other features than the class token: ours, and DINOv2's beside its backbone.
      NameRule("probe.{p}", ["probe.{p}"]),
      NameRule("probe.{p}", ["linear_head.{p}"]),
      // DINOv2 has gate and value in one layer, DINOv3 in two.
      NameRule("blocks.{i}.mlp.w12.{p}", ["blocks.{i}.mlp.w1.{p}", "blocks.{i}.mlp.w2.{p}"]),
      // torch.nn.utils.parametrizations.weight_norm writes the same two tensors under these names.
      NameRule("head.last_layer.weight_g", ["head.last_layer.parametrizations.weight.original0"]),
      NameRule("head.last_layer.weight_v", ["head.last_layer.parametrizations.weight.original1"]),
    ],
    ignored: trainingState + [
      IgnoreRule(.exact("mask_token"), trainingOnly),
      IgnoreRule(.prefix("local_cls_norm."), "it is used in training only, on local crops"),
      IgnoreRule(.suffix(".num_batches_tracked"), "it is a counter of training steps"),
    ])

  /// Why a mask token is ignored.
  public static let trainingOnly = "it is used in training only"

  /// What training checkpoints have beside the model.
  static let trainingState = [
    IgnoreRule(.prefix("optimizer"), "it is the optimizer's state"),
    IgnoreRule(.prefix("dino_loss"), "it is the loss's state"),
    IgnoreRule(.exact("center"), "it is the loss's state"),
    IgnoreRule(.exact("patch_center"), "it is the loss's state"),
    IgnoreRule(.prefix("gram_teacher."), "it is an earlier teacher, which DINOv3's gram loss compares with"),
    IgnoreRule(.prefix("distill."), "it is a projection that only distillation uses"),
    IgnoreRule(.prefix("fp16_scaler"), "it is the gradient scaler's state"),
    IgnoreRule(.exact("epoch"), "it is the number of epochs trained"),
    IgnoreRule(.prefix("args"), "they are the arguments of the training"),
  ]

  /// Rows whose two sides are equal.
  private static func same(_ templates: [String]) -> [NameRule] {
    templates.map { NameRule(NameTemplate($0), [NameTemplate($0)]) }
  }
}
