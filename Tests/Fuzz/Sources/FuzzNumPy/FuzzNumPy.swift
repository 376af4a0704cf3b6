// Any bytes as an .npy file and as an .npz archive.

import DinoTensor
import NumPyArrays

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  if let tensor = try? NumPyArray.read(bytes: bytes) { precondition(tensor.byteCount <= count) }
  guard let archive = try? NumPyArchive(bytes: bytes, limits: NumPyArchiveLimits(memberBytes: 1 << 20)) else { return 0 }
  for name in archive.names {
    if let tensor = try? archive.tensor(name) { precondition(tensor.byteCount <= 1 << 20 || tensor.byteCount <= count) }
  }
  return 0
}
