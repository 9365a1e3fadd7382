import Glibc

/// Standard output and error of the program. Rank 0 writes; a terminal gets a progress line that renews itself, anything else plain lines.
public final class Console {
  private let isTerminal: Bool
  private let isSilent: Bool
  private var openLine = false
  private var lastProgress: ContinuousClock.Instant?
  private let clock = ContinuousClock()

  /// - isSilent: whether nothing is written, on ranks after the first.
  public init(isSilent: Bool) {
    self.isSilent = isSilent
    isTerminal = isatty(STDOUT_FILENO) == 1 && !Self.launcherWritesToFile
  }

  /// Whether mpirun, which gives every rank a terminal of its own making, passes what the rank writes on to something that is none.
  private static var launcherWritesToFile: Bool {
    guard unsafe getenv("OMPI_COMM_WORLD_RANK") != nil else { return false }
    var target = [CChar](repeating: 0, count: 256)
    let count = unsafe readlink("/proc/\(getppid())/fd/1", &target, target.count)
    let path = String(decoding: target.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return !path.hasPrefix("/dev/pts/") && !path.hasPrefix("/dev/tty")
  }

  /// Writes a line to standard output.
  public func print(_ line: String) {
    if isSilent { return }
    endProgress()
    write(line + "\n", to: STDOUT_FILENO)
  }

  /// Writes text without a line's end to standard output, as it stands.
  public func printRaw(_ text: String) {
    if !isSilent { write(text, to: STDOUT_FILENO) }
  }

  /// Writes a warning to standard error, on one line whatever names are in it.
  public func warn(_ message: String) {
    if isSilent { return }
    endProgress()
    write("lockstep: warning: \(abbreviated(message, limit: .max))\n", to: STDERR_FILENO)
  }

  /// Writes a remark to standard error, where standard output is the result.
  public func note(_ message: String) {
    if !isSilent { write("lockstep: \(message)\n", to: STDERR_FILENO) }
  }

  /// Shows how far the run is: ten times a second on a terminal, elsewhere a line every 30 seconds. `line` is made only when it is shown.
  public func progress(_ line: () -> String) {
    if isSilent { return }
    let now = clock.now
    let pause: Duration = isTerminal ? .milliseconds(100) : .seconds(30)
    guard let last = lastProgress else {
      lastProgress = now
      return
    }
    if now - last < pause { return }
    lastProgress = now
    if isTerminal {
      write("\r\u{1B}[K" + line(), to: STDOUT_FILENO)
      openLine = true
    } else {
      write(line() + "\n", to: STDOUT_FILENO)
    }
  }

  private func endProgress() {
    if openLine { write("\r\u{1B}[K", to: STDOUT_FILENO) }
    openLine = false
  }

  fileprivate func write(_ text: String, to descriptor: Int32) {
    var text = text
    text.withUTF8 { unsafe write($0, to: descriptor) }
  }

  private func write(_ bytes: ArraySlice<UInt8>, to descriptor: Int32) {
    unsafe bytes.withUnsafeBufferPointer { unsafe write($0, to: descriptor) }
  }

  private func write(_ bytes: UnsafeBufferPointer<UInt8>, to descriptor: Int32) {
    var done = 0
    while done < bytes.count {
      let count = unsafe Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
      if count < 0 && errno == EINTR { continue }
      // Nobody reads any more: the run goes on, its files hold everything.
      if count <= 0 { return }
      done += count
    }
  }
}

/// Seconds in words: `43 s`, `12 min`, `3 h 20 min`.
func duration(seconds: Double) -> String {
  // Damaged metrics may say anything.
  if !seconds.isFinite || abs(seconds) > 1e12 { return "?" }
  let whole = Int(seconds.rounded())
  if whole < 90 { return "\(whole) s" }
  if whole < 5400 { return "\((whole + 30) / 60) min" }
  return "\(whole / 3600) h \(whole % 3600 / 60) min"
}

/// A number with `digits` digits after the point.
func fixed(_ value: Double, _ digits: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  var factor = 1.0
  for _ in 0..<digits { factor *= 10 }
  let scaled = (abs(value) * factor).rounded()
  let whole = (scaled / factor).rounded(.down), rest = Int(scaled - whole * factor)
  let sign = value < 0 && scaled > 0 ? "-" : ""
  if digits == 0 { return sign + String(Int(whole)) }
  let text = String(rest)
  return sign + "\(Int(whole))." + String(repeating: "0", count: max(0, digits - text.count)) + text
}

/// Writes the error that ends the program to standard error.
public func printError(_ message: String) {
  Console(isSilent: false).writeError("lockstep: error: \(message)\n")
}

extension Console {
  /// Writes what another program has said to standard error.
  func writeErrors(_ bytes: ArraySlice<UInt8>) { write(bytes, to: STDERR_FILENO) }

  fileprivate func writeError(_ text: String) { write(text, to: STDERR_FILENO) }

  /// Writes a line to standard error, whatever this console is.
  func writeLine(_ line: String) { write(line + "\n", to: STDERR_FILENO) }
}
