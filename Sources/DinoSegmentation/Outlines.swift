// The outline of a mask as polygons along the edges of its pixels. Exact: filling them by the even-odd rule gives the mask back.

public import Dino

extension PixelMask {
  /// Closed rings of corners x, y (pixel edges, so 0 to the width and height), each begun at its topmost edge: around each connected part (neighbours share an edge)
  /// clockwise as seen, around each hole the other way. The last corner is not repeated.
  public func polygons() -> [[(x: Int, y: Int)]] {
    func inside(_ x: Int, _ y: Int) -> Bool { x >= 0 && y >= 0 && x < width && y < height && values[y * width + x] > 0 }
    // Directions: 0 right, 1 down, 2 left, 3 up. Walking, the mask is at the right hand.
    func isEdge(_ x: Int, _ y: Int, _ direction: Int) -> Bool {
      switch direction {
      case 0: inside(x, y) && !inside(x, y - 1)
      case 1: inside(x - 1, y) && !inside(x, y)
      case 2: inside(x - 1, y - 1) && !inside(x - 1, y)
      default: inside(x, y - 1) && !inside(x - 1, y - 1)
      }
    }
    var walked = [Bool](repeating: false, count: width * height), rings: [[(x: Int, y: Int)]] = []
    for top in 0..<height {
      for left in 0..<width where !walked[top * width + left] && isEdge(left, top, 0) {
        var ring: [(x: Int, y: Int)] = [], x = left, y = top, direction = 0
        repeat {
          if direction == 0 { walked[y * width + x] = true }
          x += [1, 0, -1, 0][direction]
          y += [0, 1, 0, -1][direction]
          // Where two pixels touch at a corner, the turn to the right stays with the one at hand.
          let next = [1, 0, 3].map { (direction + $0) % 4 }.first { isEdge(x, y, $0) } ?? direction
          if next != direction { ring.append((x, y)) }
          direction = next
        } while x != left || y != top || direction != 0
        rings.append(ring)
      }
    }
    return rings
  }
}
