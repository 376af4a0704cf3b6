// Masks that belong together: of photographs, or of a video's frames. How one is written shows in the others, so all are looked at before any is used.

internal import Dino
internal import DinoSegmentation

struct MaskSet {
  /// In colours where one of them is: a picture of only grey pixels may have levels, or labels whose colours are grey.
  let colours: LabelMap.Colours
  /// Whether any has an object.
  let hasObject: Bool
  /// Labels above this are an object: 127 where masks are black and white, 0 where labels are small numbers.
  private let limit: UInt8
  private let oneObject: Bool

  /// - Parameter oneObject: all that is an object is the same one, so that a mask may be black and any other colour.
  init(_ paths: [String], oneObject: Bool = false) throws {
    var colours = LabelMap.Colours.grey, hasLabel = false, greatest: UInt8 = 0
    for path in paths {
      let (map, written) = try LabelMap.read(path, oneObject: oneObject), labels = map.labels
      if written == .palette { colours = .palette }
      hasLabel = hasLabel || labels.contains { $0 != LabelMap.void }
      greatest = max(greatest, labels.last ?? 0)
      // Nothing more can be learnt from the others.
      if colours == .palette && hasLabel { break }
    }
    self.colours = colours
    self.oneObject = oneObject
    hasObject = colours == .palette ? hasLabel : greatest > 0
    limit = colours == .grey && greatest > 127 ? 127 : 0
  }

  /// The label of pixels that do not count.
  var void: UInt8? { colours == .palette ? LabelMap.void : nil }

  func labels(_ path: String) throws -> LabelMap { try LabelMap.read(path, inColours: colours == .palette, oneObject: oneObject).labels }

  /// Whether this label is an object's.
  func isObject(_ label: UInt8) -> Bool { label > limit && label != void }
}
