// See onnx_checker.h. No exception leaves this file.

#define ONNX_NAMESPACE onnx
#define ONNX_ML 1
#include "onnx_checker.h"
#include <cstdio>
#include <exception>
#include <string>

#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Weverything"
#include <onnx/checker.h>
#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>
#pragma clang diagnostic pop

static std::string complaint(const uint8_t *bytes, size_t count) {
  try {
    onnx::ModelProto model;
    if (!model.ParseFromArray(bytes, static_cast<int>(count))) return "protobuf cannot parse it";
    onnx::checker::check_model(model);
    for (auto &value : *model.mutable_graph()->mutable_output()) value.mutable_type()->mutable_tensor_type()->clear_shape();
    const onnx::ShapeInferenceOptions strict{/*check_type=*/true, /*strict_mode=*/1, /*data_propagation=*/true};
    onnx::shape_inference::InferShapes(model, onnx::OpSchemaRegistry::Instance(), strict);
    for (const auto &value : model.graph().output())
      if (!value.type().tensor_type().has_shape()) return "the rank of output " + value.name() + " cannot be inferred";
    return "";
  } catch (const std::exception &error) {
    return error.what()[0] ? error.what() : "an exception without a message";
  } catch (...) {
    return "an exception that is not std::exception";
  }
}

int onnx_checker_newest_opset(void) {
  return onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at(onnx::ONNX_DOMAIN).second;
}

int onnx_checker_check(const uint8_t *bytes, size_t count, char *message, size_t capacity) {
  const std::string found = complaint(bytes, count);
  if (capacity > 0) std::snprintf(message, capacity, "%s", found.c_str());
  return found.empty() ? 0 : 1;
}
