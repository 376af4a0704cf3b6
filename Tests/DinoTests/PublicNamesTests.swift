// What a program can say that imports Dino and no other room of the package.

import Dino
import Testing

@Suite struct PublicNamesTests {
  /// The types of a function that prepares and runs by hand.
  private static func run(_ model: DinoModel, _ inputs: [String: Tensor], precision: Precision?, record: Preprocessing) throws -> [(Tensor, Shape?, DType?)] {
    try model.run(inputs, outputs: ["cls"]).values.map { ($0, nil, nil) }
  }

  @Test func typesOfTheInterfaceHaveNames() {
    let types: [Any.Type] = [Tensor.self, Shape.self, DType.self, Precision.self, Preprocessing.self, ViTConfig.self, Provenance.self, QuantizationRecord.self, Image.self, PixelLayout.self, DecodeOptions.self]
    #expect(Set(types.map { "\($0)" }).count == types.count)
  }
}
