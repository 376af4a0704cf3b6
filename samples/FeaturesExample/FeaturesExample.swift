// A program that uses the library: the feature of a photograph, and how alike two photographs are to the network.
//   swift run FeaturesExample CHECKPOINT PHOTOGRAPH [PHOTOGRAPH]

import Dino

@main struct FeaturesExample {
  static func main() throws {
    let arguments = CommandLine.arguments.dropFirst()
    guard let checkpoint = arguments.first, arguments.count >= 2 else { return print("usage: FeaturesExample CHECKPOINT PHOTOGRAPH [PHOTOGRAPH]") }

    var options = DinoModel.Options()
    options.manyImages = true  // as `dinoctl features` does: to the last bit its numbers
    let model = try DinoModel(contentsOf: checkpoint, options: options)
    let features = try arguments.dropFirst().map { try model.features(ofImageAt: $0) }
    print("\(features[0].count) numbers, the first: \(features[0].prefix(4))")

    if features.count > 1 { print("cosine: \(cosine(features[0], features[1]))") }
  }

  static func cosine(_ a: [Float], _ b: [Float]) -> Float {
    func dot(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
    return dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot()
  }
}
