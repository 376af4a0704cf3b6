// The one error type of the facade: what kind of failure, a sentence, and what to try. DinoError+Rooms.swift turns the errors of the
// rooms below into it. Nothing is printed here.

/// Why something could not be done.
public struct DinoError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The kinds of failure that a caller may want to treat differently. `dinoctl` has an exit code for each.
  public enum Kind: String, Sendable, Equatable, CaseIterable {
    /// The request contradicts itself or the model: a head that is not there, an impossible size.
    case usage
    /// A file is malformed, or its parts contradict each other.
    case data
    /// A file or folder is not there or may not be opened.
    case notFound
    /// It is well formed but not available here: an operator, a precision, a library.
    case unavailable
    /// A defect of this library.
    case bug
    /// A read or write failed.
    case io
    /// Stopped from outside.
    case interrupted
  }

  public var kind: Kind
  /// One sentence: the thing, what was expected, what was found.
  public var message: String
  /// What to try, where something can be tried.
  public var hint: String?

  public init(_ kind: Kind, _ message: String, hint: String? = nil) {
    self.kind = kind
    self.message = message
    self.hint = hint
  }

  public var description: String { hint.map { "\(message) (\($0))" } ?? message }
}
