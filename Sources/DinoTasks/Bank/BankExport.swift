// A bank for those who outgrow the box: plain .npy with the paths beside it, or a file for PostgreSQL's COPY with the SQL that makes a pgvector table, loads it,
// and asks it. Removed rows are left out.

internal import AtomicFiles
internal import NumPyArrays

extension FeatureBank {
  /// Writes the rows as `path` (.npy, [rows, D] f32 of unit length) and their names as `names`, a line each.
  /// - Parameter goesOn: asked after each row with how many there are; false ends with `TaskError.stopped` and no file.
  public func exportNumPy(to path: String, names: String, goesOn: (Int) -> Bool = { _ in true }) throws(TaskError) {
    do {
      let list = try AtomicFile(path: names), rows = liveRows
      var writer = try NumPyWriter(path: path, rows: rows.count, columns: width)
      for (i, row) in rows.enumerated() {
        try writer.append(unit(row))
        try list.write(Array((NameLine.line(of: self.path(row)) + "\n").utf8))
        guard goesOn(i + 1) else { throw TaskError.stopped }
      }
      try writer.finish(with: list)
    } catch { throw error as? TaskError ?? .cannotWrite(path: path, reason: "\(error)") }
  }

  /// Writes the rows as `path` for `COPY … FROM` in PostgreSQL's text format (columns path, class, embedding) and the statements as `sql`.
  public func exportPostgres(to path: String, sql: String, table: String, goesOn: (Int) -> Bool = { _ in true }) throws(TaskError) {
    do {
      let file = try AtomicFile(path: path)
      for (i, row) in liveRows.enumerated() {
        var line = copyText(self.path(row)) + "\t" + (label(row).map { copyText(classes[$0]) } ?? "\\N") + "\t["
        var isFirst = true
        for v in unit(row) {
          if !isFirst { line += "," }
          isFirst = false
          line += "\(v)"
        }
        try file.write(Array((line + "]\n").utf8))
        guard goesOn(i + 1) else { throw TaskError.stopped }
      }
      let statements = try AtomicFile(path: sql)
      try statements.write(Array(self.statements(table: table, file: path).utf8))
      try AtomicFile.commit(file, statements)
    } catch { throw error as? TaskError ?? .cannotWrite(path: path, reason: "\(error)") }
  }

  private func statements(table: String, file: String) -> String {
    let name = file.split(separator: "/").last.map(String.init) ?? file
    // pgvector indexes vectors of at most 2,000 numbers, half-precision ones of at most 4,000.
    let index = width <= 2_000 ? "CREATE INDEX ON \(table) USING hnsw (embedding vector_ip_ops);"
      : width <= 4_000 ? "CREATE INDEX ON \(table) USING hnsw ((embedding::halfvec(\(width))) halfvec_ip_ops);"
      : "-- \(width) numbers are more than pgvector can index; queries are exact and read every row."
    return """
      -- \(liveCount) features of \(NameLine.line(of: record.model)), \(width) numbers of unit length each: the inner product is the cosine.
      -- Run with psql in the folder of the file.
      CREATE EXTENSION IF NOT EXISTS vector;
      CREATE TABLE \(table) (id bigserial PRIMARY KEY, path text NOT NULL, class text, embedding vector(\(width)) NOT NULL);
      \\copy \(table) (path, class, embedding) FROM '\(name.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''"))'
      -- Approximate search from here on; leave it out for exact search.
      \(index)
      -- The ten photographs nearest to the first one. <#> is the negative inner product.
      SELECT path, class, -(embedding <#> (SELECT embedding FROM \(table) WHERE id = 1)) AS score
      FROM \(table) ORDER BY embedding <#> (SELECT embedding FROM \(table) WHERE id = 1) LIMIT 10;

      """
  }

  /// A value in PostgreSQL's text format for COPY.
  private func copyText(_ text: String) -> String {
    var out = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": out += "\\\\"
      case "\t": out += "\\t"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
