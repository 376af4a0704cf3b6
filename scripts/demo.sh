#!/bin/sh
# Segments the sample photographs with the sample checkpoint, or with DINO_DEMO_MODEL, into out/demo and names the folder.
set -eu
dinoctl=.build/release/dinoctl
model=${DINO_DEMO_MODEL:-}
method=attention size=
if [ -z "$model" ]; then
  # Trained on crops of 48 pixels of clothing: the main component of its patches is the best that it has for masks (README).
  model=samples/dino_clothing.safetensors method=pca size=192
fi
[ -e "$model" ] || { echo "demo: $model: no such file or folder; name a checkpoint with DINO_DEMO_MODEL=FILE make demo" >&2; exit 1; }

mkdir -p out
"$dinoctl" segment --method "$method" ${size:+--image-size "$size"} --model "$model" -o out/demo samples/photographs
echo "masks, overlays and boxes of samples/photographs are in out/demo (model: $model)"
