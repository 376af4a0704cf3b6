// What a row is known by. Paths are kept as they were given; whether two are of one image is asked by this.

/// The bytes of a path without what does not change where it leads: `.` components, doubled slashes and one at the end. `./a//b.png` and `a/b.png` have one key;
/// two files whose names are equal as text have two.
public func rowKey(_ path: String) -> [UInt8] {
  let slash = UInt8(ascii: "/"), dot = UInt8(ascii: "."), bytes = Array(path.utf8)
  let parts = bytes.split(separator: slash).filter { !$0.elementsEqual([dot]) }
  let relative = Array(parts.joined(separator: [slash]))
  if bytes.first == slash { return [slash] + relative }
  // The working folder; an empty path is nothing.
  return relative.isEmpty && !bytes.isEmpty ? [dot] : relative
}
