// A logistic regression's fit with its progress bar, and a note where it stopped before the minimum.

internal import DinoTasks

extension LogisticRegression {
  func showingFit(_ set: TrainingSet, threads: Int) throws -> Fit {
    var progress = ProgressBar(total: 100, unit: "% of the way to the minimum"), shown = 0
    let fit = try fit(set, threads: threads) { way in
      progress.advance(by: max(0, Int(100 * way) - shown))
      shown = max(shown, Int(100 * way))
    }
    progress.finish()
    if !fit.isConverged { Terminal.note("the minimum was not reached to full precision after \(fit.iterations) of Newton's steps") }
    return fit
  }
}
