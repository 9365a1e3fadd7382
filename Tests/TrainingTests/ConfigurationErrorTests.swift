import Testing

import Training

/// A valid language model, four lines long; further lines start at 5.
private let base = "task: language-model\ndata:\n  train: a.txt\n  validation: b.txt\n"
private let speech = """
  task: frame-classification
  data:
    train: {features: a.ark, labels: b.ark}
    validation: {features: c.scp, labels: d.scp}

  """

/// The error of a text that must not load.
private func failure(
  _ yaml: String, overrides: [String] = [], _ location: SourceLocation = #_sourceLocation
) throws -> ConfigurationError {
  try #require(throws: ConfigurationError.self, sourceLocation: location) {
    try TrainingConfiguration(yaml: yaml, file: "x.yaml", overrides: overrides)
  }
}

@Suite struct ConfigurationErrorTests {
  // MARK: Unknown keys

  @Test(arguments: [
    ("model:\n  hiddn_size: 3\n", 6, "model.hiddn_size", "model.hidden_size"),
    ("optimizer:\n  batch_size: 3\n", 6, "optimizer.batch_size", "training.batch_size"),
    ("hidden_size: 3\n", 5, "hidden_size", "model.hidden_size"),
    ("modle:\n  layers: 3\n", 5, "modle", "model"),
    ("training:\n  suffle: true\n", 6, "training.suffle", "training.shuffle"),
    ("optimizer:\n  decay: {factor: 2, afterr: 3}\n", 6, "optimizer.decay.afterr", "optimizer.decay.after"),
    ("optimizer:\n  decay:\n    factor: 2\n    aft: 3\n", 8, "optimizer.decay.aft", "optimizer.decay.after"),
    ("normalization:\n  scope: {grup: 2}\n", 6, "normalization.scope.grup", "normalization.scope.group"),
  ])
  func unknownKey(text: String, line: Int, key: String, nearest: String) throws {
    let error = try failure(base + text)
    #expect(error.reason == .unknownKey)
    #expect(error.line == line)
    #expect(error.key == key)
    #expect(error.nearest == nearest)
    #expect(error.description.hasPrefix("x.yaml:\(line): \(key): unknown key"))
  }

  @Test func anUnknownKeyOfAnyLengthGivesAShortMessage() throws {
    let error = try failure(base + "\"" + String(repeating: "k\\n", count: 300) + "\": 3\n")
    #expect(error.reason == .unknownKey)
    #expect(error.description.count < 1000)
    #expect(!error.description.contains("\n"))
  }

  @Test func mergeKeysAreNotExpanded() throws {
    #expect(try failure(base + "<<: {model: {layers: 3}}\n").reason == .unknownKey)
  }

  @Test(arguments: [
    ("training:\n  shuffle: true\n", "training.shuffle"), ("data:\n  train: a\n  validation: b\n  classes: 3\n", "data.classes"),
  ])
  func keyOfSpeechInALanguageModel(text: String, key: String) throws {
    let yaml = text.hasPrefix("data") ? "task: language-model\n" + text : base + text
    let error = try failure(yaml)
    #expect(error.reason == .conflict)
    #expect(error.key == key)
    #expect(error.line != nil)
    #expect(error.found == "belongs to task frame-classification or sequence-classification, and the task is language-model")
  }

  @Test(arguments: [
    "model.embedding_size=3", "training.unroll_steps=3", "training.windows=shuffled", "evaluation.streams=3", "data.unit=word", "data.vocabulary_size=9",
    "initialization.embedding_deviation=1", "model.tied_embedding=true",
  ])
  func keyOfLanguageModelsInSpeech(override: String) throws {
    let error = try failure(speech, overrides: [override])
    #expect(error.reason == .conflict)
    #expect(error.found == "belongs to task language-model, and the task is frame-classification")
    #expect(error.description.hasPrefix("--set \(override): "))
    let ofSequences = try failure(speech, overrides: ["task=sequence-classification", override])
    #expect(ofSequences.found == "belongs to task language-model, and the task is sequence-classification")
  }

  @Test func textsForSequenceClassification() throws {
    let error = try failure(base, overrides: ["task=sequence-classification"])
    #expect(error.reason == .wrongType && error.key == "data.train")
    #expect(error.description.contains("{features: PATH, labels: PATH}, or with lists of paths, for task sequence-classification"))
  }

