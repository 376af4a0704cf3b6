#!/bin/bash
# Compiles the kernels for 64-bit Arm and runs their check under qemu-user. Skips, saying so, where the cross tools are not installed
# (apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user). Also runs the same check natively.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
clang=$(command -v clang || true)
if [ -z "$clang" ] && command -v swift >/dev/null; then clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang; fi
if [ ! -x "$clang" ]; then echo "neon.sh: skipped: clang is not there"; exit 0; fi
sources=(Sources/CDinoKernels/*.c Tests/Neon/*.c)
flags=(-O2 -Wall -Wextra -Werror -ISources/CDinoKernels/include)
"$clang" "${flags[@]}" "${sources[@]}" -lm -o "$out/native"
"$out/native" | tee "$out/native.txt"
if ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64 >/dev/null; then
  echo "neon.sh: skipped the Arm part: aarch64-linux-gnu-gcc and qemu-aarch64 are not both there"
  exit 0
fi
for source in "${sources[@]}"; do
  "$clang" --target=aarch64-linux-gnu --sysroot=/usr/aarch64-linux-gnu -isystem /usr/aarch64-linux-gnu/include "${flags[@]}" -c "$source" -o "$out/$(basename "$source").o"
done
aarch64-linux-gnu-gcc -static "$out"/*.o -lm -o "$out/arm"
qemu-aarch64 "$out/arm" | tee "$out/arm.txt"
# int8 gives the same bits on every instruction set.
if ! cmp <(grep "^int8 bits" "$out/native.txt") <(grep "^int8 bits" "$out/arm.txt"); then
  echo "neon.sh: int8 differs between this CPU and Arm"
  exit 1
fi
