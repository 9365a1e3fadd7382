/// The arguments of `lockstep study`.
public struct StudyRequest: Sendable {
  /// What is to be done with the runs.
  public enum Action: Sendable {
    case train
    /// Say which runs there are and how long they take.
    case rehearse
    /// Say how far they are.
    case show
  }

  /// The study file.
  public var file: String
  /// What is done.
  public var action = Action.train
  /// Ranks of a run.
  public var ranks = 1
  /// Threads of a rank.
  public var threads = 1
  /// Runs at a time.
  public var jobs = 1
  /// A pattern of points, or of points with seeds; nil: all.
  public var only: String?
  /// One run, from 1; nil: all.
  public var index: Int?
  /// How often a run is started again that was killed.
  public var restarts = 10
  /// Further options of mpirun.
  public var mpirunOptions = ""
  /// This program.
  public var program: String

  /// All runs of a study file, one rank a run and one run at a time.
  /// - program: the path of this program, which is started for each run.
  public init(file: String, program: String) {
    self.file = file
    self.program = program
  }

  /// The command that trains what `arguments` say under mpirun.
  func launch(restarts: Int, _ arguments: [String]) -> [String] {
    [program, "launch", "-n", "\(ranks)", "--restarts", "\(restarts)"]
      + (mpirunOptions.isEmpty ? [] : ["--mpirun-options=\(mpirunOptions)"]) + ["--", "train"] + arguments
  }
}

/// `lockstep study`: trains every run of a study that is not done, or says what is there.
public func study(_ request: StudyRequest) -> Int32 {
  let console = Console(isSilent: false)
  var code: Int32 = 0
  let failure = runAlone("study") {
    let study = try Study.load(path: request.file)
    let runs = try select(study, request)
    let board = StudyBoard(study)
    switch request.action {
    case .train: code = try StudyRunner(board, runs, request, console: console).run()
    case .rehearse: code = try StudyRehearsal(board: board, runs: runs, request: request, console: console).run()
    case .show: try board.show(runs, console: console)
    }
  }
  return failure == 0 ? code : failure
}

/// The runs that are asked for. A mistake in what every run has is an error of the study; one of a point is that point's.
private func select(_ study: Study, _ request: StudyRequest) throws -> [Study.Run] {
  var failures: [ConfigurationError] = []
  let runs = study.runs
  for run in runs.prefix(study.points.count) {
    do { _ = try study.configuration(run) } catch {
      if error.reason == .unknownKey || error.file == study.base && error.reason == .unreadable { throw error }
      failures.append(error)
    }
  }
  if let error = failures.first, failures.count == study.points.count { throw error }
  if let index = request.index {
    guard (1...runs.count).contains(index) else {
      throw UsageError(description: "--index is \(index); the study \(study.name) has the runs 1 to \(runs.count)")
    }
    return [runs[index - 1]]
  }
  guard let only = request.only else { return runs }
  let selected = runs.filter { glob(only, matches: $0.point.name) || glob(only, matches: $0.name) }
  if selected.isEmpty {
    let names = study.points.map(\.name)
    throw UsageError(
      description: "--only '\(abbreviated(only))': no point of the study \(study.name) is of that form; there are "
        + names.prefix(10).joined(separator: "; ") + (names.count > 10 ? " and \(names.count - 10) more" : ""))
  }
  return selected
}
