import Tensors

/// What a case found and did not expect.
struct Unexpected: Error, CustomStringConvertible {
  let description: String
}

/// Throws unless `condition` holds.
func expect(_ condition: Bool, _ what: @autoclosure () -> String, line: Int = #line) throws {
  if !condition { throw Unexpected(description: "line \(line): \(what())") }
}

/// Throws unless both have the same elements.
func expect<T: Equatable>(_ found: [T], equals expected: [T], _ what: @autoclosure () -> String, line: Int = #line) throws {
  if found == expected { return }
  let place = zip(found, expected).enumerated().first { $1.0 != $1.1 }
  let detail = place.map { "at \($0.offset) \($0.element.0) instead of \($0.element.1)" } ?? "\(found.count) elements instead of \(expected.count)"
  throw Unexpected(description: "line \(line): \(what()): \(detail)")
}

/// The error that `body` throws.
func error<E: Error>(_ type: E.Type, line: Int = #line, _ body: () throws -> Void) throws -> E {
  do { try body() } catch {
    guard let expected = error as? E else { throw Unexpected(description: "line \(line): another error: \(error)") }
    return expected
  }
  throw Unexpected(description: "line \(line): no error")
}

/// Reproducible numbers of many magnitudes, so that every order of addition gives other bits (splitmix64).
func noise(_ a: Int, _ b: Int) -> Double {
  var z = UInt64(truncatingIfNeeded: a) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(truncatingIfNeeded: b) &* 0xD1B5_4A32_D192_ED03
  z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
  z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
  z ^= z >> 31
  let magnitude = Double(1 << (z & 15)) / 256
  return (Double(z >> 11) / Double(1 << 52) - 1) * magnitude
}

/// Shard `shard`'s vector of n elements.
func shardVector<S: Scalar>(_ shard: Int, _ n: Int, seed: Int = 0) -> VectorView<S> {
  VectorView((0..<n).map { S(noise(shard + 1000 * seed, $0)) })
}

/// The value of a node of the reduction tree, written out once more without the code under test.
func serialTree<T>(_ node: Range<Int>, leaf: (Int) -> T, merge: (T, T) -> T) -> T {
  if node.count == 1 { return leaf(node.lowerBound) }
  var power = 1
  while power * 2 < node.count { power *= 2 }
  let middle = node.lowerBound + power
  return merge(
    serialTree(node.lowerBound..<middle, leaf: leaf, merge: merge), serialTree(middle..<node.upperBound, leaf: leaf, merge: merge))
}
