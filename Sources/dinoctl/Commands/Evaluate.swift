// dinoctl evaluate: the published protocols by name. knn and linear are the commands of those names; each other protocol is a file of its own.

internal import ArgumentParser

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "The published evaluation protocols, with the original definitions.",
    subcommands: [Knn.self, Linear.self, EvaluateRetrieval.self, EvaluateCopyDetection.self, EvaluateSegmentation.self, EvaluateVideoSegmentation.self])
}
