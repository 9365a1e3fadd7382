/// Every key, in the order in which a file lists them. Parsing, range checks, writing, messages and the reference all
/// come from here; defaults are the initial values of `TrainingConfiguration`.
package enum ConfigurationTable {
  private typealias Key = ConfigurationKey

  static let keys: [ConfigurationKey] =
    [task] + data + model + normalization + initialization + training + optimizer + evaluation + checkpoint + survival + logging
    + compute + communication

  /// In file order.
  static let sections: [String] = keys.reduce(into: []) { sections, key in
    if let section = key.section, section != sections.last { sections.append(section) }
  }

  package static func key(_ path: String) -> ConfigurationKey? { keys.first { $0.path == path } }

  /// The known key, section or field of a record that most resembles an unknown path. What stands after the last dot counts
  /// double, so that a key in the wrong section is found in its own.
  static func nearest(to path: String) -> String {
    func parts(_ path: String) -> (parent: String, name: String) {
      guard let dot = path.lastIndex(of: ".") else { return ("", path) }
      return (String(path[..<dot]), String(path[path.index(after: dot)...]))
    }
    let (parent, name) = parts(path)
    func distance(_ candidate: String) -> Int {
      let known = parts(candidate)
      return 2 * editDistance(name, known.name) + min(3, editDistance(parent, known.parent))
    }
    let candidates = keys.map(\.path) + sections + keys.flatMap { key in key.fields.map { "\(key.path).\($0)" } }
    return candidates.min { distance($0) < distance($1) }!
  }

  static let task = ConfigurationKey("task", \.task, .choice, "what is learned", isRequired: true)

  // The tasks that read texts, and those that read archives.
  private static let texts = tasks(of: .text), archives = tasks(of: .archives)

  private static func tasks(of form: SourceForm) -> [TrainingConfiguration.Task] {
    TrainingConfiguration.Task.allCases.filter { $0.definition.sources == form }
  }

  private static let data: [ConfigurationKey] = [
    Key("data.train", \.data.train, .source, "what is learned from", isRequired: true, fields: ["features", "labels"]),
    Key(
      "data.unit", \.data.unit, .choice, "what one token is; with `character`, space and newline count too", tasks: texts),
    Key(
      "data.validation", \.data.validation, .source, "what decides which checkpoint is best", isRequired: true,
      fields: ["features", "labels"]),
    Key(
      "data.test", \.data.test, .orNull(.source), "what the best checkpoint is measured on at the end",
      fields: ["features", "labels"]),
    Key(
      "data.vocabulary_size", \.data.vocabularySize, .integer(2...unboundedCount), "most token types; rarer ones become `<unk>`",
      tasks: texts),
    Key(
      "data.unknown", \.data.unknown, .choice,
      "when `<unk>` is a type: where types are left out or the text has it; or always, as one more where all types fit", tasks: texts),
    Key("data.classes", \.data.classes, .integer(2...unboundedCount), "number of labels", tasks: archives),
    Key(
      "data.deltas", \.data.deltas, .integer(0...2),
      "order of the differences appended to the features, as Kaldi's `add-deltas` does", tasks: archives),
    Key(
      "data.maximum_frames", \.data.maximumFrames, .integer(1...unboundedCount), "longer utterances are left out of training",
      tasks: archives),
    Key(
      "data.normalize", \.data.normalize, .choice, "over what each feature is brought to mean 0 and variance 1",
      tasks: archives),
    Key(
      "data.on_unusable", \.data.onUnusable, .choice,
      "what is done about utterances without labels, of other lengths than their labels, or without frames: an error, or they are left out",
      tasks: archives),
    Key(
      "data.allow_commands", \.data.allowCommands, .boolean,
      "whether a path, or a line of an index, may be a command that ends with a pipe sign, which the shell runs and whose output is read", tasks: archives),
  ]

  // The upper bounds keep every product of shapes inside 64 bits.
  private static let model: [ConfigurationKey] = [
    Key(
      "model.embedding_size", \.model.embeddingSize, .integer(1...65_536), "numbers that stand for one token",
      tasks: texts),
    Key("model.cell", \.model.cell, .choice, "recurrent cell"),
    Key("model.layers", \.model.layers, .integer(1...64), "recurrent layers"),
    Key("model.hidden_size", \.model.hiddenSize, .integer(1...65_536), "cells of each layer and direction"),
    Key("model.bidirectional", \.model.bidirectional, .boolean, "whether a second recurrence runs from the end"),
    Key("model.peepholes", \.model.peepholes, .choice, "gates that see the cell's state"),
    Key(
      "model.dropout", \.model.dropout, .number(from: 0, below: 1),
      "probability of dropping a unit on the way up, never along time"),
    Key(
      "model.dropout_kind", \.model.dropoutKind, .choice,
      "what `dropout` drops: other units at every time step, or the same at all time steps of a minibatch"),
    Key(
      "model.recurrent_dropout", \.model.recurrentDropout, .number(from: 0, below: 1),
      "probability of dropping an element of the recurrent weights, the same for all sequences and time steps of an update"),
    Key(
      "model.recurrent_weights", \.model.recurrentWeights, .choice,
      "format of the copies that recurrent products read, in training and evaluation"),
    Key(
      "model.initial_state", \.model.initialState, .choice,
      "state before the first step of a sequence; with `learned` a trained vector of each layer and direction"),
    Key(
      "model.initial_state_noise", \.model.initialStateNoise, .number(from: 0),
      "standard deviation of normal noise on the output before the first step, wherever a minibatch's own statistics normalise",
      needs: .batchStatistics),
    Key(
      "model.tied_embedding", \.model.tiedEmbedding, .boolean,
      "whether the output layer's weights are the embedding's; `embedding_size` is then `hidden_size`", tasks: texts),
  ]

  private static let normalization: [ConfigurationKey] = [
    Key(
      "normalization.method", \.normalization.method, .choice,
      "mean and variance of each feature over frames, or of each frame over the features"),
    Key("normalization.placement", \.normalization.placement, .choice, "where normalisation goes"),
    Key(
      "normalization.statistics", \.normalization.statistics, .choice, "one mean and variance a time step, or one for all of them",
      needs: .batchStatistics),
    Key(
      "normalization.scope", \.normalization.scope, .scope,
      "whose sequences enter them: one shard's, all, or those of k consecutive shards", fields: ["group"], needs: .batchStatistics),
    Key("normalization.epsilon", \.normalization.epsilon, .number(over: 0), "added to the variance"),
    Key(
      "normalization.momentum", \.normalization.momentum, .number(over: 0, to: 1),
      "weight of a new batch in the running statistics", needs: .batchStatistics),
    Key("normalization.gamma", \.normalization.gamma, .number(), "initial scale"),
    Key(
      "normalization.whitening_interval", \.normalization.whiteningInterval, .integer(1...unboundedCount),
      "updates from one estimate of the inputs' covariance to the next", needs: .whitening),
  ]

  private static let initialization: [ConfigurationKey] = [
    Key("initialization.scheme", \.initialization.scheme, .choice, "how weights are drawn"),
    Key(
      "initialization.recurrent_scheme", \.initialization.recurrentScheme, .orNull(.choice),
      "recurrent weights at first: identity for the candidate and orthogonal for gates, or all orthogonal; null: as `scheme`"),
    Key(
      "initialization.embedding_deviation", \.initialization.embeddingDeviation, .orNull(.number(over: 0)),
      "standard deviation of a normal embedding; null: as the other weights", tasks: texts),
    Key("initialization.range", \.initialization.range, .number(over: 0), "`uniform` draws from this far on both sides of 0"),
    Key("initialization.forget_bias", \.initialization.forgetBias, .number(), "initial bias of the forget gate"),
  ]

  private static let training: [ConfigurationKey] = [
    Key("training.seed", \.training.seed, .seed, "fixes every random number of the run"),
    Key("training.batch_size", \.training.batchSize, .integer(1...1_048_576), "sequences of one minibatch, over all ranks"),
    Key(
      "training.shards", \.training.shards, .orAuto(.integer(1...1_048_576)),
      "parts of the minibatch; the same number gives the same result on any number of ranks; auto: one a rank"),
    Key("training.unroll_steps", \.training.unrollSteps, .integer(1...65_536), "time steps of one window", tasks: texts),
    Key(
      "training.windows", \.training.windows, .choice,
      "windows follow each other and carry the state on; or an epoch shuffles them, cut at an offset of its own, and each begins anew",
      tasks: texts),
    Key("training.epochs", \.training.epochs, .integer(1...unboundedCount), "passes over the training data"),
    Key("training.maximum_steps", \.training.maximumSteps, .orNull(.integer(1...unboundedCount)), "stop after so many updates"),
    Key(
      "training.average_over", \.training.averageOver, .choice, "what the summed loss is divided by before it is differentiated"),
    Key(
      "training.shuffle", \.training.shuffle, .boolean, "group utterances by length and shuffle; false: the archive's order",
      tasks: archives),
    Key("training.accumulate_steps", \.training.accumulateSteps, .integer(1...1_048_576), "minibatches that make one update, as one minibatch of all their sequences would"),
    Key(
      "training.batch_frames", \.training.batchFrames, .orNull(.integer(1...unboundedCount)),
      "most frames of one minibatch, over all ranks, in place of `batch_size`: the number of its utterances varies; null: `batch_size` counts",
      tasks: archives),
    Key(
      "training.early_stopping", \.training.earlyStopping, .orNull(.earlyStopping),
      "ends the run after `patience` validations in a row without a new best one; null: never", fields: ["patience"]),
  ]

  private static let optimizer: [ConfigurationKey] = [
    Key("optimizer.method", \.optimizer.method, .choice, "rule of the update"),
    Key("optimizer.learning_rate", \.optimizer.learningRate, .number(over: 0), "step size of the first epoch"),
    Key(
      "optimizer.momentum", \.optimizer.momentum, .number(from: 0, below: 1), "share of the last update in the next; not for adam"
    ),
    Key("optimizer.clip_norm", \.optimizer.clipNorm, .orNull(.number(over: 0)), "longest gradient; null: no clipping"),
    Key(
      "optimizer.decay", \.optimizer.decay, .orNull(.decay),
      "divides the learning rate by `factor` in every epoch past `after`; null: never", fields: ["factor", "after"]),
    Key(
      "optimizer.warmup_steps", \.optimizer.warmupSteps, .integer(0...unboundedCount),
      "updates over which the learning rate rises in equal steps; 0: none"),
    Key(
      "optimizer.plateau", \.optimizer.plateau, .orNull(.plateau),
      "divides the learning rate by `factor` after `patience` validations in a row none of which is below the best loss before it by more than "
        + "the share `threshold`; null: never", fields: ["factor", "patience", "threshold"]),
    Key(
      "optimizer.cosine", \.optimizer.cosine, .orNull(.cosine),
      "lets the learning rate fall along half a cosine over all updates of the run, to the share `final`; null: no", fields: ["final"]),
    Key(
      "optimizer.weight_decay", \.optimizer.weightDecay, .number(from: 0),
      "share of weight matrices, and of the embedding's rows that have a gradient, that an update takes away, times the learning rate"),
    Key(
      "optimizer.decay_rate", \.optimizer.decayRate, .number(from: 0, below: 1),
      "share of rmsprop's mean square that stays from one update to the next; for rmsprop alone"),
    Key(
      "optimizer.epsilon", \.optimizer.epsilon, .orNull(.number(over: 0)),
      "added to the root of adam's mean square, and to rmsprop's mean square under the root; null: 1e-08 and 0.0001"),
  ]

  private static let evaluation: [ConfigurationKey] = [
    Key(
      "evaluation.statistics", \.evaluation.statistics, .choice,
      "what normalises in evaluation: running averages, passes over the training data: `population` pools all frames, `averaged` takes the mean "
        + "of the groups' variances; or with `batch` what is evaluated together", needs: .batchStatistics),
    Key(
      "evaluation.frames_per_step", \.evaluation.framesPerStep, .integer(1...unboundedCount),
      "with frame-wise statistics: later time steps take those of the last step that has so many frames behind its own", needs: .batchStatistics),
    Key(
      "evaluation.average", \.evaluation.average, .orNull(.average),
      "an exponential average of the weights after each update, with statistics of the training data of its own, is evaluated beside them; "
        + "null: no", fields: ["decay"]),
    Key(
      "evaluation.population_batches", \.evaluation.populationBatches, .orNull(.integer(1...unboundedCount)),
      "minibatches of that pass; null: the whole training set"),
    Key(
      "evaluation.every_epochs", \.evaluation.everyEpochs, .integer(1...unboundedCount), "epochs from one validation to the next"),
    Key(
      "evaluation.streams", \.evaluation.streams, .orAuto(.integer(1...1_048_576)),
      "parts into which a text is cut for evaluation; auto: the batch size", tasks: texts),
  ]

  private static let checkpoint: [ConfigurationKey] = [
    Key(
      "checkpoint.every_steps", \.checkpoint.everySteps, .orNull(.integer(1...unboundedCount)),
      "updates from one checkpoint to the next"),
    Key(
      "checkpoint.every_minutes", \.checkpoint.everyMinutes, .orNull(.number(over: 0, to: 525_600)),
      "minutes from one checkpoint to the next"),
    Key("checkpoint.keep", \.checkpoint.keep, .integer(1...unboundedCount), "newest checkpoints that stay, beside the best"),
    Key(
      "checkpoint.on_error", \.checkpoint.onError, .choice,
      "when a checkpoint or metrics cannot be written: stop, or say so and try again when it is next due"),
  ]

  private static let survival: [ConfigurationKey] = [
    Key(
      "replica_check.every_steps", \.replicaCheck.everySteps, .orNull(.integer(1...unboundedCount)),
      "updates from one comparison of all ranks' weights to the next; null: never"),
    Key(
      "replica_check.heal", \.replicaCheck.heal, .boolean,
      "where most ranks have the same, give it to the others and go on; false: stop"),
    Key(
      "watchdog.warn_seconds", \.watchdog.warnSeconds, .orNull(.number(over: 0, to: 1_000_000)),
      "a wait for other ranks after which the late ones are named; null: never"),
    Key(
      "watchdog.abort_seconds", \.watchdog.abortSeconds, .orNull(.number(over: 0, to: 1_000_000)),
      "a wait for ranks that do not get on after which the job is ended; null: never"),
  ]

  private static let logging: [ConfigurationKey] = [
    Key("logging.tensorboard", \.logging.tensorBoard, .boolean, "write an event file for TensorBoard into the run directory")
  ]

  private static let compute: [ConfigurationKey] = [
    Key(
      "compute.products", \.compute.products, .choice,
      "who multiplies matrices of 64 rows and more: the program's own kernels, BLAS, or what the processor is known to do faster"),
  ]

  private static let communication: [ConfigurationKey] = [
    Key("communication.gradients", \.communication.gradients, .choice, "format of gradients on the wire"),
    Key(
      "communication.reproducible", \.communication.reproducible, .boolean,
      "sum in one order, so that the result does not depend on the number of ranks"),
    Key(
      "communication.overlap", \.communication.overlap, .boolean,
      "begin the sum of a layer's gradients while backward goes on below it; false: after backward"),
    Key(
      "communication.bucket_megabytes", \.communication.bucketMegabytes, .number(over: 0, to: 65_536),
      "the most gradients in a message between nodes, which has 256 KiB unless this is less (16 KiB a rank where there are more than 16); "
        + "within one node pieces of a MiB are reduced, of 128 KiB a rank where there are more than 8"),
  ]
}
