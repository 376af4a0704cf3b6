// A tiny font for labels on contact sheets: 3 × 5 pixels a character, capitals, digits and ASCII punctuation, drawn for this project.
// Small letters are drawn as capitals, everything else as a box. Not for typesetting.

enum BitmapFont {
  static let glyphWidth = 3
  static let glyphHeight = 5

  /// Five rows of three dots as octal digits, top first.
  static let glyphs: [Character: [UInt8]] = {
    let table = """
      A25755 B65656 C34443 D65556 E74647 F74644 G34553 H55755 I72227 J11152 K55655 L44447 M57755 N65555 O25552 P65644 Q25573 R65655
      S34216 T72222 U55557 V55522 W55775 X55255 Y55222 Z71247 075557 126227 261247 371317 455711 574616 634757 771122 875757 975716
      .00002 ,00024 :02020 ;02024 -00700 _00007 +02720 =07070 /11244 \\44211 (12221 )42224 [64446 ]31113 <12421 >42124 !22202 ?61202
      %51245 #57575 *05250 '22000 "55000 @25743 &25253 $36236 ^25000 `42000 {32623 }62326 |22222 ~03600
      """
    var glyphs: [Character: [UInt8]] = [" ": [0, 0, 0, 0, 0]]
    for word in table.split(whereSeparator: \.isWhitespace) {
      glyphs[word.first!] = word.dropFirst().utf8.map { $0 - 0x30 }
    }
    return glyphs
  }()

  static func rows(_ character: Character) -> [UInt8] {
    glyphs[character] ?? glyphs[Character(character.uppercased().prefix(1).description)] ?? [7, 5, 5, 5, 7]
  }
}

extension Image {
  /// Width of a label in pixels.
  public static func textWidth(_ text: String, scale: Int = 2) -> Int { max(0, text.count * (BitmapFont.glyphWidth + 1) - 1) * scale }
  /// Height of a label in pixels.
  public static func textHeight(scale: Int = 2) -> Int { BitmapFont.glyphHeight * scale }

  /// Draws a line of text with its top left corner at a place. What lies outside the picture is left out.
  public mutating func drawText(_ text: String, x: Int, y: Int, color: [UInt8], scale: Int = 2) {
    var left = x
    for character in text {
      if left >= width { return }
      for (row, bits) in BitmapFont.rows(character).enumerated() {
        for column in 0..<3 where bits >> UInt8(2 - column) & 1 != 0 {
          fill(PixelBox(x: left + column * scale, y: y + row * scale, width: scale, height: scale), color: color)
        }
      }
      left += (BitmapFont.glyphWidth + 1) * scale
    }
  }
}
