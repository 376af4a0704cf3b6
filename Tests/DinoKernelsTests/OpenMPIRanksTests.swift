// Sums over processes that mpirun starts, by the program RankSums beside the test bundle. Needs Open MPI; without it there is nothing to test.

import Foundation
import Testing

@Suite struct OpenMPIRanksTests {
  @Test(arguments: [2, 3]) func sumsAreThoseOfTheRanksInOrderToTheBit(_ count: Int) throws {
    guard let mpirun = ["/usr/bin/mpirun", "/usr/local/bin/mpirun"].first(where: { FileManager.default.isExecutableFile(atPath: $0) }) else {
      print("skipped: no mpirun")
      return
    }
    let bundle = CommandLine.arguments.first { $0.contains(".xctest") } ?? CommandLine.arguments[0]
    let folder = URL(fileURLWithPath: String(bundle[..<(bundle.range(of: ".xctest")?.lowerBound ?? bundle.endIndex)])).deletingLastPathComponent()
    // A file, not a pipe: nothing can block or be interrupted.
    let said = FileManager.default.temporaryDirectory.appendingPathComponent("ranks-\(UUID().uuidString)")
    _ = FileManager.default.createFile(atPath: said.path, contents: nil)
    defer { try? FileManager.default.removeItem(at: said) }
    let process = Process(), out = try FileHandle(forWritingTo: said)
    process.executableURL = URL(fileURLWithPath: mpirun)
    process.arguments = ["--allow-run-as-root", "--oversubscribe", "-n", "\(count)", folder.appendingPathComponent("RankSums").path]
    process.standardOutput = out
    process.standardError = out
    process.standardInput = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    let text = try String(contentsOf: said, encoding: .utf8)
    #expect(process.terminationStatus == 0 && text.contains("12 blocks as \(count) ranks in order\n"), "\(text)")
  }
}
