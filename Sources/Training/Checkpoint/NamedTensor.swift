import Tensors

/// A tensor of a model or an optimizer with its name in files: float32, row-major.
///
/// It refers to the memory that it names, so writing it needs no copy and reading fills the model itself.
public struct NamedTensor {
  /// Name, unique in a file.
  public let name: String
  /// Lengths of the dimensions; empty for a single number.
  public let shape: [Int]
  /// The elements, as many as the shape says.
  public let values: VectorView<Float>

  /// Names `values`, whose count must be the product of `shape`.
  public init(name: String, shape: [Int], values: VectorView<Float>) {
    precondition(shape.allSatisfy { $0 >= 0 }, "a tensor with a negative dimension")
    precondition(shape.reduce(1, *) == values.count, "tensor \(name): \(values.count) elements for the shape \(shape)")
    self.name = name
    self.shape = shape
    self.values = values
  }
}
