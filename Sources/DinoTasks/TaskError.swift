// The errors of this room: what a feature bank or a protocol can find wrong, each as one sentence. Nothing is printed here.

public import DinoTensor

/// Why a bank cannot be used or a task not be done.
public enum TaskError: Error, Sendable, Equatable, CustomStringConvertible {
  case bankNotFound(path: String)
  case bankExists(path: String)
  case bankIsBusy(path: String)
  case badManifest(path: String, reason: String)
  case badSegment(path: String, reason: String)
  case cannotRead(path: String, reason: String)
  case cannotWrite(path: String, reason: String)
  /// Features of another model, preprocessing or choice of tokens.
  case otherFeatures(bank: String, what: String, stored: String, given: String)
  case width(name: String, expected: Int, found: Int)
  case notFinite(name: String)
  /// `example` is one that has none.
  case noLabels(name: String, example: String)
  case tooFewClasses(name: String, count: Int)
  case badGroundTruth(path: String, reason: String)
  case noConvergence(what: String)
  case badIndex(path: String, reason: String)
  /// A graph of the bank as it was.
  case staleIndex(path: String)
  case outOfMemory(bytes: Int)
  /// The caller asked long work to end early; nothing of it is left.
  case stopped
  /// More than the memory that is available.
  case tooLarge(what: String, bytes: Int, available: Int, advice: String)
  /// A classifier that cannot be learnt with this inverse of the regularisation.
  case noMinimum(inverseRegularization: Double)

  public var description: String {
    switch self {
    case .bankNotFound(let path): "\(path): no feature bank there (a folder with \(BankManifest.fileName))"
    case .bankExists(let path): "\(path) exists and is no feature bank"
    case .bankIsBusy(let path): "\(path): another process is writing this bank"
    case .badManifest(let path, let reason): "\(path)/\(BankManifest.fileName): \(reason)"
    case .badSegment(let path, let reason): "\(path): \(reason)"
    case .cannotRead(let path, let reason): "\(path) cannot be read: \(reason)"
    case .cannotWrite(let path, let reason): "\(path) cannot be written: \(reason)"
    case .otherFeatures(let bank, let what, let stored, let given):
      "\(bank) was made with another \(what), so its features cannot be compared: it has \(stored), this is \(given)"
    case .width(let name, let expected, let found): "\(name): features of \(found) numbers, where \(expected) are expected"
    case .notFinite(let name): "\(name): its feature has values that are not finite"
    case .noLabels(let name, let example): "\(name): not every image has a class, \(example) has none; the class is the first folder below the one that is named, so name the folder that holds the folders of the classes"
    case .tooFewClasses(let name, let count): "\(name): \(count) class\(count == 1 ? "" : "es"), where a classifier needs at least 2"
    case .badGroundTruth(let path, let reason): "\(path): \(reason)"
    case .noConvergence(let what): "\(what) did not converge"
    case .badIndex(let path, let reason): "\(path): \(reason)"
    case .staleIndex(let path): "\(path) is of the bank as it was: rows were added or moved since"
    case .outOfMemory(let bytes): "not enough memory: \(bytes) bytes were asked for"
    case .stopped: "interrupted"
    case .tooLarge(let what, let bytes, let available, let advice): "\(what): \(bytes / 1_000_000) MB are needed and \(available / 1_000_000) MB of memory are available; \(advice)"
    case .noMinimum(let c): "the logistic regression with C = \(c) has no minimum that double precision can hold; try a C nearer to 1, and see whether features are very large"
    }
  }

  public init(_ error: StorageError, path: String) {
    switch error {
    case .cannotOpen(_, let code): self = .cannotRead(path: path, reason: "error \(code)")
    case .notAFile: self = .cannotRead(path: path, reason: "not a regular file")
    case .outOfMemory(let bytes): self = .outOfMemory(bytes: bytes)
    }
  }
}
