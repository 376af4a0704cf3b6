// Average query expansion (Chum et al. 2007; weighted: Radenović et al. 2018): a query becomes the mean of itself and its best answers, each answer weighted by its
// score to some power, and is asked again.

public enum QueryExpansion {
  /// - Parameters:
  ///   - query: of unit length.
  ///   - answers: unit features of the best answers with their scores, best first.
  ///   - alpha: the power of the weight; 0 is the plain mean.
  public static func expand(_ query: [Float], answers: [(feature: [Float], score: Float)], alpha: Double) -> [Float] {
    var sums = query.map { Double($0) }
    for (feature, score) in answers {
      let weight = alpha == 0 ? 1 : power(max(0, Double(score)), alpha)
      for i in sums.indices { sums[i] += weight * Double(feature[i]) }
    }
    return unitVector(sums.map { Float($0) }).values
  }
}
