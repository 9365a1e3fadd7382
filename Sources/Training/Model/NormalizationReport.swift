import NeuralNetwork

extension SequenceModel<Float> {
  /// What a study of normalisation looks at, a term each: mean and deviation of γ, and how far the running averages are from the statistics of
  /// the population, where these were just made. Distances are root mean squares over features and time steps: of means in deviations of the
  /// population, of variances relative to the population's. Features whose variance is zero are left out.
  func normalizationFields(hasPopulation: Bool) -> [JSONValue] {
    layers.flatMap { layer in
      layer.terms.map { term in
        let name = layer.prefix + term.site.name
        let gamma = parameters[layout.tensor(name + ".gamma").range]
        let values = (0..<gamma.count).map { Double(gamma[$0]) }, mean = values.reduce(0, +) / Double(max(values.count, 1))
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(values.count, 1))
        var fields = [
          JSONField("name", .string(name)), JSONField("gamma_mean", .double(mean)), JSONField("gamma_deviation", .double(variance.squareRoot())),
        ]
        if hasPopulation, let batch = term.batch {
          let distance = batch.running.distance(from: batch.evaluation)
          fields += [JSONField("mean_distance", .double(distance.mean)), JSONField("variance_distance", .double(distance.variance))]
        }
        return .object(fields)
      }
    }
  }

  /// The tensors whose values TensorBoard shows as histograms: γ, and the statistics of evaluation.
  var histogramTensors: [NamedTensor] {
    let gammas = Set(layout.tensors.filter { $0.role == .gamma }.map(\.name))
    return parameterTensors.filter { gammas.contains($0.name) } + evaluationStatistics
  }
}

extension RunningStatistics<Float> {
  fileprivate func distance(from population: RunningStatistics) -> (mean: Double, variance: Double) {
    var means = 0.0, variances = 0.0, count = 0
    for slot in 0..<min(slotsSeen, population.slotsSeen) {
      for feature in 0..<mean.columns {
        let variance = Double(population.variance[slot][feature])
        if variance <= 0 { continue }
        let difference = Double(mean[slot][feature]) - Double(population.mean[slot][feature])
        let ratio = Double(self.variance[slot][feature]) / variance - 1
        means += difference * difference / variance
        variances += ratio * ratio
        count += 1
      }
    }
    return count == 0 ? (0, 0) : ((means / Double(count)).squareRoot(), (variances / Double(count)).squareRoot())
  }
}
