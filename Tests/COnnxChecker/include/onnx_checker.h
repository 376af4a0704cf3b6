// libonnx's own checker and strict shape inference, over bytes, for the tests of what we export. Up to the operator set that this libonnx knows
// (onnx_checker_newest_opset), not above: Tests/Reference/check_onnx_export.py does that with PyPI's onnx.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// The highest version of ONNX's own operator set that libonnx has schemas for.
int onnx_checker_newest_opset(void);

/// 0 where the model of `count` bytes passes the checker and strict shape inference with type checks, and each output's rank could be inferred; else 1, and
/// why in `message`, cut at `capacity` bytes with its closing zero. External data is not opened.
int onnx_checker_check(const uint8_t *bytes, size_t count, char *message, size_t capacity);

#ifdef __cplusplus
}
#endif
