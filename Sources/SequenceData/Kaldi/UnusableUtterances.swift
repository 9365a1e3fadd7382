/// What is done about utterances that cannot be used.
public enum UnusablePolicy: String, CaseIterable, Sendable {
  /// They are an error.
  case stop
  /// They are left out.
  case skip
}

/// The utterances of an archive, and of its labels, that cannot be used. The description is one line.
public struct UnusableUtterances: Equatable, Sendable {
  /// What is wrong with one of them.
  public enum Problem: Equatable, Sendable {
    case noLabels
    case noFeatures
    /// A matrix without rows.
    case noFrames
    /// Another number of labels than of frames.
    case lengths(frames: Int, labels: Int)
    /// Another number of labels than one for the whole utterance.
    case notOneLabel(labels: Int)
  }

  /// Keys with what is wrong, in the order of the features, and then labels without features.
  public internal(set) var list: [(key: String, problem: Problem)] = []
  /// Of the features and the labels, as the user gave them.
  public let features: String
  public let labels: String?
  /// How many keys a description names at most.
  static let named = 20

  init(features: String, labels: String?) {
    self.features = features
    self.labels = labels
  }

  public var count: Int { list.count }

  /// Whether both list the same utterances.
  public static func == (left: Self, right: Self) -> Bool {
    left.features == right.features && left.labels == right.labels && left.list.elementsEqual(right.list, by: ==)
  }
}

extension UnusableUtterances: CustomStringConvertible {
  /// `f.scp: 3 utterances cannot be used: 2 without labels in l.ark ("a", "b"); 1 without frames ("c")`.
  public var description: String {
    var left = Self.named
    func group(_ what: String, _ detail: (Problem) -> String?) -> String? {
      let members = list.compactMap { key, problem in detail(problem).map { key.debugDescription + $0 } }
      if members.isEmpty { return nil }
      let named = members.prefix(left), more = members.count - named.count
      left -= named.count
      if named.isEmpty { return "\(members.count) \(what)" }
      return "\(members.count) \(what) (\(named.joined(separator: ", "))\(more == 0 ? "" : ", and \(more) more"))"
    }
    let labels = labels ?? ""
    let groups = [
      group("without labels in \(labels)") { $0 == .noLabels ? "" : nil },
      group("without frames") { $0 == .noFrames ? "" : nil },
      group("of other lengths than their labels in \(labels)") {
        if case .lengths(let frames, let labels) = $0 { ": \(frames) frames, \(labels) labels" } else { nil }
      },
      group("with another number of labels in \(labels) than one for the whole utterance") {
        if case .notOneLabel(let labels) = $0 { ": \(labels)" } else { nil }
      },
      group("in \(labels) without features") { $0 == .noFeatures ? "" : nil },
    ]
    return "\(features): \(count) utterance\(count == 1 ? "" : "s") cannot be used: \(groups.compactMap { $0 }.joined(separator: "; "))"
  }
}
