import Tensors

/// Where each key that was set stands last.
struct ConfigurationOrigins {
  private var file: String?
  private var places: [String: ConfigurationDocument.Place] = [:]

  /// Of a configuration that is in memory only.
  init() {}

  init(_ document: ConfigurationDocument) {
    file = document.file
    for assignment in document.assignments { places[assignment.key.path] = assignment.place }
  }

  /// Whether a key was set, and not left at its default.
  func isSet(_ key: String) -> Bool { places[key] != nil }

  /// An error about keys that do not go together, at the first of them that was set: by an override, if one was.
  func error(
    _ keys: [String], _ found: String, allowed: String, reason: ConfigurationError.Reason = .conflict
  ) -> ConfigurationError {
    var result = ConfigurationError(reason, file: file, key: keys.first, found: found, allowed: allowed)
    let known = keys.compactMap { places[$0] }
    let isOverride: (ConfigurationDocument.Place) -> Bool = { if case .override = $0 { true } else { false } }
    switch known.first(where: isOverride) ?? known.first {
    case .line(let line): result.line = line
    case .override(let text): result.override = text
    case nil: break
    }
    return result
  }
}

// What holds between keys. Each rule says why.
extension TrainingConfiguration {
  func checkRules(_ origins: ConfigurationOrigins) throws(ConfigurationError) {
    try checkSources(origins)
    for key in ConfigurationTable.keys {
      if let needs = key.needs, !needs.isMet(self), origins.isSet(key.path) {
        throw origins.error([key.path], "is set, but has no meaning \(needs.otherwise)", allowed: "a configuration without this key")
      }
    }
    try checkModel(origins)
    try checkNormalization(origins)
    try checkShards(origins)
    if optimizer.method == .adam && optimizer.momentum != 0 {
      throw origins.error(
        ["optimizer.momentum", "optimizer.method"],
        "is \(ConfigurationValue.number(optimizer.momentum).yaml), and adam keeps its own moments",
        allowed: "0 with optimizer.method: adam")
    }
    if optimizer.method != .rmsprop && optimizer.decayRate != Optimizer.defaultDecayRate {
      throw origins.error(
        ["optimizer.decay_rate", "optimizer.method"],
        "is \(ConfigurationValue.number(optimizer.decayRate).yaml), and \(optimizer.method.rawValue) keeps no mean square that it could be for",
        allowed: "\(ConfigurationValue.number(Optimizer.defaultDecayRate).yaml), its default, with optimizer.method: "
          + optimizer.method.rawValue)
    }
    if optimizer.method.epsilon == nil, let epsilon = optimizer.epsilon {
      throw origins.error(
        ["optimizer.epsilon", "optimizer.method"],
        "is \(ConfigurationValue.number(epsilon).yaml), and \(optimizer.method.rawValue) divides by no mean square",
        allowed: "null with optimizer.method: \(optimizer.method.rawValue)")
    }
    if evaluation.average != nil && normalization.placement == .whitenedInput {
      throw origins.error(
        ["evaluation.average", "normalization.placement"],
        "is set, and with whitened-input the weights of different updates are for different bases of the input",
        allowed: "null with normalization.placement: whitened-input")
    }
    if optimizer.weightDecay * optimizer.learningRate >= 1 {
      throw origins.error(
        ["optimizer.weight_decay", "optimizer.learning_rate"],
        "is \(ConfigurationValue.number(optimizer.weightDecay).yaml), and an update at the learning rate "
          + "\(ConfigurationValue.number(optimizer.learningRate).yaml) would take away all of every weight or more",
        allowed: "less than 1 / optimizer.learning_rate")
    }
    if communication.gradients != .float32 && !communication.reproducible {
      throw origins.error(
        ["communication.reproducible", "communication.gradients"],
        "is false, which leaves the sum to MPI, and MPI does not add \(communication.gradients.rawValue)",
        allowed: "true with communication.gradients: \(communication.gradients.rawValue)")
    }
  }

  private func checkSources(_ origins: ConfigurationOrigins) throws(ConfigurationError) {
    let sources = [("data.train", data.train), ("data.validation", data.validation), ("data.test", data.test)]
    for case (let key, let source?) in sources {
      let found = ConfigurationTable.key(key)!.read(self).spelledOut  // The three keys above are in the table.
      let form = task.definition.sources
      if source.form != form {
        throw origins.error(
          [key, "task"], "found \(found)", allowed: "\(form.allowed), for task \(task.rawValue)", reason: .wrongType)
      }
    }
  }

