// Whether text of a file may be a name: strings of Swift are compared and hashed in a normal form, and bringing a long run of combining marks into order takes time with its square. What takes
// names from files asks here first; a few hundred kB of marks would stop it for minutes.

/// Combining marks in a row that a name may have, as Unicode's stream-safe text format (UAX 15).
public let mostMarksInARow = 30

/// Whether comparing a text costs no more than in proportion to its length.
public func isStreamSafe(_ text: String) -> Bool {
  if text.utf8.allSatisfy({ $0 < 0x80 }) { return true }
  var run = 0
  for scalar in text.unicodeScalars {
    run = scalar.properties.canonicalCombiningClass == .notReordered ? 0 : run + 1
    if run > mostMarksInARow { return false }
  }
  return true
}
