// NumPy itself reads what we write. Needs a Python with numpy, named by DINO_PYTHON; without it the fixtures alone stand for NumPy.

import DinoTensor
import Foundation
@testable import NumPyArrays
import Testing
import TestSupport

private let python = ProcessInfo.processInfo.environment["DINO_PYTHON"]

@Suite struct NumPyInteropTests {
  @Test(.enabled(if: python != nil, "needs DINO_PYTHON=/path/to/python with numpy")) func numpyReadsWhatWeWrite() throws {
    let folder = try Fixtures.temporaryFolder()
    defer { try? FileManager.default.removeItem(at: folder) }
    var generator = SplitMix64(seed: 5)
    var arrays = (0..<20).map { (name: "a\($0)ä", tensor: NumPyWriterTests.random(&generator)) }
    arrays.append(("rows", Tensor((0..<6).map { Float($0) }, shape: [3, 2])))
    try NumPyArchive.write(arrays, to: folder.path + "/x.npz")
    var large = try NumPyArchiveWriter(path: folder.path + "/large.npz", zip64From: 10)
    for (name, tensor) in arrays { try large.add(tensor, name: name) }
    try large.finish()
    var rows = try NumPyWriter(path: folder.path + "/rows.npy", rows: 3, columns: 2)
    for i in 0..<3 { try rows.append([Float(2 * i), Float(2 * i + 1)]) }
    try rows.finish()
    for (name, tensor) in arrays { try NumPyArray.write(tensor, to: "\(folder.path)/\(name).npy") }
    let program = """
      import numpy as np, sys, zipfile
      for archive in ("x.npz", "large.npz"):
          assert zipfile.ZipFile(archive).testzip() is None
          with np.load(archive) as z:
              assert len(z.files) == 21, z.files
              for name in z.files:
                  one = np.load(name + ".npy")
                  assert one.dtype == z[name].dtype and one.shape == z[name].shape and one.tobytes() == z[name].tobytes(), name
      assert (np.load("rows.npy") == np.arange(6, dtype="f4").reshape(3, 2)).all()
      assert (np.load("rows.npy") == np.load("x.npz")["rows"]).all()
      """
    let process = Process()
    process.executableURL = URL(fileURLWithPath: python!)
    process.arguments = ["-c", program]
    process.currentDirectoryURL = folder
    try process.run()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
  }
}
