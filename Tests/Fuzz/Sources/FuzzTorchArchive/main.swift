// Fuzz target: any bytes as a PyTorch archive. They are scanned, opened, printed, and every tensor is read. A refusal is an answer;
// a trap, a hang or memory beyond the file's class of size is a finding.

import DinoTensor
import TorchArchive

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzTorchArchive(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  guard let storage = try? Storage(byteCount: count) else { return 0 }
  if let start { storage.base.copyMemory(from: start, byteCount: count) }
  // Smaller limits find the same faults sooner.
  var limits = TorchLimits()
  limits.values = 20_000
  limits.expansionFloor = 1 << 16
  if let report = try? TorchArchive.scan(storage: storage, name: "input", limits: limits) { _ = report.isClean }
  guard let archive = try? TorchArchive(storage: storage, name: "input", limits: limits) else { return 0 }
  _ = archive.root.description
  _ = archive.args
  _ = try? archive.stateDict(at: ["teacher"])
  for (_, tensor) in archive.root.tensors {
    guard let values = try? tensor.tensor() else { continue }
    precondition(values.shape == tensor.shape && values.dtype == tensor.dtype)
    if values.dtype.convertsToFloat { _ = values.floats() }
  }
  return 0
}
