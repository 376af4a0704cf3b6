// The program: the list of commands, and the one place where an error becomes a sentence and an exit code. Each command is one file in
// Commands; what they share is in Options and Support.

internal import ArgumentParser
internal import Dino
internal import DinoImaging
#if canImport(Glibc)
internal import Glibc
#elseif canImport(Musl)
internal import Musl
#endif

@main
struct Dinoctl: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dinoctl",
    abstract: "DINO vision transformers: look into checkpoints, convert them, run them on photographs, and use what they see.",
    discussion: """
      Results go to standard output or the named file, everything else to standard error.
      Exit codes: 0 done; 1 done, but some inputs were skipped; 64 wrong usage; 65 malformed or contradictory data; 66 input not found; \
      69 not available; 70 a defect of this program; 74 a read or write failed; 130 interrupted.
      Shell completions: dinoctl --generate-completion-script bash|zsh|fish.
      """,
    version: toolVersion,
    groupedSubcommands: [
      CommandGroup(name: "Look", subcommands: [Inspect.self, Plan.self, Bench.self, Doctor.self, Compare.self]),
      CommandGroup(name: "Use", subcommands: [Features.self, Attention.self, Segment.self, Video.self, Classify.self]),
      CommandGroup(name: "Search", subcommands: [Index.self, Search.self, Duplicates.self, Knn.self]),
      CommandGroup(name: "Learn", subcommands: [Linear.self, Finetune.self, Train.self, Distill.self, Init.self]),
      CommandGroup(name: "Convert", subcommands: [Convert.self, Export.self, Quantize.self, Run.self]),
      CommandGroup(name: "Evaluate", subcommands: [Evaluate.self]),
    ])

  static func main() {
    Interruption.install()
    var named: (command: any ParsableCommand.Type, path: String) = (Self.self, "")
    do {
      let words = GivenFlags.joiningNegativeNumbers(Array(CommandLine.arguments.dropFirst()))
      named = try Spelling.command(of: words)
      var command = try parseAsRoot(words)
      try checkEnvironment(for: command)
      defer { noteLosses() }
      try command.run()
    } catch let failure as Failure {
      failure.report()
    } catch let error as DinoError {
      Failure(error).report()
    } catch {
      if isArgumentParserError(error) {
        // Whatever else is wrong may be so for the option that was misspelled.
        if !exitCode(for: error).isSuccess, let failure = Spelling.unknownOption(of: named.command, path: named.path) ?? GivenFlags.strayNumber() { failure.report() }
        exit(withError: error)
      }
      Failure(DinoError(error)).report()
    }
  }

  /// What was read otherwise than a person may think. Wide grey comes from microscopes, scanners and depth cameras, whose pictures may be nearly white for the network.
  private static func noteLosses() {
    let clipped = ImageDecoder.clippedPictures, pages = ImageDecoder.filesWithMorePages
    if clipped > 0 {
      Terminal.note("\(clipped) \(clipped == 1 ? "picture is" : "pictures are") of 16-bit grey, and values above 255 were cut off as Pillow does; scale them to 8 bits first where that is not wanted")
    }
    if pages > 0 { Terminal.note("\(pages) TIFF \(pages == 1 ? "file has" : "files have") further pages, of which only the first is read; split them first (tiffsplit) where all are wanted") }
  }

  /// Refuses what the environment asks for and cannot be. Doctor tells of it instead; commands that compute nothing (convert, and inspect without its
  /// self-test, which looks itself) do without kernels; groups of commands and `help` only print.
  private static func checkEnvironment(for command: any ParsableCommand) throws {
    guard type(of: command).configuration.subcommands.isEmpty, !isOfArgumentParser(command), !(command is Doctor) else { return }
    try RunSettings.checkThreads()
    if !(command is Convert), !(command is Inspect) { try RunSettings.checkKernels() }
  }

  /// Errors of the argument parser print themselves: help and version on standard output with 0, wrong usage with 64.
  private static func isArgumentParserError(_ error: any Error) -> Bool { error is ExitCode || error is ValidationError || error is CleanExit || isOfArgumentParser(error) }

  private static func isOfArgumentParser(_ value: Any) -> Bool { String(reflecting: type(of: value)).hasPrefix("ArgumentParser.") }
}
