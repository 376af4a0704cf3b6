#!/bin/sh
# Builds the fuzzers and runs each for some seconds (default 60), from the hostile files and fixtures. Ends with 1 if one of them finds something; the
# input then lies in findings/. Usage: Tests/Fuzz/run.sh [SECONDS] [FUZZER...]
set -eu
cd "$(dirname "$0")"
root=../..
seconds=${1:-60}
[ $# -gt 0 ] && shift

# Files that a fuzzer starts from.
seeds() {
  case $1 in
    FuzzSafetensors) find $root/formats/hostile $root/Tests/Fixtures -name '*.safetensors' ;;
    FuzzNumPy) find $root/formats/hostile $root/Tests/Fixtures -name '*.np[yz]' ;;
    FuzzOnnx) find $root/Tests/Fixtures/onnx -name '*.onnx' ;;
    # Whole networks too: from the format's small files alone nothing reaches recognition.
    FuzzOnnxImport) find $root/Tests/Fixtures/onnx $root/Tests/Fixtures/onnx-networks -name '*.onnx' ;;
    FuzzJSON) find $root/formats/schema -name '*.json' ;;
    *) find $root/formats/hostile $root/Tests/Fixtures -type f -size -64k ;;
  esac
}

# Coverage marks go into the library too, without them libFuzzer sees nothing of what it tests.
swift build -c release -Xswiftc -sanitize=fuzzer
bin=$(swift build -c release --show-bin-path)
[ $# -gt 0 ] || set -- $(ls Sources | grep ^Fuzz)
mkdir -p findings
status=0
for fuzzer in "$@"; do
  corpus=corpus/$fuzzer
  mkdir -p "$corpus"
  seeds "$fuzzer" | while read -r file; do
    # Whole networks share one file name.
    cp "$file" "$corpus/seed-$(basename "$(dirname "$file")")-$(basename "$file")"
  done
  # Long enough for the longest seed.
  longest=$(find "$corpus" -type f -printf '%s\n' | sort -n | tail -n 1)
  echo "== $fuzzer, $seconds s"
  "$bin/$fuzzer" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len="$((longest > 16384 ? longest : 16384))" -print_final_stats=1 \
    -artifact_prefix="findings/$fuzzer-" "$corpus" > "findings/$fuzzer.log" 2>&1 || status=1
  tail -n 8 "findings/$fuzzer.log"
done
exit $status
