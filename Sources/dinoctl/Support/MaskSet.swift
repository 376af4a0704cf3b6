// Masks that belong together: of photographs, or of a video's frames. How one is written shows in the others, so all are looked at before any is used.

internal import Dino
internal import DinoSegmentation

struct MaskSet {
  /// In colours where one of them is: a picture of only grey pixels may have levels, or labels whose colours are grey.
  let colours: LabelMap.Colours
  /// Whether any has an object.
  let hasObject: Bool
  /// What the levels of grey masks are.
  enum Reading { case labels, labelsBesideVoid, blackAndWhite }
  let reading: Reading
  /// What to say of that; nil of labels.
  let note: String?
  /// Labels above this are an object: 127 where masks are black and white, 0 where labels are small numbers.
  private let limit: UInt8
  private let oneObject: Bool

  static let help = "Beside small grey labels 255 is void, as in PASCAL VOC and Cityscapes. Grey masks that are black and white but for smooth edges, or JPEG's noise, are read by a threshold of 127, with a note; other masks in JPEG are refused."

  /// - Parameter oneObject: all that is an object is the same one, so that a mask may be black and any other colour.
  init(_ paths: [String], oneObject: Bool = false) throws {
    var colours = LabelMap.Colours.grey, hasLabel = false, levels = GreyLevels()
    for path in paths {
      let (map, written, isLossy) = try LabelMap.read(path, oneObject: oneObject)
      if written == .palette { colours = .palette }
      hasLabel = hasLabel || map.labels.contains { $0 != LabelMap.void }
      levels.add(map, path, isLossy: isLossy)
      // Nothing more can be learnt from the others.
      if colours == .palette && hasLabel { break }
    }
    self.colours = colours
    self.oneObject = oneObject
    hasObject = colours == .palette ? hasLabel : levels.greatest > 0
    guard colours == .grey, levels.greatest > 0, let smooth = levels.smooth else {
      let hasVoid = colours == .grey && levels.hasVoid
      reading = hasVoid ? .labelsBesideVoid : .labels
      note = hasVoid ? "masks have labels of small numbers and 255 beside them, which is read as void, as PASCAL VOC and Cityscapes have it: it is no object and no class" : nil
      limit = colours == .grey && levels.greatest > 127 && !hasVoid ? 127 : 0
      return
    }
    limit = levels.greatest > 127 ? 127 : 0
    // Of one object a threshold makes a mask of whatever has levels above it.
    guard levels.isBlackAndWhite || (oneObject && limit > 0) else {
      throw Failure(.data, "\(smooth): a mask has a level for each object, or is black and white; this is neither, and its many levels would each be an object", hint: "save masks as 8-bit grey PNG with hard edges: 0 outside, 1, 2, … or 255 inside")
    }
    reading = .blackAndWhite
    note = "\(smooth) has levels between black and white, as smooth edges or JPEG leave them; masks are read as black and white, above 127 inside"
  }

  /// The label of pixels that do not count.
  var void: UInt8? { colours == .palette || reading == .labelsBesideVoid ? LabelMap.void : nil }

  func labels(_ path: String) throws -> LabelMap {
    var map = try LabelMap.read(path, inColours: colours == .palette, oneObject: oneObject).labels
    if reading == .blackAndWhite { map.values = map.values.map { $0 > 127 ? 255 : 0 } }
    return map
  }

  /// The labels with void as background, as davis2017-evaluation has it before it counts objects.
  func objects(_ path: String) throws -> LabelMap {
    var map = try labels(path)
    if let void { map.values = map.values.map { $0 == void ? 0 : $0 } }
    return map
  }

  /// Whether this label is an object's.
  func isObject(_ label: UInt8) -> Bool { label > limit && label != void }
}

/// How often each grey level is in a set of masks. Labels are small numbers, 255 beside them; edges that are smooth have all levels, few pixels of each.
private struct GreyLevels {
  private var counts = [Int](repeating: 0, count: 256)
  /// The first file that keeps levels only nearly, and the first with smooth levels.
  private var lossy: String?
  private var manyLevels: String?

  mutating func add(_ map: LabelMap, _ path: String, isLossy: Bool) {
    for value in map.values { counts[Int(value)] += 1 }
    if isLossy { lossy = lossy ?? path }
    if manyLevels == nil, hasManyLevels { manyLevels = path }
  }

  var greatest: Int { counts.lastIndex { $0 > 0 } ?? 0 }

  /// Levels up to nearly white, as interpolation leaves them: label maps number their classes from below.
  private var hasManyLevels: Bool { counts[1..<255].count { $0 > 0 } >= 8 && counts[231..<255].contains { $0 > 0 } }

  /// Labels are numbered from below: PASCAL VOC's last is 20, so that a set with any of its classes has one up to that. Greys that are spread evenly from black to white begin higher, and
  /// what is left of smooth edges ends near white.
  var hasVoid: Bool {
    guard counts[255] > 0, let least = counts[1..<255].firstIndex(where: { $0 > 0 }), let last = counts[1..<255].lastIndex(where: { $0 > 0 }) else { return false }
    return least <= 20 && last <= 230
  }

  /// A file whose levels are no labels; nil where they may be.
  var smooth: String? { lossy ?? manyLevels }

  /// Most pixels are nearly black or nearly white, and edges are less than what they are around.
  var isBlackAndWhite: Bool {
    let between = counts[16..<240].reduce(0, +), white = counts[240...].reduce(0, +)
    return white > 0 && between <= white && 10 * between <= counts.reduce(0, +)
  }
}
