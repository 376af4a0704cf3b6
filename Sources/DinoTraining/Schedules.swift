// What varies from step to step in DINO training, as utils.cosine_scheduler and main_dino.py have it. Numbers only.

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

public enum Schedules {
  /// From `base` to `end` along half a cosine after `warmup` values that rise from `start` to `base`, both ends counted (numpy.linspace).
  public static func cosine(base: Double, end: Double, count: Int, warmup: Int = 0, start: Double = 0) -> [Double] {
    let rise = line(from: start, to: base, count: warmup), fall = max(count - warmup, 0)
    return rise + (0..<fall).map { end + 0.5 * (base - end) * (1 + cos(Double.pi * Double($0) / Double(fall))) }
  }

  /// Equal steps from one number to another, both counted.
  public static func line(from a: Double, to b: Double, count: Int) -> [Double] {
    if count == 1 { return [a] }
    let step = count > 1 ? (b - a) / Double(count - 1) : 0
    return (0..<count).map { $0 == count - 1 ? b : a + Double($0) * step }
  }
}

/// The values of one step.
public struct StepValues: Sendable, Equatable {
  public var epoch: Int
  public var rate: Double
  public var weightDecay: Double
  public var momentum: Double
  public var teacherTemperature: Double
  public var freezesLastLayer: Bool
}

/// The values of all steps.
public struct TrainingSchedule: Sendable {
  private let rates: [Double]
  private let decays: [Double]
  private let momenta: [Double]
  private let temperatures: [Double]
  private let frozenEpochs: Int
  public let stepsPerEpoch: Int
  public var count: Int { rates.count }

  public init(_ s: TrainingSettings, stepsPerEpoch: Int) {
    let total = s.epochs * stepsPerEpoch
    rates = Schedules.cosine(base: s.rate, end: s.leastRate, count: total, warmup: s.warmupEpochs * stepsPerEpoch)
    decays = Schedules.cosine(base: s.weightDecay, end: s.weightDecayEnd, count: total)
    momenta = Schedules.cosine(base: s.teacherMomentum, end: 1, count: total)
    temperatures = Schedules.line(from: s.warmupTeacherTemperature, to: s.teacherTemperature, count: s.warmupTeacherTemperatureEpochs)
      + Array(repeating: s.teacherTemperature, count: max(0, s.epochs - s.warmupTeacherTemperatureEpochs))
    frozenEpochs = s.freezeLastLayer
    self.stepsPerEpoch = stepsPerEpoch
  }

  public subscript(step: Int) -> StepValues {
    let epoch = step / stepsPerEpoch
    return StepValues(epoch: epoch, rate: rates[step], weightDecay: decays[step], momentum: momenta[step], teacherTemperature: temperatures[epoch],
                      freezesLastLayer: epoch < frozenEpochs)
  }
}
