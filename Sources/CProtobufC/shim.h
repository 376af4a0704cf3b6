// protobuf-c, for Swift: the runtime under the generated ONNX messages in formats/COnnxProto.
#include <protobuf-c/protobuf-c.h>
