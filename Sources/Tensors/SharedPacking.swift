/// Those that keep one packed copy of a matrix in memory that all of them see: each has the same matrix, packs a part of it, and reads the
/// whole. All pack equally often, in the same order.
public protocol SharedPacking: AnyObject {
  /// Number of this member, from 0.
  var place: Int { get }
  /// Number of members.
  var size: Int { get }
  /// Says that this member reads the present copy no more, and waits until all have said so.
  func beginPacking()
  /// Says that this member's part of the next copy is there.
  func endPacking()
  /// Waits until all parts of the present copy are there.
  func awaitParts()
  /// Says early that this member reads the present copy no more, so that nobody has to wait for it.
  func endReading()
}
