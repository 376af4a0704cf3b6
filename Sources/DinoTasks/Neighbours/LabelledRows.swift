// Features with classes, wherever they are: in memory or in a bank. What neighbours, probes and protocols work on. Rows are numbered as a search numbers them.

public import DinoKernels
internal import DinoTensor

/// Searchable rows of unit length, each with a name and perhaps a class.
public struct LabelledRows: Sendable {
  public let width: Int
  public let parts: [StoredRows]
  /// Names of the classes, in the order of their index.
  public let classes: [String]
  /// The class of each row; nil for none.
  public let labels: [Int?]
  /// Numbers of the rows that count: all that are not removed.
  public let rows: [Int]
  private let source: Source

  private enum Source: Sendable {
    case memory(values: [Float], names: [String])
    case bank(FeatureBank)
  }

  /// Features in memory, as the network gave them. Classes are sorted by name, as torchvision's ImageFolder does.
  public init(features: [[Float]], names: [String], classNames: [String?]) throws(TaskError) {
    precondition(features.count == names.count && names.count == classNames.count && !features.isEmpty)
    let width = features[0].count
    var values: [Float] = [], units: [Float] = []
    values.reserveCapacity(features.count * width)
    units.reserveCapacity(features.count * width)
    for (i, feature) in features.enumerated() {
      guard feature.count == width else { throw .width(name: names[i], expected: width, found: feature.count) }
      values += feature
      units += unitVector(feature).values
    }
    let found = classNames.map { $0.map(ClassName.init) }, sorted = Set(found.compactMap { $0 }).sorted()
    let index = Dictionary(uniqueKeysWithValues: sorted.enumerated().map { ($1, $0) })
    guard let stored = StoredRows(rows: Tensor(units, shape: [features.count, width])) else { throw .outOfMemory(bytes: units.count * 4) }
    self.width = width
    classes = sorted.map(\.text)
    parts = [stored]
    labels = found.map { $0.flatMap { index[$0] } }
    rows = Array(0..<features.count)
    source = .memory(values: values, names: names)
  }

  public init(_ bank: FeatureBank) {
    width = bank.width
    parts = bank.parts
    rows = bank.liveRows
    // Those of the rows that count, as after compacting; sorted as folders are, whatever the order in which they came into the bank.
    let names = bank.classes.map(ClassName.init), used = Set(rows.compactMap { bank.label($0) }).sorted { names[$0] < names[$1] }
    let index = Dictionary(uniqueKeysWithValues: used.enumerated().map { ($1, $0) })
    classes = used.map { names[$0].text }
    labels = (0..<bank.rowCount).map { bank.label($0).flatMap { index[$0] } }
    source = .bank(bank)
  }

  public func name(_ row: Int) -> String {
    switch source {
    case .memory(_, let names): names[row]
    case .bank(let bank): bank.path(row)
    }
  }

  /// The feature as the network gave it.
  public func feature(_ row: Int) -> [Float] {
    switch source {
    case .memory(let values, _): Array(values[row * width..<(row + 1) * width])
    case .bank(let bank): bank.feature(row)
    }
  }

  public func unit(_ row: Int) -> [Float] {
    switch source {
    case .memory: parts[0].values(row)
    case .bank(let bank): bank.unit(row)
    }
  }

  /// Whether every row that counts has a class.
  public var isLabelled: Bool { rows.allSatisfy { labels[$0] != nil } }

  /// Throws where a row that counts has no class, or there is none.
  public func requireClasses(name: String) throws(TaskError) {
    if let row = rows.first(where: { labels[$0] == nil }) { throw .noLabels(name: name, example: self.name(row)) }
    if classes.isEmpty { throw .tooFewClasses(name: name, count: 0) }
  }

  /// How many rows have the feature of a row before them, to the bit, and the first of them with that row; nil where there are none.
  public func repeated() -> (count: Int, row: Int, earlier: Int)? {
    var seen: [UInt64: Int] = [:], count = 0, first: (row: Int, earlier: Int)?
    for row in rows {
      let values = unit(row)
      var hash: UInt64 = 0xCBF2_9CE4_8422_2325
      for v in values { hash = (hash ^ UInt64(v.bitPattern)) &* 0x0000_0100_0000_01B3 }
      guard let earlier = seen[hash] else {
        seen[hash] = row
        continue
      }
      guard unit(earlier) == values else { continue }
      count += 1
      if first == nil { first = (row, earlier) }
    }
    guard let first else { return nil }
    return (count, first.row, first.earlier)
  }
}
