#!/bin/sh
# What a large bank costs: 1,000,000 x 384 f32, one query by exact search beside plain reads of the same bytes by the same threads; 10,000,000 x 384 int8, the time to open it; and the graph of
# approximate search. Rows are random bytes (python3 makes them; those for the graph need numpy); 8 GB of disk while it runs, taken away at the end.
#
#   bank_bench.sh DINOCTL FOLDER [exact|open|graph]...       default: exact open
#
# MEASURE, a command, is put before what is timed (one that pauses other work, say). ROWS of the graph: default 200000.
set -eu
tool=$1 folder=$2
shift 2
[ $# -gt 0 ] || set -- exact open
work=$(mktemp -d "$folder/bank_bench.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM

# rows FILE COUNT: int8 of [COUNT, 384]. Those for the graph lie near a surface of 24 dimensions, as features do; random rows are all equally far from each other.
rows() {
  python3 - "$1" "$2" <<'EOF'
import os, sys
path, count, width = sys.argv[1], int(sys.argv[2]), 384
head = "{'descr': '|i1', 'fortran_order': False, 'shape': (%d, %d), }" % (count, width)
head += " " * ((64 - (10 + len(head) + 1) % 64) % 64) + "\n"
with open(path, "wb") as f:
    f.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
    left = count * width
    while left > 0:
        part = min(left, 1 << 24)
        f.write(os.urandom(part))
        left -= part
EOF
}

surface() {
  python3 - "$1" "$2" <<'EOF'
import sys
import numpy as np
count, r = int(sys.argv[2]), np.random.default_rng(1)
basis = r.standard_normal((24, 384)).astype(np.float32)
out = np.lib.format.open_memmap(sys.argv[1], mode="w+", dtype=np.float32, shape=(count, 384))
for start in range(0, count, 50000):
    n = min(50000, count - start)
    out[start:start + n] = np.tanh(r.standard_normal((n, 24)).astype(np.float32) @ basis / 5) + 0.1 * r.standard_normal((n, 384)).astype(np.float32)
EOF
}

for what in "$@"; do
  case $what in
    exact)
      rows "$work/rows.npy" 1000000
      "$tool" index -o "$work/f32" --import "$work/rows.npy" --dtype f32 --quiet
      echo "1,000,000 x 384 f32:"
      ${MEASURE:-} "$tool" search --bank "$work/f32" --like 500000 -k 10 --measure 15 --json |
        python3 -c 'import json, sys; r = json.load(sys.stdin); m = r["measured"]; print("  %.2f ms a query, %.2f GB/s, %.1f %% of the %.2f GB/s that plain reads reach; opened in %.1f ms" % (m["milliseconds"], m["bytes_per_second"] / 1e9, 100 * m["share"], m["machine_bytes_per_second"] / 1e9, 1e3 * r["open_seconds"]))'
      rm -rf "$work/f32" "$work/rows.npy" ;;
    open)
      rows "$work/rows.npy" 10000000
      "$tool" index -o "$work/int8" --import "$work/rows.npy" --dtype int8 --quiet
      rm "$work/rows.npy"
      echo "10,000,000 x 384 int8, $(du -sh "$work/int8" | cut -f1) in $(ls "$work/int8" | grep -c segment) segments:"
      for cache in cold warm; do
        # The system's cache of these files is given up first.
        [ $cache = warm ] || { sync "$work/int8"/*; for f in "$work/int8"/*; do dd of="$f" oflag=nocache conv=notrunc,fdatasync count=0 2>/dev/null; done; }
        ${MEASURE:-} "$tool" search --bank "$work/int8" --like 0 -k 10 --json |
          python3 -c 'import json, sys; r = json.load(sys.stdin); print("  '$cache': opened in %.1f ms, %d rows; a search took %.2f s" % (1e3 * r["open_seconds"], r["rows"], r["seconds"]))'
      done
      rm -rf "$work/int8" ;;
    graph)
      surface "$work/rows.npy" "${ROWS:-200000}"
      "$tool" index -o "$work/f32" --import "$work/rows.npy" --dtype f32 --quiet
      echo "${ROWS:-200000} x 384 f32 near a surface of 24 dimensions:"
      ${MEASURE:-} "$tool" index -o "$work/f32" --approximate | sed 's/^/  /'
      rm -rf "$work/f32" "$work/rows.npy" ;;
    *) echo "there is no part '$what'" >&2; exit 64 ;;
  esac
done
