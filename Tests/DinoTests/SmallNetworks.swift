// How the suites of small networks in several libraries' files (RegisterTests, RotaryTests, GatedTests) open them.

import Dino
import DinoRuntime

enum SmallNetworks {
  static func load(_ path: String, _ precision: DinoRuntime.Precision? = nil) throws -> DinoModel {
    var options = DinoModel.Options()
    options.precision = precision
    // These files do not say it, and what names no heads must not be asked.
    if path.hasSuffix(".pth") || path.hasSuffix("plain.safetensors") { options.heads = 3 }
    return try DinoModel(contentsOf: path, options: options)
  }
}
