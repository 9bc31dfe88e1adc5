#!/usr/bin/env bash
# Train the UNet, then the DiT, each by its recipe. Flags are passed on to both: ./train.sh --epochs 1
set -euo pipefail
cd "$(dirname "$0")"
accelerate=accelerate
[ -x .venv/bin/accelerate ] && accelerate=.venv/bin/accelerate
for recipe in unet dit; do
    "$accelerate" launch --num_processes 1 train_text2digit.py --config "configs/$recipe.yaml" "$@"
done
