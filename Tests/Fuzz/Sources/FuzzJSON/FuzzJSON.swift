// Any bytes as JSON. What is read, written as text and read again must be the same.

import Safetensors

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  guard let value = try? JSONValue.parse(bytes.span) else { return 0 }
  precondition((try? JSONValue.parse(value.text)) == value)
  return 0
}
