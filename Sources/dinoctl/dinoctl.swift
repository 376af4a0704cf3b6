import ArgumentParser

@main
struct Dinoctl: ParsableCommand {
  static let configuration = CommandConfiguration(commandName: "dinoctl", abstract: "DINO vision transformers: convert, run, look inside.")
}
