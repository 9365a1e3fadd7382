/// What a message costs: `latency + bytes · secondsPerByte`.
package struct LinearCost: Equatable, Sendable {
  /// Seconds of a message without content, not negative.
  package let latency: Double
  /// Seconds a byte, not negative.
  package let secondsPerByte: Double

  package init(latency: Double, secondsPerByte: Double) {
    self.latency = latency
    self.secondsPerByte = secondsPerByte
  }

  /// The line through measurements with the least sum of squared *relative* errors, `Σ ((a + b xᵢ) / tᵢ − 1)²`, among those with a, b ≥ 0:
  /// short messages count as much as long ones.
  /// - samples: bytes and seconds, all seconds above 0; at least one.
  package init(fitting samples: [(bytes: Double, seconds: Double)]) {
    precondition(!samples.isEmpty && samples.allSatisfy { $0.seconds > 0 && $0.bytes >= 0 }, "nothing to fit a line to")
    // With u = 1/t and v = x/t: the normal equations of a u + b v = 1.
    var (uu, uv, vv, u1, v1) = (0.0, 0.0, 0.0, 0.0, 0.0)
    for sample in samples {
      let u = 1 / sample.seconds, v = sample.bytes / sample.seconds
      (uu, uv, vv, u1, v1) = (uu + u * u, uv + u * v, vv + v * v, u1 + u, v1 + v)
    }
    let determinant = uu * vv - uv * uv
    let a = (u1 * vv - v1 * uv) / determinant, b = (uu * v1 - uv * u1) / determinant
    if determinant > 1e-12 * uu * vv && a >= 0 && b >= 0 {
      self.init(latency: a, secondsPerByte: b)
    } else {
      // The best lies on an edge, where one of the two is 0.
      let flat = LinearCost(latency: u1 / uu, secondsPerByte: 0)
      let steep = LinearCost(latency: 0, secondsPerByte: vv > 0 ? v1 / vv : .infinity)
      self = vv > 0 && steep.squaredErrors(samples) < flat.squaredErrors(samples) ? steep : flat
    }
  }

  /// Seconds of a message of `bytes`.
  package func seconds(_ bytes: Double) -> Double { latency + bytes * secondsPerByte }

  private func squaredErrors(_ samples: [(bytes: Double, seconds: Double)]) -> Double {
    samples.reduce(0) { sum, sample in
      let error = seconds(sample.bytes) / sample.seconds - 1
      return sum + error * error
    }
  }
}
