import CMPI

/// An element type that MPI can carry and add.
public protocol MPIDatatype: BitwiseCopyable {
  /// MPI's handle of the type.
  @unsafe static var datatype: MPI_Datatype { get }
}

extension Float: MPIDatatype {
  @unsafe public static var datatype: MPI_Datatype { unsafe lockstep_mpi_float() }
}
extension Double: MPIDatatype {
  @unsafe public static var datatype: MPI_Datatype { unsafe lockstep_mpi_double() }
}
extension Int32: MPIDatatype {
  @unsafe public static var datatype: MPI_Datatype { unsafe lockstep_mpi_int32() }
}
extension Int64: MPIDatatype {
  @unsafe public static var datatype: MPI_Datatype { unsafe lockstep_mpi_int64() }
}
extension UInt64: MPIDatatype {
  @unsafe public static var datatype: MPI_Datatype { unsafe lockstep_mpi_uint64() }
}
extension UInt8: MPIDatatype {
  @unsafe public static var datatype: MPI_Datatype { unsafe lockstep_mpi_uint8() }
}
extension UInt16: MPIDatatype {
  @unsafe public static var datatype: MPI_Datatype { unsafe lockstep_mpi_uint16() }
}

/// How an all-reduce combines elements.
public enum ReductionOperation: Sendable {
  case sum, maximum

  @unsafe var operation: MPI_Op {
    switch self {
    case .sum: unsafe lockstep_mpi_sum()
    case .maximum: unsafe lockstep_mpi_max()
    }
  }
}
