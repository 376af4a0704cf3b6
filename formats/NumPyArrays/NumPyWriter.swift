// Rows of floats into an .npy file as they come, so that the array need not be in memory. Like every file here it appears whole or not at all, alone or together with another.

public import AtomicFiles
internal import DinoTensor

/// Writes an [rows, columns] array of 32-bit floats, row by row. A value that goes away before it is finished leaves nothing behind.
public struct NumPyWriter: ~Copyable {
  public let path: String
  /// How many rows there are to be.
  public let rows: Int
  public let columns: Int
  /// Rows written so far.
  public private(set) var written = 0
  private let file: AtomicFile

  public init(path: String, rows: Int, columns: Int) throws(NumPyError) {
    precondition(rows >= 0 && columns > 0, "a row has at least one number")
    guard let header = NPYHeader.bytes(dtype: .f32, shape: [rows, columns]) else { throw .cannotStore(path: path, dtype: .f32) }
    do {
      let file = try AtomicFile(path: path)
      try file.write(header)
      self.file = file
    } catch { throw .cannotWrite(path: path, reason: error.reason) }
    self.path = path
    self.rows = rows
    self.columns = columns
  }

  /// Appends whole rows: `values.count` is a multiple of `columns`.
  public mutating func append(_ values: [Float]) throws(NumPyError) {
    guard values.count % columns == 0 else { throw .rowWidth(path: path, expected: columns, found: values.count) }
    let tensor = Tensor(values, shape: [values.count / columns, columns])
    do { try tensor.withBytes { (bytes) throws(AtomicFileError) in try file.write(bytes) } } catch { throw .cannotWrite(path: path, reason: error.reason) }
    written += tensor.shape[0]
  }

  /// Completes the file and puts it into its place, replacing what was there.
  public consuming func finish() throws(NumPyError) {
    try checkRows()
    do { try file.commit() } catch { throw .cannotWrite(path: path, reason: error.reason) }
  }

  /// The same together with a file that belongs to it, such as the names of its rows.
  public consuming func finish(with other: consuming AtomicFile) throws(NumPyError) {
    try checkRows()
    do { try AtomicFile.commit(file, other) } catch { throw .cannotWrite(path: path, reason: error.reason) }
  }

  private func checkRows() throws(NumPyError) {
    guard written == rows else { throw .rowCount(path: path, expected: rows, found: written) }
  }
}
