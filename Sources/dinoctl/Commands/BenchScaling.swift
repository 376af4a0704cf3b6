// dinoctl bench --scaling: what more threads gain. One thread, all threads, and as many copies of one thread as there are threads are timed in turn, so that a machine
// whose speed changes between minutes (frequency, neighbours) changes all three alike. What the copies reach together is what the machine gives: threads of one run share
// an image and can seldom do better.

internal import Dino
internal import DinoKernels
internal import DinoRuntime
internal import DinoTensor
internal import Safetensors

extension Bench {
  func runScaling() throws {
    guard let path = model.path else { throw Failure(.usage, "give --model") }
    let threads = running.threads > 0 ? running.threads : availableCores()
    guard threads > 1 else { throw Failure(.usage, "--scaling compares one thread with several, and there is one", hint: "give --threads") }
    let together = try loaded(path, threads: threads)
    let copies = try (0..<threads).map { _ in try loaded(path, threads: 1) }
    let (input, count, names) = try randomInput(together)
    for dino in [together] + copies { _ = try dino.run(input, outputs: names) }

    /// Milliseconds an image of `runs` runs.
    @Sendable func time(_ dino: DinoModel, _ runs: Int) throws -> Double {
      let start = Terminal.now()
      for _ in 0..<runs { _ = try dino.run(input, outputs: names) }
      return (Terminal.now() - start) * 1e3 / Double(runs * count)
    }
    // Long enough that the start of the copies' threads does not count.
    let runs = max(1, Int((30 / (try time(copies[0], 1) * Double(count))).rounded(.up)))
    var one: [Double] = [], all: [Double] = [], apart: [Double] = [], progress = ProgressBar(total: repetitions, unit: "rounds")
    for _ in 0..<repetitions {
      one.append(try time(copies[0], runs))
      all.append(try time(together, runs))
      let start = Terminal.now()
      let work = OrderedPrefetch(count: threads, ahead: threads, workers: threads) { i in Result { try time(copies[i], runs) } }
      for _ in 0..<threads { _ = try work.next()?.get() }
      apart.append((Terminal.now() - start) * 1e3 / Double(runs * count * threads))
      progress.advance()
    }
    progress.finish()
    let gained = Self.median(zip(one, all).map { $0 / $1 }), given = Self.median(zip(one, apart).map { $0 / $1 })
    let least = [one, all, apart].map { $0.min() ?? 0 }
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("model", .string(path)), .init("precision", .string(together.precision.rawValue)), .init("batch", .integer(count)), .init("threads", .integer(threads)), .init("rounds", .integer(repetitions)),
        .init("one_thread_milliseconds", .number(Self.median(one))), .init("all_threads_milliseconds", .number(Self.median(all))), .init("copies_milliseconds", .number(Self.median(apart))),
        .init("one_thread_minimum", .number(least[0])), .init("all_threads_minimum", .number(least[1])), .init("copies_minimum", .number(least[2])),
        .init("scaling", .number(gained)), .init("scaling_of_minima", .number(least[0] / least[1])),
        .init("scaling_of_copies", .number(given)), .init("scaling_of_copies_minima", .number(least[0] / least[2])), .init("isa", .string(KernelTable.selected.name)),
      ]).text + "\n")
      return
    }
    func line(_ what: String, _ times: [Double], _ ratio: Double?) -> String {
      what + ": \(fixed(Self.median(times), 2)) ms an image, \(fixed(times.min() ?? 0, 2)) at best" + (ratio.map { ": \(fixed($0, 2)) times one thread (at best \(fixed(least[0] / (times.min() ?? 1), 2)))" } ?? "")
    }
    try Terminal.output("""
      \(path), \(together.precision.rawValue), batch \(count), \(KernelTable.selected.name), \(repetitions) rounds in turn
      \(line("one thread", one, nil))
      \(line("\(threads) threads", all, gained))
      \(line("\(threads) copies of one thread", apart, given))

      """)
  }

  private func loaded(_ path: String, threads: Int) throws -> DinoModel {
    var settings = running.settings
    settings.threads = threads
    return try settings.load(path, model.reading.loadOptions)
  }
}
