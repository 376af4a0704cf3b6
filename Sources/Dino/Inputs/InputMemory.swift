// Whether a network's input of some size fits into the memory there is: asked before it is made. All that the network needs beyond it is
// checked by its plan.

internal import DinoKernels

public enum InputMemory {
  /// 8-bit pixels of three channels, their floats, and these again in the order of patches: all exist at once.
  static let bytesPerPixel = 3 + 2 * 3 * MemoryLayout<Float>.size

  /// What reading photographs and running take beside everything that is counted: code that is first used then, decoders, threads, small blocks. Measured: 2.5 to 6.8 MB over networks of ViT-S's
  /// size, DINOv3's among them, three precisions, images of 224 and 448 pixels, batches of 1 and 8.
  static let running = 4_000_000

  /// How many images may be ready, or in the making, while a batch runs: the next batch, and never so few that a worker waits.
  public static func imagesAhead(batch: Int, workers: Int) -> Int { max(batch, workers + 1) }

  /// How many images there are beside the input of a run, when photographs are decoded ahead of it: those ready or in the making, and one that is copied to its batch.
  static func imagesBeside(batch: Int, workers: Int) -> Int { imagesAhead(batch: batch, workers: workers) + (batch > 1 ? 1 : 0) }

  /// Refuses inputs that cannot fit. Small ones are not worth asking the system for.
  public static func check(images: Int, height: Int, width: Int) throws(DinoError) {
    let bytes = Double(images) * Double(height) * Double(width) * Double(bytesPerPixel)
    guard bytes > 256e6, let available = availableMemory(), bytes > Double(available) else { return }
    let what = images == 1 ? "an input" : "\(images) inputs"
    throw DinoError(.unavailable, "\(what) of \(height)x\(width) pixels: \(Int(bytes / 1e6)) MB are needed and \(available / 1_000_000) MB of memory are available",
                    hint: "give a smaller --image-size\(images == 1 ? "" : " or fewer images at once")")
  }
}
