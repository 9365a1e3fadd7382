import Glibc

/// `lockstep study --dry-run`: the runs of a study, and how long they take on this machine.
struct StudyRehearsal {
  let board: StudyBoard
  let runs: [Study.Run]
  let request: StudyRequest
  let console: Console
  private var study: Study { board.study }

  /// - Returns: 0, or the code of the first point that cannot be trained.
  func run() throws -> Int32 {
    Signals.catchAll()
    var forecasts: [String: StepForecast] = [:], code: Int32 = 0, seconds = 0.0, unknown = 0, left = 0
    for run in runs {
      let isFirst = forecasts[run.point.name] == nil, state = board.state(run)
      if state == .done {
        console.print("\(run.index)  \(run.name): done")
        continue
      }
      if let obstacle = try board.obstacle(run) {
        console.print("\(run.index)  \(run.name): cannot go on: \(obstacle)")
        if code == 0 { code = ExitCode.usage.rawValue }
        unknown += 1
        continue
      }
      if isFirst {
        switch try forecast(run) {
        case .success(let forecast): forecasts[run.point.name] = forecast
        case .failure(let failure):
          if Signals.received { return ExitCode.stoppedBySignal.rawValue }
          console.print("\(run.index)  \(run.name): cannot be trained: \(failure.message)")
          if code == 0 { code = failure.code }
          unknown += 1
          continue
        }
      }
      guard let forecast = forecasts[run.point.name] else { continue }
      let rest = max(0, forecast.steps - board.readableRecord(run).lastStep)
      left += 1
      seconds += forecast.secondsPerStep * Double(rest)
      let settings = isFirst ? run.point.settings.map(\.text).joined(separator: " ") : ""
      console.print(
        "\(run.index)  \(run.name): \(rest) steps of \(fixed(1e3 * forecast.secondsPerStep, 1)) ms, \(duration(seconds: forecast.secondsPerStep * Double(rest)))"
          + (settings.isEmpty ? "" : "; \(settings)"))
    }
    let together = min(request.jobs, max(1, left))
    console.print(
      "\(runs.count) run\(runs.count == 1 ? "" : "s") of the study \(study.name), \(left) to be trained: about \(duration(seconds: seconds / Double(together))) without validation"
        + (request.jobs > 1 ? ", \(request.jobs) at a time (a step was timed alone)" : "") + (unknown > 0 ? "; \(unknown) cannot be trained" : "") + ". Nothing was written.")
    return code
  }

  /// Times some steps of a run.
  private func forecast(_ run: Study.Run) throws -> Result<StepForecast, StudyFailure> {
    do { _ = try study.configuration(run) } catch { return .failure(StudyFailure(error)) }
    let folder = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    var template = Array("\(folder)/lockstep-study-XXXXXX".utf8CString)
    let descriptor = unsafe mkstemp(&template)
    if descriptor < 0 { throw FileError(.create, folder, code: errno) }
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      close(descriptor)
      unsafe unlink(path)
    }
    // A directory where nothing is: what a run does from its beginning.
    let command = request.launch(
      restarts: 0, study.arguments(run, threads: request.threads, directory: "\(run.directory)/dry-run") + ["--dry-run"])
    let process = ChildProcess.spawn(command, output: descriptor, errors: descriptor)
    var code = ChildProcess.exitCode(process), isTold = false
    while code == nil {
      if Signals.received && !isTold {
        kill(process, SIGTERM)
        isTold = true
      }
      usleep(20_000)
      code = ChildProcess.exitCode(process)
    }
    let words = systemText(path) ?? ""
    if code == 0, let forecast = StepForecast(dryRun: words) { return .success(forecast) }
    return .failure(StudyFailure(code: code == 0 ? ExitCode.internalFault.rawValue : code!, message: lastError(in: words) ?? "ended with code \(code!)"))
  }
}

/// The last error that the program has printed.
func lastError(in words: String) -> String? {
  let prefix = "lockstep: error: "
  return words.split(separator: "\n").last { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
}
