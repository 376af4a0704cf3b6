// swift-tools-version: 6.2
// The rooms of the DINO toolkit: one row each, and the complete list of what it may import.
// Arrows point down only; Tests/RoomRulesTests reads this file and the imports and fails on an arrow that is not here.

import Foundation
import PackageDescription

/// CI sets this: a warning in our own code then fails the build.
let warningsAreErrors = ProcessInfo.processInfo.environment["DINO_WARNINGS_AS_ERRORS"] == "1"

let common: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
] + (warningsAreErrors ? [.treatAllWarnings(as: .error)] : [])

/// The same for C.
let cStrict: [CSetting] = warningsAreErrors ? [.treatAllWarnings(as: .error)] : []

/// Rooms that own memory or call kernels: raw pointers are their job.
let unsafeRoom = common
/// All other Swift rooms: each use of something unsafe must be marked at its place.
let safeRoom = common + [.strictMemorySafety()]


func room(_ name: String, _ dependencies: [Target.Dependency], path: String? = nil, settings: [SwiftSetting] = safeRoom,
          exclude: [String] = ["README.md"]) -> Target {
  .target(name: name, dependencies: dependencies, path: path, exclude: exclude, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies + ["TestSupport"], path: "Tests/\(name)", swiftSettings: common)
}

