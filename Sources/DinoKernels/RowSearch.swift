// Exact search of stored rows: the rows of largest dot product with each query. Rows are read in blocks by a team of threads; one query streams through
// memory, many are a matrix product over a block that stays in the cache. It knows no files and no cosine: who wants that stores unit rows.

internal import CDinoKernels
public import DinoTensor
internal import Synchronization

/// A run of stored rows: [n, width] of f32, f16 or i8.
public struct StoredRows: Sendable {
  public let rows: Tensor
  /// For i8, and perhaps f16, [n] f32: what a row's numbers are multiplied by.
  public let scales: Tensor?
  /// One bit a row, lowest first, set where the row is left out; empty for none.
  public let removed: [UInt64]

  public var count: Int { rows.shape[0] }
  public var width: Int { rows.shape[1] }

  /// Nil where the tensors are not such rows, or not aligned to their element.
  public init?(rows: Tensor, scales: Tensor? = nil, removed: [UInt64] = []) {
    guard rows.shape.rank == 2, rows.shape[1] > 0, [.f32, .f16, .i8].contains(rows.dtype), removed.isEmpty || removed.count * 64 >= rows.shape[0] else { return nil }
    guard rows.dtype == .i8 ? scales != nil : rows.dtype == .f16 || scales == nil, scales.map({ $0.dtype == .f32 && $0.count == rows.shape[0] }) ?? true else { return nil }
    func isAligned(_ t: Tensor) -> Bool { Int(bitPattern: t.storage.base + t.byteOffset) % (t.dtype.bitWidth / 8) == 0 }
    guard isAligned(rows), scales.map(isAligned) ?? true else { return nil }
    self.rows = rows
    self.scales = scales
    self.removed = removed
  }

  public func isRemoved(_ row: Int) -> Bool { !removed.isEmpty && removed[row >> 6] >> UInt64(row & 63) & 1 != 0 }

  /// One row as floats.
  public func values(_ row: Int) -> [Float] {
    let stored = stored(row)
    guard let scale = stored.scale else { return stored.values }
    return stored.values.map { $0 * scale }
  }

  /// One row's numbers as they are stored, and what they are multiplied by.
  public func stored(_ row: Int) -> (values: [Float], scale: Float?) {
    precondition(row >= 0 && row < count)
    let width = self.width
    var out = [Float](repeating: 0, count: width)
    out.withUnsafeMutableBufferPointer { rows.convert(range: row * width..<(row + 1) * width, into: $0.baseAddress!) }
    return (out, scales?.unsafeBytes.loadUnaligned(fromByteOffset: row * 4, as: Float.self))
  }
}

/// A row that was found. Rows are numbered through all parts of a search, removed ones counted.
public struct FoundRow: Sendable, Equatable {
  public var row: Int
  public var score: Float
  public init(row: Int, score: Float) {
    self.row = row
    self.score = score
  }
}

public enum RowSearch {
  /// Rows that are read at once: for one query, and for a matrix product.
  private static let streamBlock = 2048, productBlock = 128
  /// Fewer queries than these are cheaper one by one.
  private static let fewQueries = 4
  /// Queries that are held ready at once.
  private static let queryBatch = 1024

  /// The `k` rows of largest score for each query ([queries, width], row-major), best first; of equal scores the earlier row. The result depends
  /// neither on the threads nor on how rows are cut into parts.
  /// - Parameter excluding: for each query a row that is passed over (itself), or -1.
  public static func nearest(_ parts: [StoredRows], to queries: [Float], width: Int, k: Int, excluding: [Int] = [],
                             table: KernelTable = .selected, team: ThreadTeam) -> [[FoundRow]] {
    precondition(width > 0 && k > 0 && queries.count % width == 0 && parts.allSatisfy { $0.width == width })
    let count = queries.count / width
    precondition(excluding.isEmpty || excluding.count == count)
    var result: [[FoundRow]] = []
    result.reserveCapacity(count)
    for first in stride(from: 0, to: count, by: queryBatch) {
      let last = min(first + queryBatch, count)
      let batch = Array(queries[first * width..<last * width])
      result += search(parts, batch, width: width, k: k, excluding: excluding.isEmpty ? [] : Array(excluding[first..<last]), table: table, team: team)
    }
    return result
  }

