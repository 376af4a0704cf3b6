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
    let process = Process(), out = Pipe(), err = Pipe()
    process.executableURL = URL(fileURLWithPath: mpirun)
    process.arguments = ["--allow-run-as-root", "--oversubscribe", "-n", "\(count)", folder.appendingPathComponent("RankSums").path]
    process.standardOutput = out
    process.standardError = err
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let output = out.fileHandleForReading.readDataToEndOfFile(), errors = err.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0, "\(String(decoding: errors, as: UTF8.self))")
    #expect(String(decoding: output, as: UTF8.self) == "12 blocks as \(count) ranks in order\n")
  }
}
