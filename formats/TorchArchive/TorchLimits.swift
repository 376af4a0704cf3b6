// The bounds within which an archive is read. Each is checked before memory is taken or work is done.

/// How much of a file's claims is believed. The standard values fit every checkpoint of the DINO families many times over.
public struct TorchLimits: Sendable, Equatable {
  /// Bytes of one pickle (the structure of the archive, not its tensors).
  public var pickleBytes = 64 << 20
  /// Values that a pickle may make, and that the finished tree may have when shared values are counted at each place they appear.
  public var values = 1_000_000
  /// Nesting of lists, dictionaries and tuples in the finished tree.
  public var depth = 64
  /// Entries of the zip directory.
  public var entries = 200_000
  /// Inflated entries, and the tensors' logical sizes taken together, may be this many times the file's size…
  public var expansion = 64
  /// …or this many bytes, whichever is more.
  public var expansionFloor = 1 << 20
  /// Dimensions of one tensor.
  public var rank = 32
  /// Whether the checksums of stored tensors are checked on opening. That reads the whole file; the pickle and deflated entries are always checked.
  public var verifyTensorChecksums = false

  public init() {}
  public static let standard = TorchLimits()

  /// Bytes that a file of `fileBytes` may stand for.
  func expandedBytes(of fileBytes: Int) -> Int {
    let (product, overflow) = fileBytes.multipliedReportingOverflow(by: expansion)
    return max(overflow ? Int.max : product, expansionFloor)
  }
}
