/// What a path of `data` leads to.
enum SourceForm: Sendable {
  /// A text.
  case text
  /// Kaldi archives of features and labels.
  case archives

  /// How a configuration names such data.
  var allowed: String {
    switch self {
    case .text: "a path"
    case .archives: "{features: PATH, labels: PATH}"
    }
  }
}

extension TrainingConfiguration.Source {
  var form: SourceForm {
    switch self {
    case .text: .text
    case .frames: .archives
    }
  }
}

/// The files of one part of the data.
struct DataFiles: Equatable, Sendable {
  /// A text, or features.
  var path: String
  /// The labels of features; nil without any, and for a text.
  var labels: String?

  init(path: String, labels: String?) {
    self.path = path
    self.labels = labels
  }

  /// The files that a configuration names.
  init(_ source: TrainingConfiguration.Source) {
    switch source {
    case .text(let path): self.init(path: path, labels: nil)
    case .frames(let features, let labels): self.init(path: features, labels: labels)
    }
  }
}
