// swift-tools-version: 6.2
// Fuzzers of everything that reads bytes from outside: one small program for each reader, built with libFuzzer. A package of its own, so that
// the library's build knows nothing of it. To add one: a line in `fuzzers`, one in Sources/CFuzzMain/driver.c,
// a file of that name.

import PackageDescription

/// Name of the folder in Sources, and the products that it needs.
let fuzzers: [(name: String, products: [String])] = [
  ("FuzzSafetensors", ["DinoFormats"]),
  ("FuzzJSON", ["DinoFormats"]),
  ("FuzzNumPy", ["DinoFormats"]),
  ("FuzzOnnx", ["DinoFormats"]),
  ("FuzzOnnxImport", ["DinoFormats", "DinoConverters"]),
]

let package = Package(
  name: "fuzz",
  dependencies: [.package(name: "dino", path: "../..")],
  targets: [.target(name: "CFuzzMain")] + fuzzers.map { fuzzer in
    .executableTarget(
      name: fuzzer.name,
      dependencies: ["CFuzzMain"] + fuzzer.products.map { .product(name: $0, package: "dino") },
      swiftSettings: [
        .swiftLanguageMode(.v6),
        // libFuzzer brings its own main. This package is never a dependency, so unsafe flags harm nobody.
        .unsafeFlags(["-parse-as-library", "-sanitize=fuzzer"]),
      ],
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer"])])
  })
