/// The program's version.
public enum Version {
  /// Version in the form major.minor.patch.
  public static let current = "0.1.0"
}
