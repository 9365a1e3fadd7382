import Glibc
import MPI
import Tensors

extension KernelSetError: ExitCodeError {
  public var exitCode: Int32 { ExitCode.usage.rawValue }
}

/// Makes ready what computes: one thread for BLAS, and the set of kernels that the environment names.
/// - Throws: `KernelSetError` for a set that this processor cannot run.
func startKernels() throws(KernelSetError) {
  BLAS.useOneThread()
  // Before any thread starts. Saturated gates and memories of rare words would fill with them.
  Subnormals.flush(true)
  if let name = unsafe getenv("LOCKSTEP_KERNELS") { _ = try KernelSet.named(unsafe String(cString: name)) }
}

/// The same on all ranks, with the threads of each. All ranks call it together.
/// - Throws: the same error on every rank where one cannot start.
func startComputing(threads: Int, world: Communicator, console: Console) throws {
  try world.agree {
    do throws(KernelSetError) { try startKernels() } catch {
      throw UsageError(description: "LOCKSTEP_KERNELS on \(world.hostName), rank \(world.rank): \(error)")
    }
  }
  try startThreads(threads, world: world, console: console)
  try warnOfSharedCores(world: world, console: console)
}

/// Who multiplies large matrices under `compute.products: automatic`: what is faster on the ranks' processors if they agree, else the
/// program's own kernels, whose bits are those of every processor. All ranks call it together.
func fastestProducts(_ world: Communicator) throws -> ProductLibrary {
  let wishes = try world.allGather(bytes: Array(ProductLibrary.fastest.rawValue.utf8)).map { String(decoding: $0, as: UTF8.self) }
  return Set(wishes).count == 1 ? .fastest : .own
}

/// What a user should know of the processor and the BLAS library that compute a run.
/// - library: who multiplies large matrices.
func warnOfSlowKernels(_ library: ProductLibrary, _ console: Console) {
  if !KernelSet.inUse.isTuned {
    console.warn("the kernels '\(KernelSet.inUse.name)' use no fused multiply-add of this processor: training is many times slower with them")
  }
  if library == .blas && BLAS.isBelowProcessor { console.warn(belowProcessorWarning) }
}

var belowProcessorWarning: String {
  "BLAS runs its kernels for \(BLAS.coreType), which lack the vector instructions of this processor: a newer OpenBLAS knows it, or set "
    + "OPENBLAS_CORETYPE=\(KernelSet.available[0].name == "x86-64-v4" ? "SkylakeX" : "Haswell") for all ranks"
}
