import COpenBLAS

extension MatrixView where Element == Double {
  /// Replaces the matrix by the orthonormal factor of its QR factorisation, with the signs that make it uniformly distributed for a
  /// matrix of independent normal values (Mezzadri 2007). Rows are orthonormal if there are at most as many rows as columns, else columns.
  public func orthonormalize() {
    precondition(isContiguous && rows > 0 && columns > 0, "a matrix with gaps or without elements")
    // LAPACK is column-major, so a row-major matrix with at most as many rows as columns is a tall one there.
    if rows > columns {
      let turned = MatrixView(zeros: columns, rows)
      for r in 0..<rows { for c in 0..<columns { turned[c, r] = self[r, c] } }
      turned.orthonormalize()
      for r in 0..<rows { for c in 0..<columns { self[r, c] = turned[c, r] } }
      return
    }
    var (m, n, info) = (Int32(columns), Int32(rows), Int32(0))
    var workCount = Int32(64) * max(m, n)
    let tau = VectorView<Double>(zeros: rows), work = VectorView<Double>(zeros: Int(workCount))
    unsafe dgeqrf_(&m, &n, pointer, &m, tau.pointer, work.pointer, &workCount, &info)
    precondition(info == 0, "the QR factorisation got a bad argument")
    let signs = (0..<rows).map { self[$0, $0] < 0 ? -1.0 : 1.0 }
    unsafe dorgqr_(&m, &n, &n, pointer, &m, tau.pointer, work.pointer, &workCount, &info)
    precondition(info == 0, "the QR factorisation got a bad argument")
    for r in 0..<rows { self[r].scale(by: signs[r]) }
  }
}
