// Approximate search of stored rows: a graph of near rows (CHnsw: hnswlib), built by a team of threads, searched by walking it. Its links can be taken out as tensors and put back; what
// is put back is checked link by link, so that no file can lead a search outside of the rows. It knows no files.

internal import CHnsw
public import DinoTensor
internal import Synchronization

public final class NeighbourGraph: @unchecked Sendable {
  /// The graph as tensors. A list of links ends at the first `none`.
  public struct Links: Sendable {
    /// [n] U8: the highest level of each row.
    public var levels: Tensor
    /// [n, 2·m] U32: links on level 0.
    public var ground: Tensor
    /// [Σ levels, m] U32: links on level 1, 2, … of each row, row by row.
    public var upper: Tensor
    /// The row that searches begin at.
    public var entry: Int

    public init(levels: Tensor, ground: Tensor, upper: Tensor, entry: Int) {
      self.levels = levels
      self.ground = ground
      self.upper = upper
      self.entry = entry
    }
  }

  /// What links cannot be.
  public struct BadLinks: Error, Sendable, Equatable, CustomStringConvertible { public var description: String }

  static let none = UInt32.max
  private static let highestLevel = 63
  public static let mostRows = Int(Int32.max)

  public let rowCount: Int
  public let width: Int
  private let graph: OpaquePointer
  private let linkCount: Int
  /// Whose memory the graph reads.
  private let parts: [StoredRows]

  deinit { hnsw_free(graph) }

  private init?(_ parts: [StoredRows], links: Int, breadth: Int) {
    guard let first = parts.first(where: { $0.count > 0 }), parts.allSatisfy({ $0.width == first.width && $0.rows.dtype == first.rows.dtype }), (2...64).contains(links), breadth >= 1 else { return nil }
    let count = parts.reduce(0) { $0 + $1.count }
    guard count <= Self.mostRows else { return nil }
    let element: hnsw_element = first.rows.dtype == .f32 ? HNSW_F32 : first.rows.dtype == .f16 ? HNSW_F16 : HNSW_I8
    let runs = parts.map { part in
      hnsw_part(rows: part.rows.unsafeBytes.baseAddress, scales: part.scales?.unsafeBytes.baseAddress?.assumingMemoryBound(to: Float.self), count: part.count)
    }
    guard let graph = hnsw_make(runs, runs.count, first.width, element, links, breadth) else { return nil }
    self.graph = graph
    self.parts = parts
    rowCount = count
    width = first.width
    linkCount = links
  }

  // MARK: Building

  /// Puts all rows in, removed ones too (they may be in the way to others). By several threads at once, so that two builds differ a little; by one thread they do not.
  /// - Parameters:
  ///   - links: m, links of a row on a level; twice that on level 0.
  ///   - breadth: candidates that are looked at for each row.
  /// - Returns: nil where there are no rows, more than 2^31 - 1, or not enough memory.
  public static func build(_ parts: [StoredRows], links: Int = 16, breadth: Int = 200, team: ThreadTeam, progress: (Int) throws -> Void = { _ in }) rethrows -> NeighbourGraph? {
    guard let made = NeighbourGraph(parts, links: links, breadth: breadth) else { return nil }
    let failed = Atomic<Bool>(false)
    for start in stride(from: 0, to: made.rowCount, by: 2048) {
      let count = min(2048, made.rowCount - start)
      team.forEach(count) { i in if hnsw_add(made.graph, start + i) != 0 { failed.store(true, ordering: .relaxed) } }
      if failed.load(ordering: .relaxed) { return nil }
      try progress(count)
    }
    made.markRemoved()
    return made
  }

  private func markRemoved() {
    var first = 0
    for part in parts {
      if !part.removed.isEmpty { for i in 0..<part.count where part.isRemoved(i) { hnsw_remove(graph, first + i) } }
      first += part.count
    }
  }

  // MARK: Links

  public func links() throws -> Links {
    let m = linkCount, levels = (0..<rowCount).map { UInt8(min(Int(hnsw_level(graph, $0)), Self.highestLevel)) }
    let upperCount = levels.reduce(0) { $0 + Int($1) }
    func list(_ row: Int, _ level: Int, _ out: UnsafeMutablePointer<UInt32>, _ most: Int) {
      let found = min(hnsw_links_of(graph, row, Int32(level), out), most)
      for i in found..<most { out[i] = Self.none }
    }
    let ground = try Tensor(dtype: .u32, shape: [rowCount, 2 * m]) { bytes in
      let out = bytes.bindMemory(to: UInt32.self).baseAddress!
      for row in 0..<rowCount { list(row, 0, out + row * 2 * m, 2 * m) }
    }
    let upper = try Tensor(dtype: .u32, shape: [upperCount, m]) { bytes in
      guard let base = bytes.bindMemory(to: UInt32.self).baseAddress else { return }
      var out = base
      for row in 0..<rowCount where levels[row] > 0 {
        for level in 1...Int(levels[row]) {
          list(row, level, out, m)
          out += m
        }
      }
    }
    return Links(levels: Tensor.copy(levels, dtype: .u8, shape: [rowCount]), ground: ground, upper: upper, entry: hnsw_entry(graph))
  }

