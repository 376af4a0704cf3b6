// What an earlier run left in a folder that has no state to go on from: one that begins anew there would write over it, and its files would tell of two runs.

public import Dino
internal import Safetensors
#if canImport(FoundationEssentials)
internal import FoundationEssentials
#else
internal import Foundation
#endif

public enum RunFolder {
  /// Fails where a run that begins anew would write over results of another.
  /// - Parameters:
  ///   - model: the name of the run's model. It comes after its checkpoint: one alone is what somebody kept of a run, as a checkpoint of an epoch is.
  ///   - resume: whether the run may be one that was stopped before its first checkpoint, which begins anew.
  public static func checkUnused(_ folder: String, model: String, resume: Bool) throws(DinoError) {
    let names = names(in: folder)
    if let kept = names.last(where: isKept) {
      throw taken(folder, kept, "; a run that lost its \(TrainingRun.checkpointName) goes on with --resume from a copy of this file under that name")
    }
    if names.contains(model) { throw taken(folder, model) }
    for name in [TrainingRun.logName, TrainingRun.epochsName] where byteCount(ofFile: "\(folder)/\(name)") > 0 {
      if !resume { throw taken(folder, name, "; a run that was stopped before its first checkpoint begins anew with --resume") }
      if try !isOfFirstEpoch("\(folder)/\(name)") { throw taken(folder, name) }
    }
  }

  /// Fails where a replay would write over the log of a training. A replay's own, which may be written again, comes with final weights, and with neither models nor checkpoints.
  public static func checkReplay(_ folder: String) throws(DinoError) {
    let names = names(in: folder), models = ["teacher.safetensors", "student.safetensors", FinetuneRun.modelName]
    guard byteCount(ofFile: "\(folder)/\(TrainingRun.logName)") > 0 else { return }
    if !names.contains("final.safetensors") || names.contains(where: { models.contains($0) || isKept($0) }) { throw taken(folder, TrainingRun.logName) }
  }

  private static func names(in folder: String) -> [String] { ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted() }

  private static func taken(_ folder: String, _ name: String, _ hint: String = "") -> DinoError {
    DinoError(.usage, "\(folder)/\(name) is of another run, whose checkpoint is not there, and would be written over", hint: "name another --output-dir\(hint)")
  }

  /// checkpoint0020.safetensors, as a run keeps one of an epoch.
  private static func isKept(_ name: String) -> Bool {
    guard name.hasPrefix("checkpoint"), name.hasSuffix(".safetensors") else { return false }
    let epoch = name.dropFirst("checkpoint".count).dropLast(".safetensors".count)
    return epoch.count >= 4 && epoch.allSatisfy(\.isNumber)
  }

  /// A checkpoint comes after every epoch: no other log is of a run without one.
  private static func isOfFirstEpoch(_ log: String) throws(DinoError) -> Bool {
    let lines = try LogFile.lines(of: log)
    return !lines.isEmpty && lines.allSatisfy { $0["epoch"]?.integerValue == 0 }
  }
}
