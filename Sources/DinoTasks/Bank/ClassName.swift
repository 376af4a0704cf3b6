// What a class is known by: the bytes of its name. Two folders whose names are one text in two forms of Unicode are two classes, as torchvision's ImageFolder has them; two strings of
// them are equal in Swift.

public struct ClassName: Hashable, Comparable, Sendable {
  private let bytes: [UInt8]

  public init(_ name: String) { bytes = Array(name.utf8) }

  public var text: String { String(decoding: bytes, as: UTF8.self) }

  public static func < (a: ClassName, b: ClassName) -> Bool { a.bytes.lexicographicallyPrecedes(b.bytes) }

  /// The place of each name in a list; of one that is there twice the first.
  public static func places(_ names: [String]) -> [ClassName: Int] {
    Dictionary(names.enumerated().map { (ClassName($1), $0) }, uniquingKeysWith: { first, _ in first })
  }
}