  // MARK: Missing keys and sections

  @Test(arguments: [
    ("data: {train: a, validation: b}\n", "task"), ("task: language-model\n", "data.train"),
    ("task: language-model\ndata:\n  train: a\n", "data.validation"),
    (base + "optimizer:\n  decay: {factor: 2}\n", "optimizer.decay.after"),
    ("task: frame-classification\ndata:\n  train: {labels: b}\n  validation: {features: a, labels: b}\n", "data.train.features"),
  ])
  func missingKey(yaml: String, key: String) throws {
    let error = try failure(yaml)
    #expect(error.reason == .missingKey)
    #expect(error.key == key)
    #expect(error.found == "missing")
    #expect(error.allowed != nil)
  }

  @Test(arguments: ["", "\n\n", "# nothing\n", "---\n", "null\n", "3\n", "[1, 2]\n", "words\n"])
  func noMapping(yaml: String) throws {
    let error = try failure(yaml)
    #expect(error.reason == .syntax || error.reason == .wrongType)
    #expect(error.allowed == "a mapping of sections and keys")
  }

  @Test(arguments: ["3", "[1]", "text", "", "null"])
  func sectionThatIsNoMapping(value: String) throws {
    let error = try failure(base + "model: \(value)\n")
    #expect(error.reason == .wrongType)
    #expect(error.key == "model")
    #expect(error.line == 5)
    #expect(error.allowed == "a mapping of the section's keys")
  }

  // MARK: YAML

  @Test(arguments: [
    (base + "model: [1\n", 6), (base + "model:\n\tlayers: 2\n", 6), (base + "model: }\n", 5), (base + "model: *x\n", 5),
    (base + "---\na: 1\n", 5), (base + "model: \u{7}\n", 5), (base + "model: \"abc\n", 6),
  ])
  func syntaxError(yaml: String, line: Int) throws {
    let error = try failure(yaml)
    #expect(error.reason == .syntax)
    #expect(error.line == line)
    #expect(error.description.hasPrefix("x.yaml:\(line): not YAML: "))
    #expect(!error.description.contains("\n"))
  }

  @Test(arguments: [
    ("model:\n  layers: 2\n  hidden_size: 3\n  layers: 2\n", "layers", 6), ("data: {}\n", "data", 2),
    ("model:\n  layers: 2\n  \"layers\": 3\n", "layers", 6), ("optimizer:\n  decay: {after: 1, after: 2}\n", "after", 6),
  ])
  func duplicateKey(text: String, key: String, line: Int) throws {
    let error = try failure(base + text)
    #expect(error.reason == .duplicateKey)
    #expect(error.key == key)
    #expect(error.line == line)
  }

  /// In any spelling, with both places.
  @Test(arguments: [
    ("model:\n  layers: 2\n  hidden_size: 3\n  # layers: 4\n  'layers' : 2\n", 6, "layers: stands twice in one mapping, here and in line 9"),
    ("model: {layers: 2}\nmodel.layers: 3\n", 6, "model.layers: is set twice, here and in line 5"),
    ("model.layers: 3\nmodel:\n  hidden_size: 3\n  layers: 3\n", 8, "model.layers: is set twice, here and in line 5"),
    ("data.train: a.txt\n", 5, "data.train: is set twice, here and in line 3"),
    ("\"task\": language-model\n", 1, "task: stands twice in one mapping, here and in line 5"),
  ])
  func keyInTwoPlaces(text: String, line: Int, message: String) throws {
    #expect(try failure(base + text).description == "x.yaml:\(line): \(message); allowed: once")
  }

  /// On the command line the last one counts.
  @Test func overridesOfOneKey() throws {
    let configuration = try TrainingConfiguration(
      yaml: base + "model.layers: 3\n", file: "x.yaml", overrides: ["model.layers=4", "model.layers=5"])
    #expect(configuration.model.layers == 5)
  }

  // MARK: Characters that cannot be seen

