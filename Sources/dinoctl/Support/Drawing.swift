// Pictures of results: heat maps, masks, overlays. What is drawn is decided here, how in DinoImaging.

internal import Dino
internal import DinoImaging

enum Drawing {
  /// White where the mask is, black elsewhere; one channel.
  static func image(_ mask: PixelMask) -> Image { Image(width: mask.width, height: mask.height, channels: 1, pixels: mask.values) }

  /// The map from its least to its greatest value in the colours of matplotlib's viridis, each patch a square: what visualize_attention.py saves.
  static func heatMap(_ map: PatchMap, patch: Int) -> Image {
    HeatMap(width: map.columns, height: map.rows, values: map.values).resized(width: map.columns * patch, height: map.rows * patch, .nearest).image(.viridis)
  }

  /// Several masks, a colour each, nil for one that is nowhere; one alone as `overlay` of it.
  static func overlay(_ masks: [PixelMask?], on photograph: Image) -> Image {
    if masks.count == 1, let only = masks[0] { return overlay(only, on: photograph) }
    return masks.enumerated().reduce(photograph) { picture, item in
      guard case (let k, let mask?) = item else { return picture }
      return picture.overlaying(Mask(width: mask.width, height: mask.height, values: mask.values), color: ColorMap.categorical(k + 1))
    }
  }

  /// The mask as a tint with an outline over a photograph of the same size.
  static func overlay(_ mask: PixelMask, on photograph: Image) -> Image {
    photograph.overlaying(Mask(width: mask.width, height: mask.height, values: mask.values.map { $0 > 0 ? 1 : 0 }))
  }

  static func writePNG(_ image: Image, to path: String) throws {
    do { try PNGEncoder.write(image, to: path) } catch { throw DinoError(error) }
  }
}