  private static func search(_ parts: [StoredRows], _ queries: [Float], width: Int, k: Int, excluding: [Int], table: KernelTable, team: ThreadTeam) -> [[FoundRow]] {
    let count = queries.count / width
    let isProduct = count >= fewQueries
    let rowsInBlock = isProduct ? productBlock : streamBlock
    var blocks: [Block] = []
    var first = 0
    for (p, part) in parts.enumerated() {
      for start in Swift.stride(from: 0, to: part.count, by: rowsInBlock) {
        blocks.append(Block(part: p, start: start, count: min(rowsInBlock, part.count - start), firstRow: first + start))
      }
      first += part.count
    }
    let panels = isProduct ? pack(queries, width: width, table: table) : queries
    let lanes = (0..<team.count).map { _ in
      Lane(queries: count, width: width, k: min(k, max(first, 1)), excluding: excluding, rowsInBlock: rowsInBlock, panelColumns: table.panelColumns)
    }
    let next = BlockCounter()
    panels.withUnsafeBufferPointer { panels in
      let shared = SharedFloats(base: panels.baseAddress)
      team.forEach(team.count) { lane in
        while true {
          let i = next.value.wrappingAdd(1, ordering: .relaxed).oldValue
          guard i < blocks.count else { return }
          let block = blocks[i]
          if isProduct {
            lanes[lane].product(parts[block.part], block, panels: shared.base!, table: table)
          } else {
            lanes[lane].stream(parts[block.part], block, queries: shared.base!, table: table)
          }
        }
      }
    }
    return (0..<count).map { q in
      let all = lanes.flatMap { $0.found(q) }.sorted { $0.score != $1.score ? $0.score > $1.score : $0.row < $1.row }
      return Array(all.prefix(k))
    }
  }

  /// Queries as the panels of a matrix product.
  private static func pack(_ queries: [Float], width: Int, table: KernelTable) -> [Float] {
    let columns = table.panelColumns, count = queries.count / width
    let panels = (count + columns - 1) / columns
    var packed = [Float](repeating: 0, count: panels * columns * width)
    packed.withUnsafeMutableBufferPointer { out in
      queries.withUnsafeBufferPointer { from in
        for p in 0..<panels {
          table.c.pointee.f32_pack(from.baseAddress! + p * columns * width, width, min(columns, count - p * columns), width, out.baseAddress! + p * columns * width)
        }
      }
    }
    return packed
  }
}

private struct Block: Sendable {
  var part: Int
  var start: Int
  var count: Int
  /// The number of its first row among all parts.
  var firstRow: Int
}

private final class BlockCounter: Sendable { let value = Atomic<Int>(0) }

private struct SharedFloats: @unchecked Sendable { let base: UnsafePointer<Float>? }

/// What one participant has found so far, and its scratch. One participant at a time uses it.
private final class Lane: @unchecked Sendable {
  private let queries: Int, width: Int, k: Int, panelColumns: Int
  private let excluding: [Int]
  /// For each query a heap of at most k, the worst at its root.
  private let scores: UnsafeMutablePointer<Float>
  private let rows: UnsafeMutablePointer<Int>
  private let counts: UnsafeMutablePointer<Int>
  /// What a score must reach to be looked at: the root's once a heap is full.
  private let thresholds: UnsafeMutablePointer<Float>
  private let values: UnsafeMutablePointer<Float>
  private let converted: UnsafeMutablePointer<Float>
  private let convertedCount: Int

  init(queries: Int, width: Int, k: Int, excluding: [Int], rowsInBlock: Int, panelColumns: Int) {
    self.queries = queries
    self.width = width
    self.k = k
    self.panelColumns = panelColumns
    self.excluding = excluding
    scores = .allocate(capacity: queries * k)
    rows = .allocate(capacity: queries * k)
    counts = .allocate(capacity: queries)
    counts.initialize(repeating: 0, count: queries)
    thresholds = .allocate(capacity: queries)
    thresholds.initialize(repeating: -.infinity, count: queries)
    values = .allocate(capacity: rowsInBlock * panelColumns)
    convertedCount = queries >= 4 ? rowsInBlock * width : 1
    converted = .allocate(capacity: convertedCount)
  }

  deinit {
    scores.deallocate()
    rows.deallocate()
    counts.deallocate()
    thresholds.deallocate()
    values.deallocate()
    converted.deallocate()
  }

  func found(_ query: Int) -> [FoundRow] { (0..<counts[query]).map { FoundRow(row: rows[query * k + $0], score: scores[query * k + $0]) } }

  /// Each query alone over the rows of a block.
  func stream(_ part: StoredRows, _ block: Block, queries all: UnsafePointer<Float>, table: KernelTable) {
    let base = part.rows.storage.base + part.rows.byteOffset
    for q in 0..<queries {
      let query = all + q * width, at = block.start * width
      switch part.rows.dtype {
      case .f32: table.c.pointee.f32_dots(base.assumingMemoryBound(to: Float.self) + at, width, block.count, query, width, values)
      case .f16: table.c.pointee.f16_dots(base.assumingMemoryBound(to: UInt16.self) + at, width, block.count, query, width, values)
      default: table.c.pointee.i8_dots(base.assumingMemoryBound(to: Int8.self) + at, width, block.count, query, width, values)
      }
      scale(part, block, columns: 1)
      let out = values
      for i in 0..<block.count where out[i] >= thresholds[q] { offer(out[i], i, part, block, q) }
    }
  }