  @Test(arguments: [
    ("model:\n  layers:\u{a0}2\n  hidden_size: 3\n", "line 6 has U+00A0 (no-break space) in column 10"),
    ("model:\n\u{2003}layers: 2\n", "x.yaml:6: "),
    ("model:\n  layers: 2\u{a0}\n", "x.yaml:6: model.layers: found U+00A0 (no-break space) in column 12"),
    ("model: {layers: 2, cell: \u{200b}lstm}\n", "x.yaml:5: model.cell: found U+200B (zero width space) in column 26"),
    ("model:\n  layers\u{a0}: 2\n", "x.yaml:6: layers\\u{a0}: found U+00A0 (no-break space) in column 9"),
    ("\u{feff}model: {layers: 2}\n", "line 5 has U+FEFF (byte-order mark) in column 1"),
    ("optimizer:\n  decay: {factor: 2, after:\u{a0}3}\n", "U+00A0 (no-break space) in column 28"),
  ])
  func invisibleCharacters(text: String, words: String) throws {
    let message = try failure(base + text).description
    #expect(message.contains(words) && message.contains("U+"), "\(message)")
  }

  @Test func invisibleCharactersInQuotesAndComments() throws {
    let yaml = "task: language-model # a\u{a0}b\ndata:\n  train: \"a\u{a0}b\"\n  validation: 'c\u{200d}'\n"
    let configuration = try TrainingConfiguration(yaml: yaml, file: "x.yaml")
    #expect(configuration.data.train == .text(path: "a\u{a0}b") && configuration.data.validation == .text(path: "c\u{200d}"))
    let error = try failure(base, overrides: ["model.layers=2\u{a0}"])
    #expect(error.description.contains("U+00A0 (no-break space) in column 2") && error.override != nil, "\(error)")
  }

  // MARK: Numbers