  private func checkModel(_ origins: ConfigurationOrigins) throws(ConfigurationError) {
    if task.definition.predictsInputs && model.bidirectional {
      throw origins.error(
        ["model.bidirectional", "task"], "is true: read backwards, a text shows the very token that is to be predicted",
        allowed: "false for task \(task.rawValue)")
    }
    if model.tiedEmbedding && model.embeddingSize != model.hiddenSize {
      throw origins.error(
        ["model.tied_embedding", "model.embedding_size", "model.hidden_size"],
        "is true, but model.embedding_size is \(model.embeddingSize) and model.hidden_size, the width of the output layer's weights, is "
          + "\(model.hiddenSize)",
        allowed: "true with equal sizes, or false")
    }
    let shape = model.cell.shape, cell = model.cell.rawValue
    if model.peepholes != .none && !shape.allowsPeepholes {
      throw origins.error(
        ["model.peepholes", "model.cell"], "is \(model.peepholes.rawValue), and \(cell) cells have no state that gates could see",
        allowed: "none with model.cell: \(cell)")
    }
    if initialization.forgetBias != 0 && shape.forgetGate == nil {
      throw origins.error(
        ["initialization.forget_bias", "model.cell"],
        "is \(ConfigurationValue.number(initialization.forgetBias).yaml), and \(cell) cells have no forget gate",
        allowed: "0 with model.cell: \(cell)")
    }
    if !shape.placements.contains(normalization.placement) {
      throw origins.error(
        ["normalization.placement", "model.cell"],
        "is \(normalization.placement.rawValue), and "
          + (normalization.placement == .whitenedInput
            ? "inputs are whitened for lstm and rnn cells alone" : "\(cell) cells read W_x x and W_h h apart, so that there is no such term"),
        allowed: "\(shape.placements.map(\.rawValue).joined(separator: ", ")) with model.cell: \(cell)")
    }
  }

  private func checkNormalization(_ origins: ConfigurationOrigins) throws(ConfigurationError) {
    if normalization.method == .layer && normalization.placement == .whitenedInput {
      throw origins.error(
        ["normalization.method", "normalization.placement"],
        "is layer, and whitened-input whitens with the covariance over frames, which a single frame does not have",
        allowed: "batch with normalization.placement: whitened-input")
    }
    if normalization.placement == .whitenedInput && normalization.scope != .global {
      throw origins.error(
        ["normalization.scope", "normalization.placement"],
        "is not global, and replicas that whiten by covariances of their own would be different networks",
        allowed: "global with normalization.placement: whitened-input")
    }
    if normalization.method == .batch && normalization.statistics == .sequence && normalization.placement.dependsOnRecurrence {
      throw origins.error(
        ["normalization.statistics", "normalization.placement"],
        "is sequence, but with placement \(normalization.placement.rawValue) what is normalised depends on the recurrence, and statistics "
          + "over all time steps would need steps that are not computed yet",
        allowed: "frame")
    }
  }

  private func checkShards(_ origins: ConfigurationOrigins) throws(ConfigurationError) {
    guard let shards = training.shards else { return }
    if task.definition.hasEqualShards && training.batchSize % shards != 0 {
      throw origins.error(
        ["training.batch_size", "training.shards"],
        "is \(training.batchSize), which \(shards) shards cannot share equally", allowed: "a multiple of training.shards")
    }
    if case .group(let count) = normalization.scope, count > shards {
      throw origins.error(
        ["normalization.scope", "training.shards"],
        "is {group: \(count)}, and there are \(shards) shards", allowed: "a group of at most training.shards")
    }
  }

  /// Refuses shards that no minibatch of a training can fill; evaluation takes as few sequences at a time as it is asked for.
  func checkShardsCanBeFilled() throws(ConfigurationError) {
    guard let shards = training.shards, training.batchFrames == nil, shards > training.batchSize else { return }
    throw ConfigurationError(
      .conflict, key: "training.shards", found: "is \(shards), which the \(training.batchSize) sequences of a minibatch cannot fill",
      allowed: "at most training.batch_size")
  }

  /// The configuration with every `auto` and `automatic` replaced, as a run on so many ranks uses it.
  /// - fastest: who multiplies large matrices fastest on the ranks' processors.
  /// - Throws: for more ranks than shards, a batch that the shards cannot share, and groups of more shards than there are.
  public func resolved(rankCount: Int, fastest: ProductLibrary = .fastest) throws(ConfigurationError) -> TrainingConfiguration {
    precondition(rankCount >= 1, "a run has at least one rank")
    var result = self
    result.training.shards = training.shards ?? rankCount
    if compute.products == .automatic { result.compute.products = fastest == .own ? .own : .blas }
    task.definition.resolve(&result)
    if let shards = training.shards, shards < rankCount {
      throw ConfigurationError(
        .conflict, key: "training.shards", found: "is \(shards), and \(rankCount) ranks run: every rank needs a shard",
        allowed: "at least the number of ranks, or auto")
    }
    do {
      try result.validate()
    } catch {
      var error = error
      if training.shards == nil, error.reason == .conflict {
        error.found += " (training.shards is auto: one for each of \(rankCount) ranks)"
      }
      throw error
    }
    return result
  }
}