  /// All queries over the rows of a block, as a product.
  func product(_ part: StoredRows, _ block: Block, panels: UnsafePointer<Float>, table: KernelTable) {
    var source = UnsafePointer(converted)
    if part.rows.dtype == .f32 {
      source = UnsafePointer((part.rows.storage.base + part.rows.byteOffset).assumingMemoryBound(to: Float.self) + block.start * width)
    } else {
      precondition(block.count * width <= convertedCount)
      part.rows.convert(range: block.start * width..<(block.start + block.count) * width, into: converted)
    }
    for first in stride(from: 0, to: queries, by: panelColumns) {
      let columns = min(panelColumns, queries - first)
      var call = dk_f32_gemm_block()
      call.a = source
      call.a_row = width
      call.b = panels + first * width
      call.k = width
      call.c = values
      call.c_row = panelColumns
      call.activation = Int32(DK_NONE)
      call.rows = block.count
      call.columns = columns
      table.c.pointee.f32_gemm(&call)
      scale(part, block, columns: panelColumns)
      let limits = thresholds + first
      for i in 0..<block.count {
        let row = values + i * panelColumns
        for j in 0..<columns where row[j] >= limits[j] { offer(row[j], i, part, block, first + j) }
      }
    }
  }

  private func scale(_ part: StoredRows, _ block: Block, columns: Int) {
    guard let scales = part.scales else { return }
    let factors = (scales.storage.base + scales.byteOffset).assumingMemoryBound(to: Float.self) + block.start
    for i in 0..<block.count {
      let factor = factors[i], row = values + i * columns
      for j in 0..<columns { row[j] *= factor }
    }
  }

  /// Takes a row into a query's heap, where it is good enough.
  private func offer(_ score: Float, _ i: Int, _ part: StoredRows, _ block: Block, _ query: Int) {
    let row = block.firstRow + i
    if part.isRemoved(block.start + i) || (!excluding.isEmpty && excluding[query] == row) { return }
    let s = scores + query * k, r = rows + query * k
    func isWorse(_ a: Int, _ b: Int) -> Bool { s[a] != s[b] ? s[a] < s[b] : r[a] > r[b] }
    func swap(_ a: Int, _ b: Int) {
      (s[a], s[b]) = (s[b], s[a])
      (r[a], r[b]) = (r[b], r[a])
    }
    if counts[query] < k {
      var at = counts[query]
      s[at] = score
      r[at] = row
      counts[query] += 1
      while at > 0, isWorse(at, (at - 1) / 2) {
        swap(at, (at - 1) / 2)
        at = (at - 1) / 2
      }
    } else {
      guard score > s[0] || (score == s[0] && row < r[0]) else { return }
      s[0] = score
      r[0] = row
      var at = 0
      while true {
        var worst = at
        if 2 * at + 1 < k, isWorse(2 * at + 1, worst) { worst = 2 * at + 1 }
        if 2 * at + 2 < k, isWorse(2 * at + 2, worst) { worst = 2 * at + 2 }
        if worst == at { break }
        swap(at, worst)
        at = worst
      }
    }
    if counts[query] == k { thresholds[query] = s[0] }
  }
}

extension RowSearch {
  /// Reads every byte of the rows once and does nothing with them: what a search cannot be faster than.
  /// - Returns: a sum, so that the reads are not left out.
  @discardableResult
  public static func read(_ parts: [StoredRows], table: KernelTable = .selected, team: ThreadTeam) -> Float {
    let piece = 1 << 20
    var pieces: [(base: UnsafeRawPointer, count: Int)] = []
    for part in parts {
      let base = UnsafeRawPointer(part.rows.storage.base + part.rows.byteOffset)
      for start in stride(from: 0, to: part.rows.byteCount, by: piece) { pieces.append((base + start, min(piece, part.rows.byteCount - start))) }
    }
    let sums = Mutex<Float>(0)
    let list = SharedPieces(pieces: pieces)
    team.forEach(pieces.count) { i in
      let sum = table.c.pointee.sum_bytes(list.pieces[i].base, list.pieces[i].count)
      sums.withLock { $0 += Float(sum & 0xFF) }
    }
    return sums.withLock { $0 }
  }
}

private struct SharedPieces: @unchecked Sendable { let pieces: [(base: UnsafeRawPointer, count: Int)] }