let package = Package(
  name: "dino",
  products: [
    .library(name: "Dino", targets: ["Dino"]),
    // The formats alone, without models and kernels; Tests/Fuzz uses it.
    .library(name: "DinoFormats", targets: ["Safetensors", "NumPyArrays", "TorchArchive", "ONNXFormat"]),
    // Foreign models as graphs; Tests/Fuzz uses it.
    .library(name: "DinoConverters", targets: ["OnnxConverter"]),
    .executable(name: "dinoctl", targets: ["dinoctl"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
  ],
  targets: [
    // Level 0: memory and machine code.
    .target(name: "CDinoKernels", exclude: ["README.md"], cSettings: [.define("NDEBUG")] + cStrict, linkerSettings: [.linkedLibrary("m")]),
    // Approximate search by Debian's hnswlib, behind C functions.
    .target(name: "CHnsw", exclude: ["README.md"], cxxSettings: [.define("NDEBUG")] + (warningsAreErrors ? [.treatAllWarnings(as: .error)] : [])),
    room("DinoTensor", [], settings: unsafeRoom),
    room("DinoAlgebra", []),
    room("AtomicFiles", [], path: "formats/AtomicFiles"),
    room("CheckpointNames", [], path: "converters/CheckpointNames"),
    .systemLibrary(name: "CZlib", path: "Sources/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(name: "CProtobufC", path: "Sources/CProtobufC", pkgConfig: "libprotobuf-c", providers: [.apt(["libprotobuf-c-dev"])]),
    .target(name: "CImageCodecs", exclude: ["README.md"], cSettings: cStrict,
            linkerSettings: ["png16", "jpeg", "webp", "webpdemux", "tiff"].map { .linkedLibrary($0) }),

    // Level 1: bytes at rest, the graph, kernels, pixels.
    room("Safetensors", ["AtomicFiles", "DinoTensor"], path: "formats/Safetensors"),
    room("TorchArchive", ["AtomicFiles", "DinoTensor", "CZlib"], path: "formats/TorchArchive"),
    room("NumPyArrays", ["AtomicFiles", "DinoTensor", "CZlib"], path: "formats/NumPyArrays"),
    room("DinoGraph", ["DinoTensor"]),
    .target(name: "COnnxProto", dependencies: ["CProtobufC"], path: "formats/COnnxProto", exclude: ["README.md", "generate.sh"]),
    room("DinoKernels", ["CDinoKernels", "CHnsw", "DinoTensor"], settings: unsafeRoom),
    room("DinoImaging", ["AtomicFiles", "CImageCodecs", "DinoTensor"]),

    // Level 2: what foreign operators compute.
    room("DinoOperators", ["DinoGraph", "DinoKernels", "CDinoKernels", "DinoTensor"], settings: unsafeRoom),

    // Level 3: compile and run; what DINO is; formats over generated code.
    room("ONNXFormat", ["AtomicFiles", "COnnxProto", "CProtobufC", "DinoTensor"], path: "formats/ONNX"),
    room("DinoRuntime", ["DinoGraph", "DinoOperators", "DinoKernels", "CDinoKernels", "DinoTensor"], settings: unsafeRoom),
    room("DinoModels", ["DinoGraph", "DinoTensor", "CheckpointNames"]),
    room("DinoTasks", ["DinoAlgebra", "DinoKernels", "Safetensors", "NumPyArrays", "AtomicFiles", "DinoTensor"]),


    // Level 4: other people's models and our graph.
    room("OnnxConverter", ["DinoGraph", "DinoOperators", "DinoModels", "ONNXFormat", "DinoTensor"], path: "converters/OnnxConverter"),

    // Level 5: what a user imports.
    room("Dino", ["DinoTasks", "DinoModels", "DinoRuntime", "DinoGraph", "DinoImaging", "OnnxConverter", "ONNXFormat", "Safetensors", "TorchArchive", "NumPyArrays",
                  "AtomicFiles", "CheckpointNames", "DinoKernels", "DinoTensor"]),

    // Level 6: what is done with features: objects in photographs and videos.
    room("DinoSegmentation", ["Dino", "DinoAlgebra", "DinoModels", "DinoImaging", "DinoKernels", "DinoTensor"]),

    // Also: how checkpoints come to be.
    room("DinoTraining", ["Dino", "DinoAlgebra", "DinoModels", "DinoRuntime", "DinoGraph", "DinoImaging", "Safetensors", "TorchArchive", "AtomicFiles", "DinoKernels", "DinoTensor"]),

    // Level 7: the program, and one as a user of the library would write it.
    .executableTarget(
      name: "dinoctl",
      dependencies: ["Dino", "DinoTasks", "DinoSegmentation", "DinoTraining", "DinoModels", "DinoRuntime", "DinoGraph", "DinoImaging", "Safetensors", "TorchArchive", "NumPyArrays",
                     "AtomicFiles", "CheckpointNames", "DinoKernels", "DinoTensor", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      exclude: ["README.md"], swiftSettings: safeRoom),
    .executableTarget(name: "FeaturesExample", dependencies: ["Dino"], path: "samples/FeaturesExample", swiftSettings: safeRoom),

    // Tests, one target for each room.
    .target(name: "TestSupport", dependencies: ["DinoTensor"], path: "Tests/TestSupport", swiftSettings: common),
    tests("RoomRulesTests", []),
    tests("DinoTensorTests", ["DinoTensor"]),
    tests("DinoAlgebraTests", ["DinoAlgebra"]),
    tests("AtomicFilesTests", ["AtomicFiles"]),
    tests("SafetensorsTests", ["Safetensors", "DinoTensor"]),
    tests("TorchArchiveTests", ["TorchArchive", "DinoTensor"]),
    tests("NumPyArraysTests", ["NumPyArrays", "DinoTensor"]),
    tests("ONNXFormatTests", ["ONNXFormat", "DinoTensor"]),
    // libonnx's own checker, for what we export.
    .target(name: "COnnxChecker", path: "Tests/COnnxChecker", cxxSettings: warningsAreErrors ? [.treatAllWarnings(as: .error)] : [],
            linkerSettings: ["onnx", "onnx_proto", "protobuf"].map { .linkedLibrary($0) }),
    tests("OnnxConverterTests", ["OnnxConverter", "COnnxChecker", "ONNXFormat", "DinoRuntime", "DinoOperators", "DinoModels", "DinoGraph", "DinoTensor"]),
    tests("CheckpointNamesTests", ["CheckpointNames"]),
    tests("DinoGraphTests", ["DinoGraph", "DinoTensor"]),
    // What mpirun starts for the tests of ranks.
    .executableTarget(name: "RankSums", dependencies: ["DinoKernels", "DinoTensor"], path: "Tests/RankSums", exclude: ["README.md"], swiftSettings: common),
    tests("DinoKernelsTests", ["DinoKernels", "CDinoKernels", "DinoTensor", "RankSums"]),
    tests("DinoOperatorsTests", ["Safetensors", "DinoOperators", "DinoGraph", "DinoKernels", "DinoTensor"]),
    tests("DinoImagingTests", ["DinoImaging", "NumPyArrays", "DinoTensor"]),
    tests("DinoRuntimeTests", ["DinoRuntime", "DinoGraph", "DinoKernels", "DinoTensor"]),
    tests("DinoModelsTests", ["DinoModels", "DinoGraph", "DinoTensor", "CheckpointNames", "NumPyArrays", "Safetensors"]),
    tests("DinoTasksTests", ["DinoTasks", "DinoKernels", "CDinoKernels", "NumPyArrays", "Safetensors", "DinoTensor"]),
    tests("DinoTests", ["Dino", "CheckpointNames", "DinoModels", "DinoRuntime", "DinoGraph", "DinoImaging", "Safetensors", "TorchArchive", "NumPyArrays", "DinoTensor"]),
    tests("DinoSegmentationTests", ["DinoSegmentation", "Dino", "DinoAlgebra", "DinoModels", "DinoImaging", "DinoKernels", "NumPyArrays", "Safetensors", "DinoTensor"]),
    tests("DinoTrainingTests", ["DinoTraining", "Dino", "DinoModels", "DinoRuntime", "DinoImaging", "Safetensors", "TorchArchive", "DinoKernels", "DinoTensor"]),
    tests("DinoctlTests", ["Dino", "DinoTasks", "DinoSegmentation", "DinoModels", "DinoImaging", "Safetensors", "NumPyArrays", "ONNXFormat", "DinoTensor", "dinoctl", "FeaturesExample"]),
  ],
  cxxLanguageStandard: .cxx17)
