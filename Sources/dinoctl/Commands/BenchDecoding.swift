// dinoctl bench --decode: how fast photographs become the pixels that a network reads, without a network. Files are read again in each pass, so from the second on they are
// in the system's cache. As many photographs at a time as there are threads.

internal import Dino
internal import DinoImaging
internal import DinoModels
internal import Safetensors

extension Bench {
  func runDecoding(_ folder: String) throws {
    let inputs = try ReadingOptions.expand([folder]), threads = searchThreads(running.threads)
    // The model's own preprocessing where one is named, else the official evaluation's.
    var changes = PreprocessingChanges()
    changes.size = imageSize?.size
    let record: Preprocessing
    if let dino = try model.load(running.settings) { record = try dino.preparedRecord(changes) } else { record = try changes.applied(to: .imageNet) }
    let preparer = try ImagePreparer(record, patch: 1)
    var times: [Double] = [], progress = ProgressBar(total: repetitions * inputs.count, unit: "photographs"), skipped = SkippedInputs(), bytes = 0
    for pass in 0..<repetitions {
      let start = Terminal.now()
      let prefetch = OrderedPrefetch(count: inputs.count, ahead: 4 * threads, workers: threads == 1 ? 0 : threads) { i -> Result<Int, UnreadableInput> in
        do throws(DinoError) { return .success(try preparer.seen(preparer.decode(inputs[i])).pixels.count) } catch { return .failure(UnreadableInput(error, of: inputs[i])) }
      }
      for input in inputs {
        switch prefetch.next() {
        case .success(let count)?: bytes += count
        case .failure(let reason)?: if pass == 0 { try skipped.add(input.name, reason.message, strict: false) }
        case nil: break
        }
        progress.advance()
      }
      times.append((Terminal.now() - start) * 1e3)
    }
    progress.finish()
    let count = inputs.count - skipped.count
    guard count > 0, bytes > 0 else { throw Failure(.data, "none of the \(inputs.count) inputs could be read") }
    times = times.map { $0 / Double(count) }.sorted()
    let median = Self.median(times)
    if running.json {
      try Terminal.output(JSONValue.object([
        .init("photographs", .integer(count)), .init("preprocessing", .string(preparer.summary)), .init("threads", .integer(threads)), .init("repeat", .integer(repetitions)),
        .init("milliseconds_per_image", .number(median)), .init("minimum", .number(times[0])), .init("images_per_second", .number(1e3 / median)),
        .init("peak_memory_bytes", .integer(peakMemoryBytes())),
      ]).text + "\n")
    } else {
      try Terminal.output("""
        \(count) photographs, \(preparer.summary), \(threads) threads
        \(fixed(median, 3)) ms an image (median of \(repetitions)), \(fixed(times[0], 3)) at best, \(fixed(1e3 / median, 1)) images/s
        peak memory \(readable(bytes: peakMemoryBytes()))

        """)
    }
    try skipped.conclude(of: inputs.count, canTurn: false)
  }
}
