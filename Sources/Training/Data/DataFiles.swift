import SequenceData

/// What a path of `data` leads to.
enum SourceForm: Sendable {
  /// A text.
  case text
  /// Kaldi archives of features and labels.
  case archives

  /// How a configuration names such data.
  var allowed: String {
    switch self {
    case .text: "a path, or a list of paths"
    case .archives: "{features: PATH, labels: PATH}, or with lists of paths"
    }
  }
}

extension TrainingConfiguration.Source {
  var form: SourceForm {
    switch self {
    case .texts: .text
    case .archives: .archives
    }
  }
}

/// The files of one part of the data.
struct DataFiles: Equatable, Sendable {
  /// Texts, or features.
  var paths: [String]
  /// The labels of features; nil without any, and for texts.
  var labels: [String]?
  /// The texts or features in words, for messages.
  var path: String { names(of: paths) }

  init(paths: [String], labels: [String]?) {
    self.paths = paths
    self.labels = labels
  }

  /// The files that a configuration names.
  init(_ source: TrainingConfiguration.Source) {
    switch source {
    case .texts(let paths): self.init(paths: paths, labels: nil)
    case .archives(let features, let labels): self.init(paths: features, labels: labels)
    }
  }
}
