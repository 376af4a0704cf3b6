// dinoctl index --import: rows that were made elsewhere.

internal import Dino
internal import DinoTasks
internal import DinoTensor
internal import NumPyArrays

/// Rows from elsewhere, not yet read but for their names.
struct ImportedRows {
  let file: String
  let array: Tensor
  /// Nil where no file beside the array has them.
  let names: [String]?
  let record: BankRecord
  var width: Int { array.shape[1] }

  init(_ file: String) throws {
    let array: Tensor
    do { array = try NumPyArray.read(path: file) } catch { throw Failure(DinoError(error, path: file)) }
    guard array.shape.rank == 2, array.shape[0] > 0, array.shape[1] > 0, array.dtype.convertsToFloat else {
      throw Failure(.data, "\(file): an array of rows and columns of numbers is needed, not \(array.dtype.rawValue) \(array.shape)")
    }
    self.file = file
    self.array = array
    names = try Self.names(FeatureFile.pathsFile(of: file), count: array.shape[0])
    record = .imported(from: lastComponent(file))
  }

  /// The names beside an array, a line each; nil where there is no such file.
  private static func names(_ path: String, count: Int) throws -> [String]? {
    guard Output.exists(path) else { return nil }
    let storage: Storage
    do { storage = try Storage(mapping: path) } catch {
      if case .notAFile = error { throw Failure(.data, "\(path) has the name of the list of the rows' names, but is no file", hint: "rename it, or the array") }
      throw Failure(DinoError(error, path: path))
    }
    // By bytes: to text a carriage return and the line feed after it are one character.
    let lines = storage.bytes(0..<storage.byteCount).split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    let whole = lines.last?.isEmpty == true ? lines.dropLast() : lines[...]
    let names = whole.map { (line: ArraySlice<UInt8>) -> ArraySlice<UInt8> in line.last == UInt8(ascii: "\r") ? line.dropLast() : line }
    guard names.count == count else { throw Failure(.data, "\(path) names \(names.count) rows, where the array has \(count)") }
    let texts = names.map { (bytes: ArraySlice<UInt8>) -> String in
      let line = String(decoding: bytes, as: UTF8.self)
      return NameLine.name(speltIn: line) ?? line
    }
    var seen: Set<[UInt8]> = []
    for text in texts where !seen.insert(rowKey(text)).inserted { throw Failure(.data, "\(path): '\(text)' names two rows, where each needs a name of its own") }
    return texts
  }
}

extension Index {
  private func keys(of bank: FeatureBank) -> Set<[UInt8]> {
    var keys: Set<[UInt8]> = []
    for row in bank.liveRows { keys.insert(rowKey(bank.name(row))) }
    return keys
  }

  func addRows(_ imported: ImportedRows, _ writer: BankWriter, _ changes: Changes) throws {
    let array = imported.array, rows = array.shape[0], width = imported.width
    let bank = try FeatureBank(path: output)
    var known = keys(of: bank), number = bank.rowCount
    /// What a row is called; nil where one of that name is in the bank.
    func newName(_ row: Int) -> String? {
      if let name = imported.names?[row] { return known.insert(rowKey(name)).inserted ? name : nil }
      while !known.insert(Array("\(number)".utf8)).inserted { number += 1 }
      return "\(number)"
    }
    var progress = ProgressBar(total: rows, unit: "rows")
    // In pieces: as floats the whole array could be too large.
    for first in stride(from: 0, to: rows, by: 4096) {
      let count = min(4096, rows - first)
      let bytes = array.byteCount / rows
      guard let part = Tensor(dtype: array.dtype, shape: [count, width], storage: array.storage, byteOffset: array.byteOffset + first * bytes) else { break }
      let values = part.floats()
      for i in 0..<count {
        guard let name = newName(first + i) else { continue }
        let row = Array(values[i * width..<(i + 1) * width])
        guard row.allSatisfy(\.isFinite) else {
          let named = imported.names == nil ? "" : " ('\(name)')"
          throw Failure(.data, "\(imported.file): row \(first + i)\(named), counted from 0, has numbers that are not finite", hint: "leave it out of the array")
        }
        try Interruption.shielded { try writer.append(row, path: name, label: imported.names == nil ? nil : ClassedInput.folderClass(of: name)) }
        changes.added += 1
      }
      progress.advance(by: count)
    }
    try Interruption.shielded { try writer.flush() }
    progress.finish()
    changes.passedOver = rows - changes.added
  }
}
