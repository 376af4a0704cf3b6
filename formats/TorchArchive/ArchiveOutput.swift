// The archive in the making: AtomicFiles' file, which appears when it is complete, with the position that a zip's directory needs and this room's errors.

internal import AtomicFiles

/// Written from one thread, front to back. One that is not committed leaves nothing behind.
final class ArchiveOutput {
  private let path: String
  private var file: AtomicFile?
  private(set) var position = 0

  init(_ path: String) throws(TorchArchiveError) {
    self.path = path
    do { file = try AtomicFile(path: path) } catch { throw Self.told(error, path) }
  }

  func write(_ bytes: [UInt8]) throws(TorchArchiveError) { try write(bytes.span) }

  func write(_ bytes: UnsafeRawBufferPointer) throws(TorchArchiveError) { try write(unsafe Span<UInt8>(_unsafeBytes: bytes)) }

  private func write(_ bytes: Span<UInt8>) throws(TorchArchiveError) {
    do { try file?.write(bytes) } catch { throw Self.told(error, path) }
    position += bytes.count
  }

  func commit() throws(TorchArchiveError) {
    guard let file = file.take() else { return }
    do { try file.commit() } catch { throw Self.told(error, path) }
  }

  private static func told(_ error: AtomicFileError, _ path: String) -> TorchArchiveError {
    switch error {
    case .failed(_, _, let code): .cannotWrite(file: path, code: code)
    case .notAFile: .notAFile(file: path)
    }
  }
}
