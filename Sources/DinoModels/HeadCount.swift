// The number of attention heads: the one thing that the shapes of an official file do not say. The order in which sources are asked is contract.

/// Where the number of heads was found.
public enum HeadCountSource: String, Sendable, Hashable {
  case option = "--heads"
  case record = "dino.config"
  case configFile = "config.json"
  case arguments = "args"
  case periods = "rope_embed.periods"
  case registry
  /// 64 columns a head.
  case width
}

public enum HeadCount {
  /// Widths of ViT-H, ViT-g and ViT-G, which have 16 heads of more than 64 columns.
  private static let widerHeads: Set = [1280, 1408, 1664]

  /// The number of heads from the first source that knows it: the option, our record, config.json, what the training was asked for (heads, then the
  /// architecture), the periods of rotary positions that the file holds, the registry by width and depth, width/64 where it divides and no well-known architecture of that width has others.
  /// - Parameters:
  ///   - configFileKey: what config.json calls them.
  ///   - argumentsHeads: of the checkpoint's `args`, or of a training's state; a number that does not divide the width is passed over.
  ///   - argumentsArchitecture: `args.arch`, "vit_small"; a name that is not known, or is of another width, is passed over.
  ///   - periods: how many there are, one for four columns of a head; a number that does not divide the width is passed over.
  /// - Throws: `.unknownHeads` where none knows it; `.invalid` where the first that does contradicts the width.
  public static func resolve(width: Int, depth: Int, option: Int? = nil, record: Int? = nil, configFile: Int? = nil, configFileKey: String = "num_attention_heads",
                             argumentsHeads: Int? = nil, argumentsArchitecture: String? = nil, periods: Int? = nil) throws(ModelError) -> (heads: Int, source: HeadCountSource) {
    for (heads, source) in [(option, HeadCountSource.option), (record, .record), (configFile, .configFile)] {
      guard let heads else { continue }
      guard heads > 0, heads <= width, width % heads == 0 else {
        let key = source == .option ? "--heads" : "\(source.rawValue) \(source == .configFile ? configFileKey : "num_heads")"
        throw .invalid(key: key, reason: "\(heads) heads do not divide the width \(width)")
      }
      return (heads, source)
    }
    if let heads = argumentsHeads, heads > 0, heads <= width, width % heads == 0 { return (heads, .arguments) }
    if let name = argumentsArchitecture, let named = Registry.architecture(named: name), named.embedDim == width { return (named.numHeads, .arguments) }
    if let periods, periods > 0, width % 4 == 0, width / 4 % periods == 0, periods <= width / 4 { return (width / 4 / periods, .periods) }
    // DINOv3's H+ has other heads than a ViT-H of the same width and depth.
    if !widerHeads.contains(width) {
      if let heads = Registry.heads(width: width, depth: depth) { return (heads, .registry) }
      if width > 0, width % 64 == 0 { return (width / 64, .width) }
    }
    throw .unknownHeads(width: width, depth: depth)
  }
}
