// swift-tools-version: 6.2
import PackageDescription

let strict: [SwiftSetting] = [.strictMemorySafety()]

// The BLAS library: its name for pkg-config, or -l and its name where it has no file for pkg-config, as Debian's BLIS: -lblis.
let blas = Context.environment["LOCKSTEP_BLAS"] ?? "openblas"
let blasLibrary = blas.hasPrefix("-l") ? String(blas.dropFirst(2)) : nil

// The MPI library, by its name for pkg-config: that of Open MPI, or mpich for MPICH and libraries with its interface.
let mpi = Context.environment["LOCKSTEP_MPI"] ?? "ompi-c"

let package = Package(
  name: "Lockstep",
  products: [
    .executable(name: "lockstep", targets: ["lockstep"]),
    // To be loaded before the program, which then reports what a step allocates.
    .library(name: "AllocationCounter", type: .dynamic, targets: ["AllocationCounter"]),
    // The same, to which a file server falls silent.
    .library(name: "SilentServer", type: .dynamic, targets: ["SilentServer"]),
    // The same, for which no file system has symbolic links.
    .library(name: "WithoutLinks", type: .dynamic, targets: ["WithoutLinks"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", exact: "1.16.2"),
    .package(url: "https://github.com/jpsim/Yams", exact: "6.2.2"),
  ],
  targets: [
    // System libraries (Debian: libopenblas-dev, or the BLAS that LOCKSTEP_BLAS names, libopenmpi-dev or the MPI that
    // LOCKSTEP_MPI names, libxxhash-dev, zlib1g-dev).
    .systemLibrary(name: "CBLAS", pkgConfig: blasLibrary == nil ? blas : nil),
    .systemLibrary(name: "CMPI", pkgConfig: mpi),
    .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash"),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib"),
    // Vector kernels in C, compiled for several instruction sets (Debian: librandom123-dev).
    .target(name: "CKernels"),

    .target(
      name: "Tensors", dependencies: ["CKernels", "CBLAS"], swiftSettings: strict,
      linkerSettings: blasLibrary.map { [.linkedLibrary($0)] } ?? []),
    .target(name: "MPI", dependencies: ["CMPI", "Tensors"], swiftSettings: strict),
    .target(name: "NeuralNetwork", dependencies: ["Tensors"], swiftSettings: strict),
    .target(name: "SequenceData", dependencies: ["Tensors", "CKernels", "CZlib"], swiftSettings: strict),
    .target(name: "DataParallel", dependencies: ["MPI", "Tensors"], swiftSettings: strict),
    .target(
      name: "Training",
      dependencies: [
        "NeuralNetwork", "SequenceData", "DataParallel", "MPI", "Tensors", "CKernels", "CXXHash",
        .product(name: "Yams", package: "Yams"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: strict),
    .executableTarget(
      name: "lockstep",
      dependencies: ["Training", .product(name: "ArgumentParser", package: "swift-argument-parser")],
      swiftSettings: strict),

    .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
    .target(name: "SilentServer", path: "Tests/SilentServer"),
    .target(name: "WithoutLinks", path: "Tests/WithoutLinks"),
    .testTarget(name: "TensorsTests", dependencies: ["Tensors"], swiftSettings: strict),
    .testTarget(name: "NeuralNetworkTests", dependencies: ["NeuralNetwork"], swiftSettings: strict),
    // The tests read the fixtures where they are in the repository.
    .testTarget(name: "SequenceDataTests", dependencies: ["SequenceData"], exclude: ["Fixtures"], swiftSettings: strict),
    .testTarget(name: "TrainingTests", dependencies: ["Training", "NeuralNetwork"], swiftSettings: strict),
    // A process of several ranks is one mpirun of this helper, started by the tests of MPI and DataParallel.
    .executableTarget(
      name: "DistributedCases", dependencies: ["MPI", "DataParallel", "Tensors"],
      path: "Tests/DistributedCases", swiftSettings: strict),
    .testTarget(
      name: "DataParallelTests", dependencies: ["DataParallel", "MPI", "DistributedCases"], swiftSettings: strict),
    // Whole commands, as users start them: lockstep under mpirun.
    .testTarget(name: "CommandTests", dependencies: ["lockstep", "MPI"], swiftSettings: strict),
  ],
  swiftLanguageModes: [.v6]
)
