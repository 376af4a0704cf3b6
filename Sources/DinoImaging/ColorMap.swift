// Numbers to colours. The tables are in ColorMapTables.swift; scaling follows matplotlib's imsave.

/// A map from 0...1 to colours of 256 steps.
public struct ColorMap: Sendable {
  /// [256 · 3]
  public let table: [UInt8]

  public static let viridis = ColorMap(hex: ColorMapTables.viridis)
  public static let inferno = ColorMap(hex: ColorMapTables.inferno)
  public static let magma = ColorMap(hex: ColorMapTables.magma)
  public static let grey = ColorMap(table: (0..<256).flatMap { v in [UInt8(v), UInt8(v), UInt8(v)] })

  /// The map of a name: viridis, inferno, magma or grey; nil for others.
  public init?(named name: String) {
    switch name {
    case "viridis": self = .viridis
    case "inferno": self = .inferno
    case "magma": self = .magma
    case "grey", "gray": self = .grey
    default: return nil
    }
  }

  private init(table: [UInt8]) { self.table = table }

  private init(hex: StaticString) {
    var table: [UInt8] = []
    table.reserveCapacity(768)
    var high: UInt8?
    for digit in hex.description.utf8 {
      let value = digit >= 0x61 ? digit - 0x57 : digit - 0x30
      if let h = high {
        table.append(h << 4 | value)
        high = nil
      } else {
        high = value
      }
    }
    self.table = table
  }

  /// The colour at `x` of 0...1; outside is clamped, NaN counts as 0.
  public func color(_ x: Float) -> (red: UInt8, green: UInt8, blue: UInt8) {
    let scaled = x * 256
    let index = scaled >= 255 ? 255 : scaled > 0 ? Int(scaled) : 0
    return (table[3 * index], table[3 * index + 1], table[3 * index + 2])
  }

  /// Easily told apart colours for regions and boxes: the k-th of an endless list, by steps of the golden angle around the hue.
  public static func categorical(_ k: Int) -> [UInt8] {
    let turn = (Double(k) * 0.381966011250105).truncatingRemainder(dividingBy: 1)
    let (r, g, b) = rgbFromHSV(UInt8(abs(turn) * 255), k % 2 == 0 ? 230 : 170, k % 3 == 2 ? 190 : 250)
    return [r, g, b]
  }
}
