// Any bytes as a safetensors file. They load or they do not; what loads is written and read again, and must be the same.

import DinoTensor
import Safetensors

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  let file: SafetensorsFile
  do { file = try SafetensorsFile(bytes: bytes) } catch {
    precondition(!error.description.isEmpty)
    return 0
  }
  var total = 0
  for name in file.names {
    guard let tensor = file.tensor(name) else { fatalError("a listed tensor is not there") }
    total += tensor.byteCount
    if tensor.dtype.convertsToFloat { precondition(tensor.floats().count == tensor.count) }
  }
  precondition(total <= count)
  guard let written = try? SafetensorsWriter.bytes(file.names.map { ($0, file.tensor($0)!) }, metadata: file.metadata) else { fatalError("what was read cannot be written") }
  guard let again = try? SafetensorsFile(bytes: written) else { fatalError("what was written cannot be read") }
  precondition(Set(again.names) == Set(file.names) && again.metadata == file.metadata)
  return 0
}
