// Archives that PyTorch wrote, against the values PyTorch says they have.

import DinoTensor
import Foundation
import TestSupport
import Testing
@testable import TorchArchive

@Suite struct ArchiveTests {
  static let names = ExpectedTensor.all.keys.sorted()

  @Test func expectationsAreThere() { #expect(Self.names.count >= 18) }

  @Test(arguments: names)
  func tensorsAreThoseOfTheOriginal(name: String) throws {
    let archive = try TorchArchive(path: fixture(name))
    #expect(archive.container == (name.contains("legacy") ? .legacy : .zip))
    let expected = try #require(ExpectedTensor.all[name])
    // A bare storage is a tensor here and none in the original.
    let tensors = archive.root.tensors.filter { $0.name != "storage" }
    #expect(Set(tensors.map(\.name)) == Set(expected.keys))
    for (key, found) in tensors {
      let e = try #require(expected[key])
      #expect(AllowedGlobal.elementTypes[e.dtype] == found.dtype, "\(key)")
      #expect(found.shape.dims == e.shape, "\(key)")
      #expect(found.strides == e.strides, "\(key)")
      #expect(doubles(try found.tensor()) == e.values, "\(key)")
    }
  }

  @Test func contiguousTensorsOfStoredEntriesAreNotCopied() throws {
    let archive = try TorchArchive(path: fixture("layouts.pth"))
    let views = ["offset", "shared_a", "shared_b", "scalar", "one", "parameter"]
    for name in views { #expect(try archive[name]?.tensorValue?.tensor().storage.kind == .mapped, "\(name)") }
    for name in ["transposed", "strided", "expanded", "column"] {
      #expect(try archive[name]?.tensorValue?.tensor().storage.kind == .allocated, "\(name)")
    }
    let a = try #require(archive["shared_a"]?.tensorValue), b = try #require(archive["shared_b"]?.tensorValue)
    #expect(a.storageKey == b.storageKey)
    #expect(try a.tensor().storage === b.tensor().storage)
  }

  @Test func deflatedStoragesAreInflatedOnce() throws {
    let archive = try TorchArchive(path: fixture("layouts_deflated.pth"))
    let a = try #require(archive["shared_a"]?.tensorValue).tensor(), b = try #require(archive["shared_b"]?.tensorValue).tensor()
    #expect(a.storage === b.storage)
    #expect(a.storage.kind == .allocated)
  }

  @Test func parametersAndGradients() throws {
    let archive = try TorchArchive(path: fixture("layouts.pth"))
    let parameter = try #require(archive["parameter"]?.tensorValue)
    #expect(parameter.isParameter && parameter.requiresGradient)
    let gradient = try #require(archive["gradient"]?.tensorValue)
    #expect(!gradient.isParameter && gradient.requiresGradient)
    #expect(archive["scalar"]?.tensorValue?.requiresGradient == false)
  }

  @Test(arguments: ["training.pth", "training_legacy.pth"])
  func trainingCheckpoint(name: String) throws {
    let archive = try TorchArchive(path: fixture(name))
    #expect(archive.root.keys == ["student", "teacher", "optimizer", "epoch", "args", "fp16_scaler", "dino_loss"])
    #expect(archive["epoch"]?.intValue == 3)
    #expect(archive["dino_loss"]?["center"]?.tensorValue?.shape == [1, 5])
    #expect(archive["optimizer"]?["param_groups"]?.elements?.first?["lr"]?.doubleValue == 5e-4)
    let args = try #require(archive.args)
    #expect(args.map(\.name) == ["arch", "patch_size", "lr", "norm_last_layer", "data_path", "local_crops_scale", "output_dir"])
    #expect(args.map(\.value.description) == ["\"vit_small\"", "16", "0.0005", "True", "\"/data/images\"", "(0.05, 0.4)", "None"])
    #expect(try archive.stateDict(at: ["teacher"]).map(\.name) == ["0.weight", "0.bias", "2.weight", "2.bias"])
    #expect(try archive.stateDict(at: ["student"]).first?.name == "module.backbone.0.weight")
  }

  @Test func missingKeysNameThoseThatAreThere() throws {
    let archive = try TorchArchive(path: fixture("training.pth"))
    let error = #expect(throws: TorchArchiveError.self) { try archive.stateDict(at: ["model"]) }
    #expect(error?.description.contains("\"teacher\"") == true)
    #expect(throws: TorchArchiveError.self) { try archive.stateDict(at: ["epoch"]) }
  }

  @Test func valuesOfEveryKind() throws {
    let root = try TorchArchive(path: fixture("values.pth")).root
    func text(_ key: String) -> String? { root[key]?.description }
    #expect(text("none") == "None")
    #expect(root["true"]?.boolValue == true)
    #expect(root["int"]?.intValue == -70000)
    #expect(root["wide"]?.intValue == 1 << 40)
    if case .bigInteger(let raw)? = root["huge"] { #expect(raw == [UInt8](repeating: 0, count: 12) + [16]) } else { Issue.record("2^100") }
    if case .bigInteger(let raw)? = root["negative_huge"] { #expect(raw == [UInt8](repeating: 0, count: 8) + [0xC0]) } else { Issue.record("-2^70") }
    #expect(root["float"]?.doubleValue == 1.25)
    #expect(root["text"]?.stringValue == "Größe ✓")
    if case .bytes(let raw)? = root["bytes"] { #expect(raw == [0, 255, 128]) } else { Issue.record("bytes") }
    if case .bytes(let raw)? = root["empty_bytes"] { #expect(raw.isEmpty) } else { Issue.record("empty bytes") }
    if case .bytes(let raw)? = root["bytearray"] { #expect(raw == [97, 98]) } else { Issue.record("bytearray") }
    #expect(text("list") == "[1, [2, 3]]")
    #expect(text("tuple") == "(1, \"a\")")
    #expect(text("set") == "{5}")
    #expect(text("frozen") == "{6}")
    #expect(text("slice") == "slice(1, None, 2)")
    #expect(text("complex") == "(1.0+-2.0j)")
    #expect(text("device") == "device(\"cuda:1\")")
    #expect(text("size") == "(2, 3)")
    #expect(text("dtype") == "torch.bfloat16")
    #expect(text("counter") == "{\"a\": 2, \"b\": 1}")
    #expect(text("default") == "{\"a\": [1]}")
    #expect(text("version") == "\"2.1.0\"")
    #expect(root["np_float"]?.doubleValue == 0.5)
    #expect(root["np_int"]?.intValue == -9)
    #expect(root["np_bool"]?.boolValue == true)
    for (key, type) in [("np_array", DType.i32), ("np_fortran", .f64)] {
      guard case .array(let array)? = root[key] else {
        Issue.record("\(key)")
        continue
      }
      #expect(array.dtype == type && array.shape == [2, 3])
      #expect(doubles(array) == [0, 1, 2, 3, 4, 5])
    }
    #expect(root["storage"]?.tensorValue?.shape == [12])
  }

  @Test func valuesOfProtocol5() throws {
    let root = try TorchArchive(path: fixture("values_protocol5.pth")).root
    guard case .array(let array)? = root["np_array"] else {
      Issue.record("np_array")
      return
    }
    #expect(doubles(array) == [0, 1, 2, 3, 4, 5])
    #expect(root["np_float"]?.doubleValue == 0.5)
    #expect(root["set"]?.description == "{1}")
  }

  @Test(arguments: [("torchscript.pt", "TorchScript"), ("module.pth", "torch.nn.modules.linear.Linear"), ("complex128.pth", "ComplexDoubleStorage"),
                    ("sparse.pth", "_rebuild_sparse_tensor")])
  func otherFormsAreRefusedByName(name: String, words: String) {
    let error = #expect(throws: TorchArchiveError.self) { try TorchArchive(path: fixture(name)) }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
  }

  @Test func checksumsOnRequest() throws {
    var bytes = try contents(fixture("zip.pth"))
    let archive = try TorchArchive(storage: storage(bytes), name: "zip")
    let tensor = try #require(archive["norm.weight"]?.tensorValue).tensor()
    bytes[tensor.byteOffset] ^= 1
    #expect(throws: Never.self) { try TorchArchive(storage: storage(bytes), name: "zip") }
    var limits = TorchLimits()
    limits.verifyTensorChecksums = true
    let error = #expect(throws: TorchArchiveError.self) { try TorchArchive(storage: storage(bytes), name: "zip", limits: limits) }
    #expect(error?.description.contains("checksum") == true)
  }

  @Test func missingFilesAndFolders() {
    #expect(throws: TorchArchiveError.cannotRead(file: "/nowhere.pth", code: 2)) { try TorchArchive(path: "/nowhere.pth") }
    #expect(throws: TorchArchiveError.notAFile(file: "/tmp")) { try TorchArchive(path: "/tmp") }
  }
}
