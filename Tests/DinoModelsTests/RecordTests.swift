// Metadata both ways: round trips, exact texts, and hostile JSON, which must give errors that name the key.

import DinoGraph
import DinoModels
import TestSupport
import Testing

private let goldenConfig = #"""
  {"activation":"gelu","depth":12,"embed_dim":384,"family":"dino_vit","ffn":"mlp","head":null,"in_channels":3,"layer_scale":false,"mlp_ratio":4,"norm_eps":1e-06,"num_heads":6,"patch_size":16,"position_embedding":{"kind":"learned","native_grid":[14,14],"resize":{"antialias":false,"cubic_a":-0.75,"kernel":"bicubic","offset":0.1}},"qkv_bias":true,"register_tokens":0}
  """#

@Suite struct RecordTests {
  @Test func configTextIsExact() throws {
    #expect(try Registry.configuration("vit_small").json() == goldenConfig)
    #expect(try ViTConfig(json: goldenConfig) == Registry.configuration("vit_small"))
  }

  /// A classifier beside the network is no head of the configuration: `dino.classes` has it.
  @Test func probesAreNotInTheConfiguration() throws {
    var config = try Registry.configuration("vit_small")
    config.head = .probe(.init(classes: 3, tokens: .clsAndMean))
    #expect(try config.json() == goldenConfig)
    for probe in [ViTConfig.Probe(classes: 0, tokens: .mean), .init(classes: 3, tokens: .cls, layers: 0), .init(classes: 3, tokens: .cls, layers: 13)] {
      config.head = .probe(probe)
      #expect(throws: ModelError.self) { try config.validate() }
    }
  }

  /// Rule M15: an activation that is not said is the originals' of the feed-forward part.
  @Test func whatIsNotSaidFollowsFromTheFeedForwardPart() throws {
    for (feedForward, activation) in [("mlp", Activation.gelu), ("swiglu", .silu)] {
      let text = goldenConfig.replacing(#""ffn":"mlp""#, with: "\"ffn\":\"\(feedForward)\"")
      let silent = try ViTConfig(json: text.replacing(#""activation":"gelu","#, with: ""))
      #expect(silent.activation == activation && silent.feedForward.rawValue == feedForward)
      #expect(try ViTConfig(json: text).activation == .gelu)
    }
  }

  @Test func configsSurviveTheRoundTrip() throws {
    var random = SplitMix64(seed: 7)
    for _ in 0..<200 {
      let heads = Int.random(in: 1...16, using: &random)
      let head: ViTConfig.Head? = switch Int.random(in: 0..<3, using: &random) {
      case 0: nil
      case 1: .classifier(classes: Int.random(in: 1...1000, using: &random))
      default: .projection(.init(layers: Int.random(in: 1...5, using: &random), hiddenDim: 7, bottleneckDim: 3, outDim: 9, batchNorm: Bool.random(using: &random)))
      }
      let config = ViTConfig(
        patchSize: Int.random(in: 1...32, using: &random), embedDim: heads * Int.random(in: 1...64, using: &random),
        depth: Int.random(in: 1...40, using: &random), numHeads: heads, mlpRatio: Double.random(in: 1...8, using: &random),
        qkvBias: Bool.random(using: &random), feedForward: Bool.random(using: &random) ? .mlp : .swiglu, layerScale: Bool.random(using: &random), normEpsilon: Double.random(in: 1e-12...1e-3, using: &random),
        activation: [.gelu, .geluTanh, .relu, .silu].randomElement(using: &random)!, nativeRows: Int.random(in: 1...40, using: &random),
        nativeColumns: Int.random(in: 1...40, using: &random), positionResize: [.officialOffset, .antialiased, .sized].randomElement(using: &random)!, head: head)
      let again = try ViTConfig(json: config.json())
      #expect(again == config)
      #expect(again.mlpHiddenDim == config.mlpHiddenDim)
      #expect(try again.json() == config.json())
    }
  }

  @Test func recordsSurviveTheRoundTrip() throws {
    let cls = (0..<20).map { Float($0) / 7 - 1 }
    var record = ModelRecord(
      config: try Registry.configuration("vit_tiny", head: .projection(.init())), preprocessing: .imageNet,
      provenance: Provenance(tool: "dinoctl 0.1.0", source: .init(file: "a/b \"c\".pth", sha256: "00ff"), training: .object(["lr": .number(0.5), "n": .integer(3), "x": .array([.null, .bool(true)])]),
                             chain: ["convert"]),
      selfTests: [SelfTest.Entry(seed: 0, height: 224, width: 224, cls: cls), SelfTest.Entry(seed: 1, height: 64, width: 32, cls: cls)],
      other: ["author": "someone"])
    record.quantization = QuantizationRecord(scheme: "int8", tensors: ["head.weight": .init(kind: .int4, shape: [5, 7])], calibrationDigest: String(repeating: "0f", count: 32),
                                             quality: ["cosine_mean": 0.75], sensitivity: ["head.weight": 0.5], modelDigest: String(repeating: "1e", count: 32))
    let metadata = try record.metadata()
    #expect(metadata["format"] == "pt")
    #expect(metadata["dino.format_version"] == "1")
    #expect(metadata["dino.provenance"]?.contains("a/b") == true)
    #expect(metadata["author"] == "someone")
    #expect(try ModelRecord(metadata: metadata) == record)
    #expect(try ModelRecord(metadata: metadata).metadata() == metadata)
    #expect(record.selfTests[0].cls.count == 16)
  }

  @Test func aSingleSelfTestIsAListOfOne() throws {
    let metadata = [
      "dino.format_version": "1", "dino.config": goldenConfig,
      "dino.self_test": #"{"version":1,"seed":0,"height":32,"width":48,"cls":[0.5,1],"norm":2,"tolerance":{"f32":1e-3}}"#,
    ]
    #expect(try ModelRecord(metadata: metadata).selfTests.map(\.width) == [48])
  }

  @Test func versionsAndMissingEntries() {
    #expect(throws: ModelError.missingKey("dino.format_version")) { try ModelRecord(metadata: ["dino.config": goldenConfig]) }
    #expect(throws: ModelError.missingKey("dino.config")) { try ModelRecord(metadata: ["dino.format_version": "1"]) }
    #expect(throws: ModelError.unsupportedVersion("2")) { try ModelRecord(metadata: ["dino.format_version": "2", "dino.config": "not read"]) }
  }

  /// Positions without a grid: only their kind and base are in the text.
  @Test func rotaryConfigs() throws {
    let config = try Registry.configuration("dinov3_vits16"), text = try config.json()
    #expect(text.contains(#""position_embedding":{"base":100,"kind":"rotary"}"#) && text.contains(#""norm_eps":1e-05"#))
    #expect(try ViTConfig(json: text) == config)
    let hostile = [(#""base":100,"#, "", "base"), (#""base":100"#, #""base":0"#, "base"), (#""base":100"#, #""base":-100"#, "base"), (#""base":100"#, #""base":1e300"#, "base"),
                   (#""base":100"#, #""base":"100""#, "base"), (#""num_heads":6"#, #""num_heads":64"#, "num_heads"), (#""num_heads":6"#, #""num_heads":0"#, "num_heads")]
    for (from, to, names) in hostile {
      #expect(text.contains(from))
      #expect("\(to)") { try ViTConfig(json: text.replacing(from, with: to)) } throws: { $0 is ModelError && "\($0)".contains(names) }
    }
  }

  @Test func unknownKeysAreIgnored() throws {
    let text = goldenConfig.replacing(#"{"activation""#, with: #"{"future":{"a":[1,2]},"activation""#)
    #expect(try ViTConfig(json: text) == ViTConfig(json: goldenConfig))
  }

  static let hostile: [(from: String, to: String, names: String)] = [
    (#""depth":12"#, #""depth":1000000000"#, "depth"),
    (#""depth":12"#, #""depth":0"#, "depth"),
    (#""depth":12"#, #""depth":-3"#, "depth"),
    (#""depth":12"#, #""depth":"12""#, "depth"),
    (#""depth":12"#, #""depth":12.5"#, "depth"),
    (#""depth":12"#, #""depth":1e400"#, "dino.config"),
    (#""depth":12"#, #""depth":99999999999999999999999"#, "depth"),
    (#""depth":12"#, #""depth":null"#, "depth"),
    (#""depth":12,"#, "", "depth"),
    (#""embed_dim":384"#, #""embed_dim":9223372036854775807"#, "embed_dim"),
    (#""embed_dim":384"#, #""embed_dim":65537"#, "embed_dim"),
    (#""num_heads":6"#, #""num_heads":7"#, "num_heads"),
    (#""num_heads":6"#, #""num_heads":0"#, "num_heads"),
    (#""patch_size":16"#, #""patch_size":4097"#, "patch_size"),
    (#""patch_size":16"#, #""patch_size":[16]"#, "patch_size"),
    (#""in_channels":3"#, #""in_channels":-9223372036854775808"#, "in_channels"),
    (#""mlp_ratio":4"#, #""mlp_ratio":1e300"#, "mlp_ratio"),
    (#""mlp_ratio":4"#, #""mlp_ratio":0"#, "mlp_ratio"),
    (#""mlp_ratio":4"#, #""mlp_ratio":NaN"#, "dino.config"),
    (#""mlp_ratio":4"#, #""mlp_ratio":"NaN""#, "mlp_ratio"),
    (#""norm_eps":1e-06"#, #""norm_eps":-1"#, "norm_eps"),
    (#""register_tokens":0"#, #""register_tokens":65"#, "register_tokens"),
    (#""register_tokens":0"#, #""register_tokens":-1"#, "register_tokens"),
    (#""ffn":"mlp""#, #""ffn":"moe""#, "ffn"),
    (#""ffn":"mlp""#, #""ffn":true"#, "ffn"),
    (#""activation":"gelu""#, #""activation":"tanh""#, "activation"),
    (#""family":"dino_vit""#, #""family":"resnet""#, "family"),
    (#"[14,14]"#, #"[14]"#, "native_grid"),
    (#"[14,14]"#, #"[14,0]"#, "native_grid"),
    (#"[14,14]"#, #"[4611686018427387904,4]"#, "native_grid"),
    (#""kind":"learned""#, #""kind":"rope""#, "kind"),
    (#""kernel":"bicubic""#, #""kernel":"lanczos""#, "kernel"),
    (#""cubic_a":-0.75"#, #""cubic_a":1e308"#, "cubic_a"),
    (#""offset":0.1"#, #""offset":-0.1"#, "offset"),
    (#""offset":0.1"#, #""offset":1"#, "offset"),
    (#""head":null"#, #""head":{"kind":"classifier","classes":0}"#, "classes"),
    (#""head":null"#, #""head":{"kind":"classifier"}"#, "classes"),
    (#""head":null"#, #""head":{"kind":"other"}"#, "head.kind"),
    (#""head":null"#, #""head":{"kind":"dino","layers":1000000,"hidden_dim":1,"bottleneck_dim":1,"out_dim":1}"#, "layers"),
    (#""head":null"#, #""head":{"kind":"dino","layers":3,"hidden_dim":1,"bottleneck_dim":1,"out_dim":9223372036854775807}"#, "out_dim"),
    (#"}}"#, #"}"#, "dino.config"),
  ]

  @Test(arguments: hostile.indices) func hostileConfigs(_ i: Int) {
    let (from, to, names) = Self.hostile[i]
    let text = goldenConfig.replacing(from, with: to)
    #expect(text != goldenConfig)
    #expect("\(to)") { try ViTConfig(json: text) } throws: { error in
      let sentence = "\(error)"
      return error is ModelError && sentence.contains(names) && sentence.hasSuffix(".") && sentence.utf8.count < 400
    }
  }

  @Test func deepAndLongTextsAreRefusedUnparsed() {
    for text in [String(repeating: "[", count: 100_000), String(repeating: #"{"a":"#, count: 50_000), "\"" + String(repeating: "x", count: 2 << 20) + "\"", "", "null", "[]", "\0"] {
      #expect(throws: ModelError.self) { try ViTConfig(json: text) }
    }
  }

  @Test func truncatedAndAlteredTextsNeverTrap() throws {
    // Whatever comes out, it must be a value or a ModelError: a trap would end the test program.
    let bytes = Array(goldenConfig.utf8)
    for n in 0..<bytes.count { #expect(throws: ModelError.self) { try ViTConfig(json: String(decoding: bytes[..<n], as: UTF8.self)) } }
    var random = SplitMix64(seed: 11)
    for _ in 0..<2000 {
      var altered = bytes
      for _ in 0..<Int.random(in: 1...3, using: &random) { altered[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 32...126, using: &random) }
      do throws(ModelError) {
        let config = try ViTConfig(json: String(decoding: altered, as: UTF8.self))
        #expect(throws: Never.self) { try config.validate() }
      } catch {}
    }
  }

  @Test func preprocessingForms() throws {
    let text = #"{"channel_order":"rgb","crop":224,"interpolation":"bicubic","mean":[0.485,0.456,0.406],"resize":256,"std":[0.229,0.224,0.225]}"#
    #expect(try Preprocessing.imageNet.json() == text)
    #expect(try Preprocessing(json: text) == .imageNet)
    var floored = Preprocessing.imageNet
    floored.cropRounding = .floor
    let flooredText = try floored.json()
    #expect(flooredText.contains(#""crop_rounding":"floor""#))
    #expect(try Preprocessing(json: flooredText) == floored)
    #expect(try Preprocessing(json: #"{"resize":[480,640],"crop":null,"mean":[0.5],"std":[0.5]}"#).resize == .exact(height: 480, width: 640))
    #expect(try Preprocessing(json: #"{"resize":null,"mean":[0.5],"std":[0.5]}"#).resize == nil)
    for bad in [
      #"{"resize":0,"mean":[0.5],"std":[0.5]}"#, #"{"resize":[1,2,3],"mean":[0.5],"std":[0.5]}"#, #"{"resize":"big","mean":[0.5],"std":[0.5]}"#,
      #"{"mean":[],"std":[]}"#, #"{"mean":[0.5],"std":[0]}"#, #"{"mean":[0.5],"std":[0.5,0.5]}"#, #"{"mean":[1e300],"std":[1]}"#, #"{"std":[1]}"#,
      #"{"mean":[0.5],"std":[0.5],"crop":-1}"#, #"{"mean":[0.5],"std":[0.5],"interpolation":"best"}"#, #"{"mean":[0.5],"std":[0.5],"crop_rounding":"up"}"#, #"{"mean":[0.5],"std":[0.5],"channel_order":"xyz"}"#,
    ] {
      #expect(throws: ModelError.self, "\(bad)") { try Preprocessing(json: bad) }
    }
  }

  @Test func hostileSelfTests() {
    for bad in [
      #"[]x"#, #"{"version":2,"seed":0,"height":32,"width":48,"cls":[0.5],"norm":2,"tolerance":{}}"#,
      #"{"version":1,"seed":0,"height":1000000,"width":1000000,"cls":[0.5],"norm":2,"tolerance":{}}"#,
      #"{"version":1,"seed":-1,"height":32,"width":48,"cls":[0.5],"norm":2,"tolerance":{}}"#,
      #"{"version":1,"seed":0,"height":32,"width":48,"cls":[],"norm":2,"tolerance":{}}"#,
      #"{"version":1,"seed":0,"height":32,"width":48,"cls":[1e99],"norm":2,"tolerance":{}}"#,
      #"{"version":1,"seed":0,"height":32,"width":48,"cls":[1],"norm":2,"tolerance":{"f32":-1}}"#,
      #"[1]"#, #"7"#,
    ] {
      #expect(throws: ModelError.self, "\(bad)") {
        try ModelRecord(metadata: ["dino.format_version": "1", "dino.config": goldenConfig, "dino.self_test": bad])
      }
    }
  }
}
