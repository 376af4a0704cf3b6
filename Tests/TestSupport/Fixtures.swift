// Where tests find files: the repository's own fixtures, and, where it is there, the folder of golden data beside the checkout.

public import Foundation

public enum Fixtures {
  /// The repository's root, from this file's own place.
  public static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// A file in Tests/Fixtures.
  public static func path(_ relative: String) -> String {
    repository.appendingPathComponent("Tests/Fixtures").appendingPathComponent(relative).path
  }

  /// A file of the shared golden data, or nil where that folder is not there (then a test is skipped, saying so).
  /// `DINO_SHARED` names the folder; otherwise it is looked for beside the checkout.
  public static func shared(_ relative: String) -> String? {
    let root = ProcessInfo.processInfo.environment["DINO_SHARED"].map { URL(fileURLWithPath: $0) }
      ?? repository.deletingLastPathComponent().appendingPathComponent("shared")
    let path = root.appendingPathComponent(relative).path
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }

  /// A fresh folder that the caller removes.
  public static func temporaryFolder() throws -> URL {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("dino-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url
  }
}
