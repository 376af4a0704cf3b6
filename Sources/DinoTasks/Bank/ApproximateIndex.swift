// Approximate search of a bank: a graph of near rows in `approximate.safetensors` beside the segments, with the digest of the rows that it is of. A graph of other rows is refused; what
// its links are is checked by NeighbourGraph. How good it is is measured against exact search, on rows of the bank itself.

public import DinoKernels
internal import DinoTensor
internal import Safetensors

public struct ApproximateIndex: Sendable {
  public static let fileName = "approximate.safetensors"
  static let key = "dino.approximate"
  static let version = 1

  /// How much of what exact search finds is found, at one breadth.
  public struct Measure: Sendable, Equatable {
    public var breadth: Int
    public var recall: Double
    public var millisecondsPerQuery: Double
  }

  public let links: Int
  /// Candidates that a search looks at unless it is told otherwise, and what was measured at it when the graph was built; 0 before.
  public private(set) var chosen = Measure(breadth: 0, recall: 0, millisecondsPerQuery: 0)
  private let graph: NeighbourGraph

  /// Builds a graph of all rows of a bank.
  public init(building bank: FeatureBank, links: Int, breadth: Int, threads: Int, progress: (Int) throws -> Void) throws {
    guard bank.rowCount <= NeighbourGraph.mostRows else { throw TaskError.badIndex(path: bank.folder, reason: "\(bank.rowCount) rows are more than the \(NeighbourGraph.mostRows) that a graph can have") }
    guard let graph = try NeighbourGraph.build(bank.parts, links: links, breadth: breadth, team: .shared(max(1, threads)), progress: progress) else {
      throw TaskError.outOfMemory(bytes: bank.rowCount * (links * 8 + 96))
    }
    self.graph = graph
    self.links = links
  }

  /// The graph of a bank; nil where it has none.
  public init?(of bank: FeatureBank) throws(TaskError) {
    let path = "\(bank.folder)/\(Self.fileName)"
    do { _ = try Storage(mapping: path) } catch {
      if case .cannotOpen(_, 2) = error { return nil }  // ENOENT
      throw TaskError(error, path: path)
    }
    func bad(_ reason: String) -> TaskError { .badIndex(path: path, reason: reason) }
    let file: SafetensorsFile, record: JSONValue
    do { file = try SafetensorsFile(path: path) } catch { throw bad(error.reason) }
    guard let text = file.metadata[Self.key] else { throw bad("it is not the graph of a feature bank (it has no '\(Self.key)')") }
    do { record = try JSONValue.parse(text) } catch { throw bad(error.description) }
    guard record["version"]?.integerValue == Self.version else { throw bad("version \(record["version"]?.text ?? "none") is not known; this program reads \(Self.version)") }
    guard record["bank"]?.stringValue == bank.rowsDigest else { throw .staleIndex(path: path) }
    guard let entry = record["entry"]?.integerValue, let breadth = record["breadth"]?.integerValue, (1...1 << 20).contains(breadth), let recall = record["recall_at_10"]?.doubleValue,
          let milliseconds = record["milliseconds"]?.doubleValue else { throw bad("its record is malformed") }
    guard let levels = file.tensor("levels"), let ground = file.tensor("ground"), let upper = file.tensor("upper") else { throw bad("it lacks the tensors 'levels', 'ground' and 'upper'") }
    do { graph = try NeighbourGraph(bank.parts, .init(levels: levels, ground: ground, upper: upper, entry: entry)) } catch { throw bad(error.description) }
    links = ground.shape[1] / 2
    chosen = Measure(breadth: breadth, recall: recall, millisecondsPerQuery: milliseconds)
  }

  /// Writes it beside the bank, with what was measured.
  public func write(to bank: FeatureBank) throws(TaskError) {
    precondition(chosen.breadth > 0, "a graph is measured before it is written: readers search as wide as it says")
    let path = "\(bank.folder)/\(Self.fileName)", parts: NeighbourGraph.Links
    do { parts = try graph.links() } catch { throw .outOfMemory(bytes: bank.rowCount * links * 8) }
    let record = JSONValue.object([
      .init("version", .integer(Self.version)), .init("bank", .string(bank.rowsDigest)), .init("entry", .integer(parts.entry)), .init("breadth", .integer(chosen.breadth)),
      .init("recall_at_10", .number(chosen.recall)), .init("milliseconds", .number(chosen.millisecondsPerQuery)),
    ])
    do {
      try SafetensorsWriter.write([(name: "levels", tensor: parts.levels), (name: "ground", tensor: parts.ground), (name: "upper", tensor: parts.upper)], metadata: ["format": "pt", Self.key: record.text], to: path)
    } catch { throw .cannotWrite(path: path, reason: error.description) }
  }