  /// A graph over the rows with links from elsewhere.
  public init(_ parts: [StoredRows], _ links: Links) throws(BadLinks) {
    let count = parts.reduce(0) { $0 + $1.count }
    func bad(_ reason: String) -> BadLinks { BadLinks(description: reason) }
    let g = links.ground.shape, u = links.upper.shape
    guard links.levels.dtype == .u8, links.levels.shape == [count], links.ground.dtype == .u32, g.rank == 2, g[0] == count, g[1] % 2 == 0, (4...128).contains(g[1]), links.upper.dtype == .u32, u.rank == 2,
          u[1] == g[1] / 2 else { throw bad("its tensors are not links of \(count) rows") }
    let m = g[1] / 2, levels = [UInt8](links.levels.unsafeBytes)
    guard levels.reduce(0, { $0 + Int($1) }) == u[0] else { throw bad("the levels of its rows do not add up to its \(u[0]) upper lists") }
    guard links.entry >= 0, links.entry < count, let highest = levels.max(), levels[links.entry] == highest, highest <= Self.highestLevel else { throw bad("it has no row to begin at") }
    let runs = parts.map { part in
      hnsw_part(rows: part.rows.unsafeBytes.baseAddress, scales: part.scales?.unsafeBytes.baseAddress?.assumingMemoryBound(to: Float.self), count: part.count)
    }
    guard let first = parts.first(where: { $0.count > 0 }), parts.allSatisfy({ $0.width == first.width && $0.rows.dtype == first.rows.dtype }), count <= Self.mostRows,
          let graph = hnsw_make(runs, runs.count, first.width, first.rows.dtype == .f32 ? HNSW_F32 : first.rows.dtype == .f16 ? HNSW_F16 : HNSW_I8, m, 200) else {
      throw bad("there is not enough memory for a graph of \(count) rows")
    }
    self.graph = graph
    self.parts = parts
    rowCount = count
    width = first.width
    linkCount = m
    for (row, level) in levels.enumerated() where hnsw_restore(graph, row, Int32(level)) != 0 { throw bad("there is not enough memory for a graph of \(count) rows") }
    var list = [UInt32](repeating: 0, count: 2 * m), upperList = 0
    let ground = links.ground.unsafeBytes, upper = links.upper.unsafeBytes
    for (row, highest) in levels.enumerated() {
      for level in 0...Int(highest) {
        let from = level == 0 ? ground : upper, at = level == 0 ? row * 2 * m : upperList * m, most = level == 0 ? 2 * m : m
        if level > 0 { upperList += 1 }
        var found = 0
        for i in 0..<most {
          let link = from.loadUnaligned(fromByteOffset: (at + i) * 4, as: UInt32.self)
          if link == Self.none { break }
          guard Int(link) < count, Int(levels[Int(link)]) >= level else { throw bad("row \(row) has a link to \(link) on level \(level), where no such row is") }
          list[i] = link
          found += 1
        }
        hnsw_restore_links(graph, row, Int32(level), list, found)
      }
    }
    hnsw_restore_entry(graph, links.entry)
    markRemoved()
  }

  // MARK: Searching

  /// About the `k` rows of largest score for each query ([queries, width], row-major), best first; of equal scores the earlier row.
  /// - Parameter breadth: candidates that are looked at; more find more.
  /// - Returns: nil where there is not enough memory.
  public func nearest(to queries: [Float], k: Int, breadth: Int, team: ThreadTeam) -> [[FoundRow]]? {
    precondition(k > 0 && queries.count % width == 0)
    let count = queries.count / width, most = min(k, rowCount), breadth = min(max(breadth, most), rowCount)
    let results = Mutex<[[FoundRow]?]>(Array(repeating: nil, count: count))
    queries.withUnsafeBufferPointer { all in
      let base = SharedQueries(base: all.baseAddress)
      team.forEach(count) { q in
        var rows = [UInt32](repeating: 0, count: most), scores = [Float](repeating: 0, count: most)
        let found = hnsw_search(graph, base.base! + q * width, most, breadth, &rows, &scores)
        guard found >= 0 else { return }
        let sorted = (0..<found).map { FoundRow(row: Int(rows[$0]), score: scores[$0]) }.sorted { $0.score != $1.score ? $0.score > $1.score : $0.row < $1.row }
        results.withLock { $0[q] = sorted }
      }
    }
    let found = results.withLock { $0.compactMap { $0 } }
    return found.count == count ? found : nil
  }
}

private struct SharedQueries: @unchecked Sendable { let base: UnsafePointer<Float>? }
