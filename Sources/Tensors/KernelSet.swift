import CKernels

/// The vector kernels for one instruction set. All sets give the same bits.
@safe
public struct KernelSet: Equatable, Sendable {
  // SAFETY: sets are constants of the program.
  nonisolated(unsafe) let set: UnsafePointer<lockstep_kernel_set>

  /// "x86-64-v4" (AVX-512), "x86-64-v3" (AVX2), "aarch64" (NEON), or "portable", which every x86-64 can run.
  public var name: String { unsafe String(cString: set.pointee.name) }

  /// Whether products use the processor's vectors and fused multiply-add.
  public var isTuned: Bool { unsafe set.pointee.f32.pointee.is_tuned != 0 }

  /// The sets that this processor can run, from the fastest.
  public static var available: [KernelSet] {
    var sets: [KernelSet] = []
    while let set = unsafe lockstep_kernel_set_at(sets.count) { sets.append(unsafe KernelSet(set: set)) }
    return sets
  }

  /// The set that all kernels run with: the fastest, unless the environment variable `LOCKSTEP_KERNELS` names another.
  public static var inUse: KernelSet { unsafe KernelSet(set: lockstep_kernel_set_in_use()) }

  /// Whether both are the same set.
  public static func == (a: KernelSet, b: KernelSet) -> Bool { unsafe a.set == b.set }

  /// Makes all kernels run with this set, while none runs.
  package func use() { unsafe lockstep_use_kernel_set(set) }

  /// The names of all sets.
  public static let names = ["x86-64-v4", "x86-64-v3", "aarch64", "portable"]

  /// The set named `name`. "portable" is the last of `available`, whatever its name.
  /// - Throws: `KernelSetError` for a name that there is not, or one that this processor cannot run.
  public static func named(_ name: String) throws(KernelSetError) -> KernelSet {
    if let set = unsafe lockstep_kernel_set_named(name) { return unsafe KernelSet(set: set) }
    throw names.contains(name) ? .lacking(name, available.map(\.name)) : .unknown(name, available.map(\.name))
  }
}

/// A set of kernels that there is not.
public enum KernelSetError: Error, Equatable, CustomStringConvertible {
  /// This processor lacks the instruction set; the names of those that it has.
  case lacking(String, [String])
  /// No set has this name; the names of those that this processor can run.
  case unknown(String, [String])

  public var description: String {
    switch self {
    case .lacking(let name, let available): "this processor lacks '\(name)'; it can run \(available.joined(separator: ", "))"
    case .unknown(let name, let available): "unknown instruction set '\(name)'; this processor can run \(available.joined(separator: ", "))"
    }
  }
}
