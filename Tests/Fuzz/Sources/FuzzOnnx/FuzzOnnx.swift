// Any bytes as an ONNX model. It reads or it does not; every tensor has values or an error, in proportion to the file; what is read can be written,
// and what was written reads as the same bytes.

import DinoTensor
import ONNXFormat

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: start, count: count))
  let file: OnnxFile
  do { file = try OnnxFile(bytes: bytes) } catch {
    precondition(!error.description.isEmpty && !error.description.contains("\n"))
    return 0
  }
  for tensor in file.model.tensors {
    do {
      let values = try file.tensor(tensor)
      // At most a byte's four elements of 2 bits, or two of FLOAT4E2M1 as floats; a packed number may be one byte for eight.
      precondition(values.byteCount <= count * 8)
    } catch { precondition(!error.description.isEmpty) }
    _ = try? tensor.strings()
  }
  let written: [UInt8]
  do { written = try OnnxWriter.bytes(file.model) } catch {
    // What reads and has no written form: conflicting data; a sparse tensor without parts at the greatest depth, since they are written.
    guard case .cannotStore(let reason) = error, reason.contains("conflicting") || reason.contains("deep") else { fatalError("\(error)") }
    return 0
  }
  guard let again = try? OnnxFile(bytes: written) else { fatalError("what was written cannot be read") }
  guard let third = try? OnnxWriter.bytes(again.model) else { fatalError("what was read again cannot be written") }
  precondition(third == written)
  return 0
}
