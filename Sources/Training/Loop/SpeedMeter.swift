/// Frames a second over the last steps.
struct SpeedMeter {
  private var frames = 0.0
  private var seconds = 0.0
  private var steps = 0.0

  /// Frames a second; steps count less the longer ago they are.
  var framesPerSecond: Double { seconds > 0 ? frames / seconds : 0 }
  /// Seconds that a step takes.
  var secondsPerStep: Double { steps > 0 ? seconds / steps : .infinity }

  mutating func add(frames newFrames: Int, seconds newSeconds: Double) {
    steps = 0.98 * steps + 1
    frames = 0.98 * frames + Double(newFrames)
    seconds = 0.98 * seconds + newSeconds
  }
}
