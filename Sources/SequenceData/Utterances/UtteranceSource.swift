/// What has a label.
public enum Labelled: Equatable, Sendable {
  /// Every frame.
  case frames
  /// Every utterance, as a whole.
  case utterances

  /// Labels of an utterance of so many frames.
  public func count(frames: Int) -> Int { self == .frames ? frames : 1 }
}

/// Utterances whose values are read when they are needed.
public protocol UtteranceSource: Sendable {
  /// Length of each utterance.
  var frames: [Int] { get }
  /// Features of a frame, as they are stored.
  var dimension: Int { get }
  /// What has a label.
  var labelled: Labelled { get }
  /// The file that holds the features, for error messages.
  var featureFile: String { get }
  /// The file that holds the labels, for error messages.
  var labelFile: String { get }
  /// The key of an utterance, for error messages.
  func key(_ utterance: Int) -> String
  /// A reader, one for each thread.
  func makeReader() -> any UtteranceReading
}

/// Reads utterances of a source, in any order.
public protocol UtteranceReading {
  /// - features: frames × dimension values, row by row. labels: one a frame, or one.
  /// - Throws: what is wrong with the files.
  func read(_ utterance: Int, features: inout MutableSpan<Float>, labels: inout MutableSpan<Int32>) throws
}

/// What can be wrong with utterances beside the archives that hold them. One line.
public enum UtteranceError: Error, Equatable, Sendable, CustomStringConvertible {
  /// A label that is no class; frames count from 0, and nil is the whole utterance.
  case labelOutOfRange(file: String, key: String, frame: Int?, label: Int, classes: Int)
  /// No utterance is short enough.
  case nothingLeft(file: String, shortest: Int, maximum: Int)
  /// Features too large to be averaged, or of which too little is different to be scaled.
  case notFinite(file: String, key: String, feature: Int)

  public var description: String {
    switch self {
    case .labelOutOfRange(let file, let key, let frame, let label, let classes):
      "\(file): \(key.debugDescription): the label\(frame.map { " of frame \($0) (from 0)" } ?? "") is \(label), expected 0 to \(classes - 1) "
        + "(data.classes is \(classes))"
    case .nothingLeft(let file, let shortest, let maximum):
      "\(file): the shortest utterance has \(shortest) frames, expected some of at most \(maximum) (data.maximum_frames)"
    case .notFinite(let file, let key, let feature):
      "\(file): \(key.debugDescription): feature \(feature) (from 0, with deltas) is too large to be normalised"
    }
  }
}
