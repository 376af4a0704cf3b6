// Types of the rooms below that this room's own interface takes and gives, by name: who imports Dino alone can say them all.

public import DinoImaging
public import DinoModels
public import DinoRuntime
public import DinoTensor

// MARK: Numbers

/// Numbers of one type and shape; `Tensor([Float], shape:)` makes one, `floats()` reads it.
public typealias Tensor = DinoTensor.Tensor
public typealias Shape = DinoTensor.Shape
/// Type of a tensor's elements.
public typealias DType = DinoTensor.DType

// MARK: Pictures

/// A picture in memory.
public typealias Image = DinoImaging.Image
/// Order of a camera's channels.
public typealias PixelLayout = DinoImaging.PixelLayout
/// How large a picture file may be, and whether its EXIF orientation is followed.
public typealias DecodeOptions = DinoImaging.DecodeOptions

// MARK: Models

/// The arithmetic of a run.
public typealias Precision = DinoRuntime.Precision
/// How a photograph becomes the network's input.
public typealias Preprocessing = DinoModels.Preprocessing
/// Sizes and kinds of a vision transformer's layers.
public typealias ViTConfig = DinoModels.ViTConfig
/// Where a written file is from.
public typealias Provenance = DinoModels.Provenance
/// What of a file is quantized, and how.
public typealias QuantizationRecord = DinoModels.QuantizationRecord
