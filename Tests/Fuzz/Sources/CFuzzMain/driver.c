// The start of every fuzzer: SwiftPM makes `main` of each program an alias of NAME_main, and libFuzzer takes over there.
// To add a fuzzer: a line at the end.

#include <stddef.h>
#include <stdint.h>
#include "fuzz_main.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*test)(const uint8_t *data, size_t size));

int dino_fuzz_main(int argc, char **argv) { return LLVMFuzzerRunDriver(&argc, &argv, LLVMFuzzerTestOneInput); }

#define FUZZER(name) \
  int name##_main(int argc, char **argv) { return dino_fuzz_main(argc, argv); }

FUZZER(FuzzSafetensors)
FUZZER(FuzzJSON)
FUZZER(FuzzNumPy)
FUZZER(FuzzOnnx)
FUZZER(FuzzOnnxImport)
