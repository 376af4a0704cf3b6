#!/bin/sh
# test.sh debug|release: builds and runs every test. Prints failures with their output, tests that were skipped, and the closing lines with the count.
set -u
configuration=${1:-debug}
# C kernels are compiled with optimisation in every configuration: at -O0 their unrolled tiles take minutes.
flags="-c $configuration -Xcc -O2"
# Tests look inside modules, which an optimised build does not allow unless asked.
[ "$configuration" = release ] && flags="$flags -Xswiftc -enable-testing"

scripts/quietly.sh "build-tests-$configuration" "test build ($configuration)" swift build --build-tests $flags || exit 1

log=out/log/test-$configuration.log
swift test --skip-build --disable-xctest $flags >"$log" 2>&1
status=$?
# A run that stopped early has no closing line: that is a failure too, whatever the exit code says.
closing=$(grep -E 'Test run with [0-9]+ test' "$log" | tail -n 1)
if [ $status -ne 0 ] || [ -z "$closing" ]; then
  if [ -z "$closing" ]; then
    tail -n 60 "$log" >&2
    echo "tests ($configuration): the run ended without a result (exit code $status; log: $log)" >&2
  else
    # Each failure with the lines that belong to it.
    awk '/^(◇|✔|➜)/ { show = 0 } /^✘/ { show = 1 } show' "$log" >&2
    echo "tests ($configuration): failed (exit code $status; log: $log)" >&2
    echo "$closing"
  fi
  exit 1
fi
skipped=$(grep -cE '^➜ .* skipped' "$log")
if [ "$skipped" -gt 0 ]; then
  echo "skipped ($skipped), by reason:"
  grep -E '^➜ .* skipped' "$log" | sed -n 's/.* skipped: "\(.*\)".*/\1/p' | sort | uniq -c
fi
echo "$closing"
