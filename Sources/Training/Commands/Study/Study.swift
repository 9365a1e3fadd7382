import Glibc

/// A study: a configuration, the values that are tried in it, and the seeds with which every combination of them is trained.
struct Study: Sendable {
  /// A key with its value, as `--set` takes it.
  struct Setting: Equatable, Sendable {
    var key: String
    /// `KEY=VALUE`.
    var text: String
    /// Where it stands in the study file.
    var line: Int?
  }

  /// One of the values of an axis: a name for what it sets.
  struct Entry: Sendable {
    var name: String
    var settings: [Setting]
  }

  struct Axis: Sendable {
    var name: String
    var entries: [Entry]
  }

  /// One entry of every axis.
  struct Point: Sendable {
    /// The entries' names, with commas.
    var name: String
    /// What is set for all points, then what the entries set.
    var settings: [Setting]
  }

  /// A point with a seed.
  struct Run: Sendable {
    /// From 1, as `--index` counts.
    var index: Int
    var point: Point
    var seed: UInt64
    var directory: String
    /// As messages and `--only` name it.
    var name: String { "\(point.name)/seed-\(seed)" }
    /// Arguments of `--set`.
    var overrides: [String] { point.settings.map(\.text) + ["training.seed=\(seed)"] }
  }

  /// A value of a measure that is waited for.
  struct Target: Sendable {
    var measure: String
    var value: Double
  }

  /// The names of measures that a target may have.
  static let measures = ["training_loss", "validation_loss"]

  var file: String
  /// What stands in it.
  var text: String
  var name: String
  /// Path of the configuration.
  var base: String
  var set: [Setting] = []
  var axes: [Axis] = []
  /// Globs of points.
  var leftOut: [String] = []
  var seeds: [UInt64] = [1]
  /// Name of a point.
  var baseline: String?
  var targets: [Target] = []

  /// Where its runs lie.
  var directory: String { "Runs/\(name)" }

  /// Every combination of one entry an axis but those that are left out, the last axis fastest. Without axes there is one point, `base`.
  var points: [Point] {
    var points = [Point(name: "", settings: set)]
    for axis in axes {
      points = points.flatMap { point in
        axis.entries.map { Point(name: point.name + (point.name.isEmpty ? "" : ",") + $0.name, settings: point.settings + $0.settings) }
      }
    }
    if axes.isEmpty { points[0].name = "base" }
    return points.filter { point in !leftOut.contains { glob($0, matches: point.name) } }
  }

  /// Every point with every seed: all points with the first seed come first, so that a study which is stopped has seen every point.
  var runs: [Run] {
    let points = points
    return seeds.flatMap { seed in points.map { ($0, seed) } }.enumerated().map { index, run in
      Run(index: index + 1, point: run.0, seed: run.1, directory: "\(directory)/\(run.0.name)/seed-\(run.1)")
    }
  }

  /// The arguments of `lockstep train` for a run, but for `--resume`.
  /// - directory: where it lies; nil for its place in the study.
  func arguments(_ run: Run, threads: Int, directory: String? = nil) -> [String] {
    [base, "--run-directory", directory ?? run.directory] + (threads > 1 ? ["--threads", "\(threads)"] : [])
      + run.overrides.flatMap { ["--set", $0] }
  }

  /// The configuration of a point with a seed.
  /// - Throws: with the place in the study file where a setting of it is at fault.
  func configuration(_ run: Run) throws(ConfigurationError) -> TrainingConfiguration {
    do {
      return try TrainingConfiguration.load(path: base, overrides: run.overrides)
    } catch {
      var error = error
      if let override = error.override, let setting = run.point.settings.last(where: { $0.text == override }) {
        error.override = nil
        (error.file, error.line) = (file, setting.line)
      }
      throw error
    }
  }
}

/// Whether a text is of the form that a shell's pattern gives: `*` stands for any characters, `?` for one, `[a-c]` for one of some.
func glob(_ pattern: String, matches text: String) -> Bool { unsafe fnmatch(pattern, text, 0) == 0 }
