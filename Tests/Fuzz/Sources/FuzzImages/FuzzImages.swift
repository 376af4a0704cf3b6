// libFuzzer entry: any bytes to the image decoder, with small limits. A finding is a crash, a sanitizer report, a leak or a hang;
// an ImageError is the right answer. What decodes is also resized, written as PNG and read again.

import DinoImaging

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzImages(_ data: UnsafePointer<UInt8>, _ count: Int) -> CInt {
  let bytes = Array(UnsafeBufferPointer(start: data, count: count))
  var options = DecodeOptions()
  options.maximumPixels = 1 << 18
  options.maximumMemory = 64 << 20
  options.applyOrientation = true
  guard let image = try? ImageDecoder.decode(bytes: bytes, options: options) else { return 0 }
  guard let small = try? Resampler.resize(image, width: 1 + count % 40, height: 1 + count % 23, interpolation: .bicubic),
        let file = try? PNGEncoder.encode(small), let again = try? ImageDecoder.decode(bytes: file)
  else { fatalError("a decoded picture could not be resized and written") }
  precondition(again == small)
  return 0
}
