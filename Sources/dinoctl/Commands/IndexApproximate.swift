// dinoctl index --approximate: the graph of a bank, built, measured beside exact search, and written.

internal import Dino
internal import DinoTasks
internal import Safetensors

extension Index {
  /// What is told of a graph that was built.
  struct BuiltGraph {
    var seconds: Double
    var bytes: Int
    var samples: Int
    var exactMilliseconds: Double
    var measures: [ApproximateIndex.Measure]
    var chosen: ApproximateIndex.Measure

    var text: String {
      "graph built in \(fixed(seconds, 1)) s, \(readable(bytes: bytes)); \(samples) rows asked, one thread, exact search \(fixed(exactMilliseconds, 3)) ms a query\n"
        + measures.map { "breadth \($0.breadth): recall@10 \(fixed($0.recall, 4)), \(fixed($0.millisecondsPerQuery, 3)) ms a query\($0 == chosen ? " (chosen)" : "")\n" }.joined()
    }

    var json: JSONValue {
      func member(_ m: ApproximateIndex.Measure) -> JSONValue {
        .object([.init("breadth", .integer(m.breadth)), .init("recall_at_10", .number(m.recall)), .init("milliseconds", .number(m.millisecondsPerQuery))])
      }
      return .object([
        .init("seconds", .number(seconds)), .init("bytes", .integer(bytes)), .init("samples", .integer(samples)), .init("exact_milliseconds", .number(exactMilliseconds)),
        .init("measures", .array(measures.map(member))), .init("chosen", member(chosen)),
      ])
    }
  }

  func buildGraph() throws -> BuiltGraph {
    // Held to the end: the graph would not be of rows that are added or moved meanwhile, and the next writer takes the file in the making for one that was left.
    let writer = try BankWriter(existing: output)
    defer { withExtendedLifetime(writer) {} }
    let bank = try FeatureBank(path: output)
    guard bank.liveCount >= 2 else { throw Failure(.data, "\(output): \(bank.liveCount) rows are too few for a graph") }
    let threads = searchThreads(running.threads), start = Terminal.now()
    var progress = ProgressBar(total: bank.rowCount, unit: "rows")
    var index = try ApproximateIndex(building: bank, links: links, breadth: buildBreadth, threads: threads) { progress.advance(by: $0) }
    progress.finish()
    let seconds = Terminal.now() - start, asked = min(samples, bank.liveCount)
    let (measures, exact) = try index.measure(bank, samples: samples, wanted: recall, threads: threads, clock: Terminal.now)
    if index.chosen.recall < recall {
      Terminal.note("no breadth up to \(index.chosen.breadth) finds \(fixed(100 * recall, 0)) % of the ten nearest; more --links or a larger --build-breadth find more")
    }
    try Interruption.shielded { try index.write(to: bank) }
    return BuiltGraph(seconds: seconds, bytes: byteCount(ofFile: "\(output)/\(ApproximateIndex.fileName)"), samples: asked, exactMilliseconds: exact, measures: measures, chosen: index.chosen)
  }
}
