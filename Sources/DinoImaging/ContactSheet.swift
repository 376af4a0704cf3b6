// Many pictures on one: a grid of equal cells, each picture centred in its own, with an optional label under it.

public enum ContactSheet {
  /// A sheet of `columns` pictures a row (default: about square). Cells have the size of the largest picture; labels that are too long
  /// lose their end. Throws where there are no pictures or the sheet would pass `Image`'s sensible size.
  public static func make(_ images: [Image], labels: [String] = [], columns: Int? = nil, gap: Int = 4,
                          background: [UInt8] = [255, 255, 255], text: [UInt8] = [0, 0, 0]) throws(ImageError) -> Image {
    guard !images.isEmpty, background.count == 3, text.count == 3, gap >= 0 else {
      throw .invalidParameter("a contact sheet needs at least one picture, colours of three channels and a gap that is not negative")
    }
    let columns = max(1, min(images.count, columns ?? Int(Double(images.count).squareRoot().rounded(.up))))
    let rows = (images.count + columns - 1) / columns
    let cellWidth = images.map(\.width).max()!, pictureHeight = images.map(\.height).max()!
    let scale = cellWidth >= 96 ? 2 : 1
    let labelHeight = labels.isEmpty ? 0 : Image.textHeight(scale: scale) + 2 * scale
    let cellHeight = pictureHeight + labelHeight
    let width = columns * (cellWidth + gap) + gap, height = rows * (cellHeight + gap) + gap
    guard width <= 1 << 20, height <= 1 << 20, width * height <= 178_956_970 else {
      throw .invalidParameter("a contact sheet of \(width)x\(height) pixels is too large; make the pictures smaller or fewer")
    }
    var sheet = Image(width: width, height: height, color: background)
    for (i, image) in images.enumerated() {
      let left = gap + i % columns * (cellWidth + gap), top = gap + i / columns * (cellHeight + gap)
      sheet.draw(image.rgb(), x: left + (cellWidth - image.width) / 2, y: top + (pictureHeight - image.height) / 2)
      if i < labels.count {
        let fitting = String(labels[i].prefix((cellWidth + scale) / ((BitmapFont.glyphWidth + 1) * scale)))
        sheet.drawText(fitting, x: left + (cellWidth - Image.textWidth(fitting, scale: scale)) / 2, y: top + pictureHeight + scale, color: text, scale: scale)
      }
    }
    return sheet
  }
}
