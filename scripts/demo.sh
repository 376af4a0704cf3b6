#!/bin/sh
# Segments the sample photographs with the sample checkpoint (or DINO_DEMO_MODEL) into out/demo and names the folder.
set -eu
dinoctl=.build/release/dinoctl
model=${DINO_DEMO_MODEL:-}
if [ -z "$model" ]; then
  for file in samples/*.safetensors; do
    [ -f "$file" ] && model=$file && break
  done
fi
[ -n "$model" ] || { echo "demo: no checkpoint in samples/; name one with DINO_DEMO_MODEL=FILE make demo" >&2; exit 1; }
[ -e "$model" ] || { echo "demo: $model: no such file or folder (from DINO_DEMO_MODEL)" >&2; exit 1; }

mkdir -p out
"$dinoctl" segment --method attention --model "$model" -o out/demo samples/photographs
echo "masks, overlays and boxes of samples/photographs are in out/demo (model: $model)"
