// What may be left out of a file though no table knows it. A network that is computed without one of its tensors gives other features, which look right: so what is not known to stand beside
// a network is taken for a part of it.

extension NameResolution {
  /// Names that no table knows and that are not known to stand beside the network, in the order of names.
  public var takingPart: [String] {
    // Where the network is under a wrapper, what is not under it is another module.
    let patches = sources["patch_embed.proj.weight"]?.names.first
    let wrapper = patches.map { $0.dropLast(PrefixedName($0).bare.count) } ?? ""
    return unmatched.filter { name in
      let first = PrefixedName(name).bare.prefix { $0 != "." }
      if LeftOver.partsOfOthers.contains(first) { return true }
      return name.hasPrefix(wrapper) && first != LeftOver.layer && !first.split(separator: "_").contains { LeftOver.beside.contains($0) }
    }
  }
}

extension NameMapping {
  /// Parts of vision transformers that are not read here, by timm's names: they say what a network is where the shapes that they change only puzzle.
  public var partsOfOtherNetworks: [String] { unmatched.filter { name in name.split(separator: ".").contains { LeftOver.partsOfOthers.contains($0) } } }
}

private enum LeftOver {
  /// A second token of classes, norms in other places, pooling by attention.
  static let partsOfOthers: Set<Substring> = ["dist_token", "norm_pre", "fc_norm", "cls_norm", "attn_pool"]
  /// A word of the first component of a name, without wrappers: heads, losses and other modules that read what the network gives, or have to do with its training alone.
  static let beside: Set<Substring> = [
    "head", "heads", "classifier", "linear", "probe", "decoder", "decode", "mask", "masked", "projector", "projection", "predictor", "prototypes", "queue", "loss", "criterion", "optimizer", "scheduler",
    "teacher", "student", "momentum", "ema", "neck", "aux", "auxiliary", "text", "metric", "metrics",
  ]
  /// torchvision's classifier, the whole component.
  static let layer: Substring = "fc"
}
