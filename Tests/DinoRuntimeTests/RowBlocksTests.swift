// How the rows of a chain are cut: every row once, in order, in whole images or within one, no more rows than were allowed, and work for all threads.

@testable import DinoRuntime
import Testing

@Suite struct RowBlocksTests {
  @Test func everyRowIsInOneBlock() {
    for images in [1, 2, 3, 7, 16, 129] {
      for rows in [1, 2, 5, 12, 17, 37, 64, 128, 129, 197, 785] {
        for threads in [1, 2, 3, 8] {
          for most in [56, 256] {
            let blocks = RowBlocks(images: images, rows: rows, threads: threads, most: most), name: Comment = "\(images) of \(rows), \(threads) threads, \(most)"
            var next = 0
            for i in 0..<blocks.count {
              let block = blocks[i]
              #expect(block.lowerBound == next && !block.isEmpty, name)
              next = block.upperBound
              let whole = block.lowerBound % rows == 0 && block.upperBound % rows == 0
              #expect(whole || block.lowerBound / rows == (block.upperBound - 1) / rows, name)
              #expect(block.lowerBound % rows % blocks.unit == 0, name)
              #expect(block.count <= blocks.mostRows, name)
            }
            #expect(next == images * rows, name)
            // Cuts are of whole units, or of whole images.
            #expect(blocks.mostRows <= most + max(16, rows < most ? rows : 0), name)
            // No thread has nothing to do where there are rows enough.
            if images * rows >= 64 * threads, images >= threads || rows >= 64 * threads { #expect(blocks.count >= threads, name) }
          }
        }
      }
    }
  }
}