  @Test(arguments: ["32", "32.0", "3.2e1", "3.2E+1", "320e-1", "0.32e2", "+32", "32.", "0032e0"])
  func wholeNumbersInAnyNotation(_ text: String) throws {
    if text.hasPrefix("00") { return #expect(wholeNumber(text) == nil) }
    #expect(try TrainingConfiguration(yaml: base, file: "x.yaml", overrides: ["model.layers=\(text)"]).model.layers == 32)
  }

  @Test func largeWholeNumbers() throws {
    func seed(_ text: String) throws -> UInt64 {
      try TrainingConfiguration(yaml: base, file: "x.yaml", overrides: ["training.seed=\(text)"]).training.seed
    }
    #expect(try seed("1.8446744073709551615e19") == .max && seed("0.0") == 0 && seed("-0e5") == 0 && seed("1e3") == 1000)
    #expect(wholeNumber("1e99999999999999999999") == nil && wholeNumber("1e39") == nil && wholeNumber("0e999") == 0 && wholeNumber("-2e1") == -20)
  }

  // MARK: Paths on the command line

  @Test(arguments: [
    "d/corpus #2.txt", "a: b.txt", " a", "a ", "'a'", "\"a\"", "100%", "~/a", "{a}.txt", "{a", "[a].txt", "a[1]", "line\nend", "12", "true", "- a", "&a", "!x",
    "a\u{a0}b",
  ])
  func pathsStandAsTheyAre(_ path: String) throws {
    let text = try TrainingConfiguration(yaml: base, file: "x.yaml", overrides: ["data.train=\(path)", "data.test=\(path)"])
    #expect(text.data.train == .text(path: path) && text.data.test == .text(path: path))
    #expect(try TrainingConfiguration(yaml: text.yaml(), file: "x.yaml") == text)
    let frames = try TrainingConfiguration(yaml: speech, file: "x.yaml", overrides: ["data.train.features=\(path)", "data.validation.labels=\(path)"])
    #expect(frames.data.train == .frames(features: path, labels: "b.ark") && frames.data.validation == .frames(features: "c.scp", labels: path))
  }

  @Test func listsOfPaths() throws {
    let text = try TrainingConfiguration(yaml: base + "  test: [c.txt, \"d e.txt\"]\n", file: "x.yaml", overrides: ["data.train=[a, 'b #1']", "data.validation=[a]"])
    #expect(text.data.train == .texts(["a", "b #1"]) && text.data.validation == .text(path: "a") && text.data.test == .texts(["c.txt", "d e.txt"]))
    #expect(try TrainingConfiguration(yaml: text.yaml(), file: "x.yaml") == text)
    let frames = try TrainingConfiguration(
      yaml: speech, file: "x.yaml", overrides: ["data.train={features: [a, b], labels: c}", "data.validation.labels=[d, e]"])
    #expect(frames.data.train == .archives(features: ["a", "b"], labels: ["c"]) && frames.data.validation == .archives(features: ["c.scp"], labels: ["d", "e"]))
    #expect(try TrainingConfiguration(yaml: frames.yaml(), file: "x.yaml") == frames)
    for (value, found) in [("[]", "an empty list"), ("[a, 3]", "3"), ("[a, [b]]", "a nested mapping or list"), ("[a, ~]", "nothing (null)")] {
      #expect(try failure(base, overrides: ["data.train=\(value)"]).found == "found \(found)")
    }
    #expect(try failure(speech, overrides: ["data.train.features=[a, {b: c}]"]).key == "data.train.features")
  }

  @Test func mappingsAndNullInPlaceOfPaths() throws {
    let frames = try TrainingConfiguration(
      yaml: speech, file: "x.yaml", overrides: ["data.train={features: \"a #1\", labels: b}", "data.test={features: c, labels: d}", "data.test=null"])
    #expect(frames.data.train == .frames(features: "a #1", labels: "b") && frames.data.test == nil)
    #expect(try failure(speech, overrides: ["data.train={features: a, lables: b}"]).key == "data.train.lables")
    #expect(try failure(base, overrides: ["data.train="]).found == "found no value")
  }

  // MARK: Types

  @Test(arguments: [
    ("model.layers", "abc", "\"abc\""), ("model.layers", "3.5", "3.5"), ("model.layers", "3.05e1", "3.05e1"),
    ("model.layers", "\"3\"", "\"3\""),
    ("model.layers", "true", "true"), ("model.layers", "null", "nothing (null)"), ("model.layers", "[2]", "a list"),
    ("model.layers", "1e-1", "1e-1"), ("model.layers", "010", "\"010\""), ("model.layers", "0x10", "\"0x10\""),
    ("model.layers", "1_000", "\"1_000\""), ("model.layers", "!!int \"3\"", "a value with the tag tag:yaml.org,2002:int"),
    ("model.layers", "{a: 1}", "{a: 1}"), ("model.layers", "{a: [1]}", "{a: [1]}"), ("model.layers", "{a: {b: 1}}", "{a: a nested mapping or list}"),
    ("optimizer.learning_rate", "fast", "\"fast\""), ("optimizer.learning_rate", "true", "true"),
    ("optimizer.learning_rate", "1:30", "\"1:30\""),
    ("optimizer.learning_rate", "null", "nothing (null)"), ("optimizer.learning_rate", "1e", "\"1e\""),
    ("optimizer.learning_rate", "nan", "\"nan\""),
    ("model.bidirectional", "yes", "\"yes\""), ("model.bidirectional", "1", "1"), ("model.bidirectional", "\"true\"", "\"true\""),
    ("model.cell", "3", "3"), ("model.cell", "true", "true"), ("model.cell", "[lstm]", "a list"),
    ("data.test", "12", "12"), ("data.test", "[a, [b]]", "a nested mapping or list"), ("data.test", "true", "true"),
    ("data.test", "{features: a, labels: b}", "{features: a, labels: b}"),
    ("training.shards", "many", "\"many\""), ("training.shards", "null", "nothing (null)"),
    ("training.maximum_steps", "auto", "\"auto\""),
    ("training.seed", "1.5", "1.5"), ("normalization.scope", "2", "2"), ("normalization.scope", "[group]", "a list"),
    ("optimizer.decay", "2", "2"), ("optimizer.cosine", "0.1", "0.1"), ("optimizer.plateau", "2", "2"),
    ("training.early_stopping", "3", "3"), ("optimizer.clip_norm", "none", "\"none\""),
  ])
  func wrongType(key: String, value: String, found: String) throws {
    try expect(.wrongType, key, value, found)
  }

  // MARK: Ranges

  @Test(arguments: [
    ("model.layers", "0", "0"), ("model.layers", "65", "65"), ("model.layers", "-1", "-1"), ("model.hidden_size", "0", "0"),
    ("model.layers", "99999999999999999999", "99999999999999999999"), ("model.layers", "65.0", "65.0"), ("model.layers", "1e3", "1e3"),
    ("training.seed", "1.8446744073709551616e19", "1.8446744073709551616e19"), ("model.embedding_size", "0", "0"),
    ("model.dropout", "1", "1"), ("model.dropout", "-0.1", "-0.1"), ("model.dropout", ".nan", ".nan"),
    ("model.cell", "grü", "\"grü\""),
    ("optimizer.learning_rate", "0", "0"), ("optimizer.learning_rate", "-1e-3", "-1e-3"),
    ("optimizer.learning_rate", ".inf", ".inf"),
    ("optimizer.learning_rate", "-.inf", "-.inf"), ("optimizer.learning_rate", "1e999", "1e999"),
    ("optimizer.learning_rate", "1e39", "1e39, which single precision cannot hold"),
    ("normalization.epsilon", "1e-60", "1e-60, which single precision cannot hold"), ("normalization.epsilon", "0", "0"),
    ("normalization.momentum", "0", "0"), ("normalization.momentum", "1.01", "1.01"), ("normalization.gamma", ".inf", ".inf"),
    ("normalization.scope", "everyone", "\"everyone\""), ("normalization.placement", "Input", "\"Input\""),
    ("optimizer.momentum", "1", "1"), ("optimizer.momentum", "-0.5", "-0.5"), ("optimizer.clip_norm", "0", "0"),
    ("optimizer.decay_rate", "1", "1"), ("optimizer.decay_rate", "-0.1", "-0.1"), ("optimizer.epsilon", "0", "0"),
    ("optimizer.warmup_steps", "-1", "-1"), ("optimizer.weight_decay", "-0.1", "-0.1"),
    ("optimizer.method", "adamw", "\"adamw\""), ("initialization.range", "0", "0"),
    ("initialization.embedding_deviation", "0", "0"), ("initialization.recurrent_scheme", "uniform", "\"uniform\""),
    ("training.seed", "-1", "-1"), ("training.seed", "18446744073709551616", "18446744073709551616"),
    ("training.batch_size", "0", "0"),
    ("training.shards", "0", "0"), ("training.unroll_steps", "0", "0"), ("training.epochs", "0", "0"),
    ("training.maximum_steps", "0", "0"), ("training.windows", "random", "\"random\""),
    ("training.accumulate_steps", "0", "0"), ("data.vocabulary_size", "1", "1"),
    ("data.vocabulary_size", "2147483648", "2147483648"),
    ("data.unit", "byte", "\"byte\""), ("data.test", "\"\"", "\"\""), ("data.test", "\"a\\0b\"", "\"a\\u{0}b\""),
    ("evaluation.population_batches", "0", "0"), ("evaluation.frames_per_step", "0", "0"),
    ("evaluation.every_epochs", "0", "0"), ("evaluation.streams", "0", "0"),
    ("checkpoint.every_steps", "0", "0"), ("checkpoint.every_minutes", "0", "0"), ("checkpoint.keep", "0", "0"),
    ("communication.bucket_megabytes", "0", "0"), ("communication.gradients", "float64", "\"float64\""),
  ])
  func outOfRange(key: String, value: String, found: String) throws {
    try expect(.outOfRange, key, value, found)
  }

  @Test(arguments: [
    ("data.classes", "1"), ("data.deltas", "3"), ("data.deltas", "-1"), ("data.maximum_frames", "0"), ("data.normalize", "all"),
  ])
  func outOfRangeInSpeech(key: String, value: String) throws {
    let error = try failure(speech, overrides: ["\(key)=\(value)"])
    #expect(error.reason == .outOfRange)
    #expect(error.key == key)
  }

  @Test(arguments: [
    ("{factor: 0, after: 3}", "factor", "0"), ("{factor: 2, after: -1}", "after", "-1"),
    ("{factor: a, after: 1}", "factor", "\"a\""),
    ("{factor: 2, after: 1.5}", "after", "1.5"),
  ])
  func fieldOfARecord(value: String, field: String, found: String) throws {
    let error = try failure(base + "optimizer:\n  decay: \(value)\n")
    #expect(error.key == "optimizer.decay.\(field)")
    #expect(error.found == "found \(found)")
    #expect(error.line == 6)
    #expect(error.allowed?.contains(field == "factor" ? "a number > 0" : "an integer from 0") == true)
  }

  /// In the file and by override: the same finding, each at its place.
  private func expect(_ reason: ConfigurationError.Reason, _ key: String, _ value: String, _ found: String) throws {
    let path = key.split(separator: ".")
    let allowed = ConfigurationTable.key(key)?.allowed
    let text =
      path[0] == "data" ? base + "  \(path[1]): \(value)\n" : base + "\(path[0]):\n  \(path[1]): \(value)\n"
    let inFile = try failure(text)
    #expect(inFile.reason == reason)
    #expect(inFile.key == key)
    #expect(inFile.line == (path[0] == "data" ? 5 : 6))
    #expect(inFile.found == "found \(found)")
    #expect(inFile.description.contains("found \(found); allowed: "))
    // By override it is the path itself.
    if key == "data.test" { return }
    let overridden = try failure(base, overrides: ["\(key)=\(value)"])
    #expect(overridden.reason == reason)
    #expect(overridden.key == key)
    #expect(overridden.line == nil)
    #expect(overridden.found == "found \(found)")
    #expect(overridden.description.hasPrefix("--set \(key)="))
    #expect(inFile.allowed == allowed && allowed != nil)
  }

  // MARK: Rules between keys

  @Test(arguments: [
    (
      ["normalization.statistics=sequence", "normalization.placement=preactivation"], "normalization.statistics",
      "depends on the recurrence"
    ),
    (
      ["normalization.statistics=sequence", "normalization.placement=separate"], "normalization.statistics",
      "depends on the recurrence"
    ),
    (
      ["normalization.statistics=sequence", "normalization.placement=hidden"], "normalization.statistics",
      "depends on the recurrence"
    ),
    (
      ["normalization.statistics=sequence", "normalization.placement=state"], "normalization.statistics",
      "depends on the recurrence"
    ),
    (["model.cell=gru", "normalization.placement=preactivation"], "normalization.placement", "gru cells read W_x x and W_h h apart"),
    (["model.cell=gru", "normalization.placement=state"], "normalization.placement", "gru cells read W_x x and W_h h apart"),
    (["model.cell=gru", "model.peepholes=all"], "model.peepholes", "gru cells have no state that gates could see"),
    (["model.cell=gru", "initialization.forget_bias=1"], "initialization.forget_bias", "gru cells have no forget gate"),
    (["normalization.method=layer", "normalization.placement=whitened-input"], "normalization.method", "covariance over frames"),
    (["normalization.scope=local", "normalization.placement=whitened-input"], "normalization.scope", "would be different networks"),
    (["normalization.whitening_interval=5"], "normalization.whitening_interval", "no meaning without normalization.placement: whitened-input"),
    (["normalization.method=layer", "normalization.statistics=frame"], "normalization.statistics", "no meaning with normalization.method: layer"),
    (["normalization.scope=local", "normalization.method=layer"], "normalization.scope", "no meaning with normalization.method: layer"),
    (["normalization.method=layer", "normalization.momentum=0.5"], "normalization.momentum", "no meaning with normalization.method: layer"),
    (["normalization.method=layer", "evaluation.statistics=running"], "evaluation.statistics", "no meaning with normalization.method: layer"),
    (["training.batch_size=32", "training.shards=3"], "training.batch_size", "is 32, which 3 shards cannot share equally"),
    (["training.batch_size=4", "training.shards=8"], "training.batch_size", "is 4, which 8 shards"),
    (["training.shards=2", "normalization.scope={group: 4}"], "normalization.scope", "is {group: 4}, and there are 2 shards"),
    (["model.cell=rnn", "model.peepholes=output"], "model.peepholes", "rnn cells have no state that gates could see"),
    (["model.cell=rnn", "initialization.forget_bias=1"], "initialization.forget_bias", "is 1, and rnn cells have no forget gate"),
    (["optimizer.method=adam", "optimizer.momentum=0.9"], "optimizer.momentum", "is 0.9, and adam"),
    (["optimizer.method=adam", "optimizer.decay_rate=0.9"], "optimizer.decay_rate", "is 0.9, and adam keeps no mean square"),
    (["optimizer.weight_decay=1.5"], "optimizer.weight_decay", "is 1.5, and an update at the learning rate 1 would take away all"),
    (["optimizer.epsilon=1e-6"], "optimizer.epsilon", "is 1e-06, and sgd divides by no mean square"),
    (["optimizer.decay_rate=0.9"], "optimizer.decay_rate", "is 0.9, and sgd keeps no mean square"),
    (
      ["communication.reproducible=false", "communication.gradients=float16"], "communication.reproducible",
      "MPI does not add float16"
    ),
    (
      ["model.tied_embedding=true", "model.embedding_size=100"], "model.tied_embedding",
      "is true, but model.embedding_size is 100 and model.hidden_size, the width of the output layer's weights, is 200"
    ),
    (["model.bidirectional=true"], "model.bidirectional", "the very token that is to be predicted"),
  ])
  func conflict(overrides: [String], key: String, why: String) throws {
    let error = try failure(base, overrides: overrides)
    #expect(error.reason == .conflict)
    #expect(error.key == key)
    #expect(error.found.contains(why))
    #expect(error.allowed != nil)
    #expect(error.description.hasPrefix("--set \(key)="))
  }

  @Test func aConflictStandsWhereItWasMade() throws {
    let inFile = try failure(base + "training:\n  batch_size: 30\n  shards: 4\n")
    #expect(inFile.line == 6)
    let byDefault = try failure(base + "training:\n  shards: 5\n")
    #expect(byDefault.line == 6)
    #expect(byDefault.key == "training.batch_size")
    let overridden = try failure(base + "training:\n  batch_size: 32\n", overrides: ["training.shards=5"])
    #expect(overridden.override == "training.shards=5")
  }

  @Test(arguments: [
    ["normalization.statistics=sequence", "normalization.placement=input"],
    ["normalization.statistics=sequence", "normalization.placement=none"],
    ["normalization.placement=separate", "model.cell=rnn"], ["normalization.placement=hidden"],
    ["normalization.placement=separate", "model.cell=gru"], ["normalization.method=layer", "normalization.placement=state"],
    ["training.shards=8", "normalization.scope={group: 3}"], ["optimizer.method=rmsprop", "optimizer.momentum=0.9"],
    ["optimizer.method=rmsprop", "optimizer.decay_rate=0"], ["optimizer.method=adam", "optimizer.epsilon=0.001"], ["optimizer.method=adam", "optimizer.decay_rate=0.95"],
    ["model.tied_embedding=true", "model.hidden_size=7", "model.embedding_size=7"],
    ["optimizer.method=adam"], ["training.batch_size=30", "training.shards=5"],
  ])
  func allowedTogether(overrides: [String]) throws {
    _ = try TrainingConfiguration(yaml: base, file: "x.yaml", overrides: overrides)
  }

  @Test func formOfTheDataByTask() throws {
    let language = try failure("task: language-model\ndata:\n  train: a\n  validation: {features: a, labels: b}\n")
    #expect(language.key == "data.validation" && language.line == 4)
    #expect(language.allowed == "a path, or a list of paths, for task language-model")
    let frames = try failure("task: frame-classification\ndata:\n  train: a\n  validation: b\n")
    #expect(frames.key == "data.train" && frames.line == 3 && frames.found == "found \"a\"")
  }

  // MARK: Overrides

  @Test(arguments: ["", "model", "=3", "model.layers"])
  func overrideWithoutKeyAndValue(override: String) throws {
    let error = try failure(base, overrides: [override])
    #expect(error.reason == .syntax)
    #expect(error.allowed == "KEY=VALUE")
  }

  @Test(arguments: [
    (
      "model.hiddn_size=400",
      "--set model.hiddn_size=400: model.hiddn_size: unknown key; the nearest known key is model.hidden_size"
    ),
    ("model.layers=", "--set model.layers=: model.layers: found no value; allowed: an integer from 1 to 64"),
    ("model.layers=2.5", "--set model.layers=2.5: model.layers: found 2.5; allowed: an integer from 1 to 64"),
    (
      "optimizer.decay.rate=2",
      "--set optimizer.decay.rate=2: optimizer.decay.rate: unknown key; the nearest known key is optimizer.decay.after"
    ),
  ])
  func messageOfAnOverride(override: String, message: String) throws {
    #expect(try failure(base, overrides: [override]).description == message)
  }

  @Test func overrideThatIsNoYAMLOrASection() throws {
    let syntax = try failure(base, overrides: ["model.layers=[1"])
    #expect(syntax.reason == .syntax && syntax.override == "model.layers=[1" && syntax.line == nil)
    let section = try failure(base, overrides: ["model={layers: 3}"])
    #expect(section.reason == .wrongType && section.found == "found a section")
    #expect(section.allowed?.contains("model.layers") == true)
  }

  @Test func partOfARecordThatIsNotThere() throws {
    let error = try failure(base, overrides: ["optimizer.decay=null", "optimizer.decay.factor=3"])
    #expect(error.reason == .missingKey && error.key == "optimizer.decay.after")
    #expect(error.override == "optimizer.decay.factor=3")
  }
}
