// The table from the typed errors of the rooms below to the facade's one error: its kind, and the file it is about.

internal import AtomicFiles
internal import CheckpointNames
internal import DinoGraph
internal import DinoImaging
internal import DinoModels
internal import DinoRuntime
internal import DinoTasks
public import DinoTensor
internal import NumPyArrays
internal import ONNXFormat
internal import OnnxConverter
internal import Safetensors
internal import TorchArchive
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

extension DinoError {
  /// Memory or a file could not be had.
  public init(_ error: StorageError, path: String) {
    switch error {
    case .cannotOpen(_, let code): self.init(openFailed: path, code: code)
    case .notAFile: self.init(.notFound, "\(path): not a regular file")
    case .outOfMemory(let bytes): self.init(.unavailable, "not enough memory: \(bytes) bytes were asked for (\(path))")
    }
  }

  /// Any error that reached the top without a file's name.
  public init(_ error: any Error) { self.init(error, path: nil) }

  /// Any error of the rooms below; `path` is put before sentences that do not name a file.
  public init(_ error: any Error, path: String?) {
    func about(_ kind: Kind, _ sentence: String) -> DinoError { DinoError(kind, path.map { "\($0): \(Self.clause(sentence))" } ?? Self.clause(sentence)) }
    switch error {
    case let e as DinoError: self = e
    case let e as StorageError: self.init(e, path: path ?? "memory")
    case let e as TarError: self = about(.data, e.description)
    case let e as JSONError: self = about(.data, e.description)
    case let e as SafetensorsError: self.init(Self.kind(e), e.description)
    case let e as TorchArchiveError: self.init(Self.kind(e), e.description)
    case let e as NumPyError: self.init(Self.kind(e), e.description)
    case let e as AtomicFileError: self.init(.io, e.description)
    case let e as ImageError: self.init(Self.kind(e), e.description)
    case let e as NameError: self = about(.data, e.description)
    case let e as ModelError:
      self = about(Self.kind(e), e.description)
      if case .unknownHeads = e { hint = "for example --heads 6" }
    case let e as GraphError: self = about(.data, e.description)
    case let e as OnnxExportError:
      if case .weightNotFinite = e { self = about(.data, e.description) } else { self = about(.usage, e.description) }
    case let e as OnnxError: self.init(Self.kind(e), e.description)
    case let e as OnnxImportError:
      if case .file(let inner) = e { self.init(Self.kind(inner), inner.description) } else { self = about(e.kind == .invalid ? .data : .unavailable, e.description) }
    case let e as TaskError: self.init(Self.kind(e), e.description)
    case let e as RuntimeError: self.init(Self.kind(e), e.description)
    default: self.init(.bug, "\(error)")
    }
  }

  /// A sentence as what follows a colon: no capital (but for abbreviations), no full stop.
  private static func clause(_ sentence: String) -> String {
    let text = sentence.hasSuffix(".") ? sentence.dropLast() : sentence[...]
    guard let first = text.first, first.isUppercase, text.dropFirst().first?.isUppercase != true else { return String(text) }
    return first.lowercased() + text.dropFirst()
  }

  private init(openFailed path: String, code: Int32) {
    switch code {
    case ENOENT, ENOTDIR: self.init(.notFound, "\(path): no such file")
    case EACCES, EPERM: self.init(.notFound, "\(path): may not be read (permission denied)")
    default: self.init(.io, "\(path): cannot be read (\(systemReason(code)))")
    }
  }

  private static func kind(_ error: TaskError) -> Kind {
    switch error {
    case .bankNotFound: .notFound
    case .bankExists: .usage
    case .bankIsBusy, .cannotRead, .cannotWrite: .io
    case .outOfMemory, .tooLarge: .unavailable
    case .noConvergence: .bug
    case .stopped: .interrupted
    case .noMinimum, .badManifest, .badSegment, .badIndex, .staleIndex, .otherFeatures, .width, .notFinite, .noLabels, .tooFewClasses, .badGroundTruth: .data
    }
  }

  private static func kind(_ error: SafetensorsError) -> Kind {
    switch error {
    case .fileNotFound, .notAFile: .notFound
    case .cannotRead, .cannotWrite: .io
    case .malformed, .cannotStore, .malformedIndex, .shardOutsideFolder, .tensorNotInShard: .data
    }
  }

  private static func kind(_ error: TorchArchiveError) -> Kind {
    switch error {
    case .cannotRead(_, let code): code == ENOENT || code == ENOTDIR || code == EACCES ? .notFound : .io
    case .cannotWrite: .io
    case .notAFile: .notFound
    default: .data
    }
  }

  private static func kind(_ error: OnnxError) -> Kind {
    switch error {
    case .fileNotFound, .notAFile, .externalDataMissing: .notFound
    case .cannotRead, .cannotWrite, .externalDataUnreadable: .io
    case .malformed, .invalidTensor, .externalDataForbidden, .modelTooLarge: .data
    case .cannotStore: .bug
    }
  }

  private static func kind(_ error: NumPyError) -> Kind {
    switch error {
    case .fileNotFound, .notAFile: .notFound
    case .cannotRead, .cannotWrite: .io
    case .cannotStore, .rowWidth: .bug
    default: .data
    }
  }

  private static func kind(_ error: ImageError) -> Kind {
    switch error {
    case .cannotRead(_, let code): code == ENOENT || code == ENOTDIR || code == EACCES ? .notFound : .io
    case .cannotWrite: .io
    case .invalidParameter: .usage
    default: .data
    }
  }

  private static func kind(_ error: ModelError) -> Kind {
    switch error {
    case .unknownArchitecture: .usage
    case .outOfMemory: .unavailable
    case .graph(.unknownOutput): .usage
    default: .data
    }
  }

  private static func kind(_ error: RuntimeError) -> Kind {
    switch error {
    case .missingInput, .unknownInput, .unknownOutput: .usage
    case .graph, .wrongInputType: .data
    case .foreign(let problem): problem.kind == .invalid ? .data : .unavailable
    case .unsupported, .precisionUnavailable, .outOfMemory: .unavailable
    }
  }
}