  /// About the `k` most similar rows to each query, best first. Queries need not be of unit length.
  public func nearest(to queries: [[Float]], k: Int, breadth: Int? = nil, threads: Int) throws(TaskError) -> [[FoundRow]] {
    var flat: [Float] = []
    flat.reserveCapacity(queries.count * graph.width)
    for query in queries {
      guard query.count == graph.width else { throw .width(name: Self.fileName, expected: graph.width, found: query.count) }
      flat += unitVector(query).values
    }
    guard let found = graph.nearest(to: flat, k: k, breadth: breadth ?? max(chosen.breadth, k), team: .shared(max(1, threads))) else { throw .outOfMemory(bytes: graph.rowCount * 2) }
    return found
  }

  // MARK: Recall

  public static let breadths = [16, 32, 64, 128, 256, 512, 1024, 2048]

  /// Rows of the bank ask, each left out of its own answers: the share of the ten nearest that exact search finds, at growing breadths, up to the first that reaches `wanted`. That one is
  /// chosen, or the last where none does.
  /// - Parameter clock: seconds.
  /// - Returns: the measures, and milliseconds a query of exact search by one thread, one query after the other, as the measures are.
  public mutating func measure(_ bank: FeatureBank, samples: Int, wanted: Double, threads: Int, clock: () -> Double) throws(TaskError) -> (measures: [Measure], exactMilliseconds: Double) {
    let live = bank.liveRows, k = min(10, live.count - 1)
    guard k >= 1 else { throw .badIndex(path: bank.folder, reason: "a bank of \(live.count) rows is too small to measure recall on") }
    let count = min(samples, live.count), rows = (0..<count).map { live[$0 * live.count / count] }, queries = rows.map { bank.unit($0) }
    func without(_ row: Int, _ found: [FoundRow]) -> Set<Int> { Set(found.lazy.map(\.row).filter { $0 != row }.prefix(k)) }
    let truth = zip(rows, try bank.nearest(to: queries, k: k + 1, threads: threads)).map { without($0, $1) }
    var start = clock()
    for query in queries.prefix(5) { _ = try bank.nearest(to: [query], k: k + 1, threads: 1) }
    let exact = 1e3 * (clock() - start) / Double(min(5, count))
    var measures: [Measure] = []
    for breadth in Self.breadths {
      start = clock()
      var common = 0
      for (i, query) in queries.enumerated() { common += truth[i].intersection(without(rows[i], try nearest(to: [query], k: k + 1, breadth: breadth, threads: 1)[0])).count }
      measures.append(Measure(breadth: breadth, recall: Double(common) / Double(count * k), millisecondsPerQuery: 1e3 * (clock() - start) / Double(count)))
      if measures[measures.count - 1].recall >= wanted { break }
    }
    chosen = measures[measures.count - 1]
    return (measures, exact)
  }
}

extension FeatureBank {
  /// Of the rows of all segments, removed ones too: of the list of files, and of some rows of each. What a graph of other rows would find is not wrong, only poor, so it need not read them all.
  public var rowsDigest: String {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    func add(_ bytes: some Sequence<UInt8>) { for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 } }
    add("\(width) \(element.rawValue) \(record.json.text)\n".utf8)
    for (entry, part) in zip(manifest.segments, parts) {
      add("\(entry.file) \(entry.rows) \(entry.bytes)\n".utf8)
      let bytes = part.rows.byteCount / max(part.count, 1), samples = min(part.count, 64)
      for i in 0..<samples {
        let start = i * part.count / samples * bytes
        part.rows.withBytes { all in for at in start..<start + bytes { hash = (hash ^ UInt64(all[at])) &* 0x0000_0100_0000_01B3 } }
      }
    }
    return String(hash, radix: 16)
  }
}
