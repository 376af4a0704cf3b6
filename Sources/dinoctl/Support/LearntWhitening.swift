// Whitening of features of pictures that were named, for the protocols that offer it.

internal import DinoTasks

extension Whitening {
  /// Whitening of these features, of the pictures at `path`. Says where they are too few to tell about all directions.
  static func learnt(_ features: [[Float]], of path: String) throws -> Whitening {
    guard features.count >= 2 else {
      throw Failure(.data, "\(path): whitening is learnt from how features differ, and \(features.count) picture could be read there, where at least 2 are needed", hint: "name a folder with more pictures than a feature has numbers")
    }
    let width = features[0].count
    if features.count < width {
      Terminal.note("whitening: \(features.count) pictures of \(path) are fewer than the \(width) numbers of a feature, so most directions are scaled by nothing but a limit; with more pictures than numbers it says more")
    }
    return try Whitening(features)
  }
}
