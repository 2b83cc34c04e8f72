#!/bin/sh
# What waits for a CUDA device: tests, and memory and speed of Crab-7B's shapes with random weights, as JSON.
#
#     sh benchmarks/gpu.sh [OUT]          one GPU with 16 GB or more, 32 GB of disk, some minutes
#     sh benchmarks/gpu.sh --tiny [OUT]   the same scripts on a CPU with small shapes, to see that they run
set -eu
cd "$(dirname "$0")/.."
tiny="" device="cuda"
if [ "${1:-}" = "--tiny" ]; then
    tiny="--tiny" device="cpu"
    shift
fi
out="${1:-benchmarks/results/gpu}"
mkdir -p "$out"
[ -n "$tiny" ] || python -m pytest -q -m gpu tests/gpu
tokens="" turns=""
[ -z "$tiny" ] || { tokens="--new-tokens 8" turns="--turns 1 --tokens 4 --prompt 64"; }
# shellcheck disable=SC2086  # several words on purpose
python benchmarks/decode.py $tiny --device "$device" $turns --out "$out/decode.json"
# shellcheck disable=SC2086
python benchmarks/crab_7b.py $tiny --device "$device" $tokens --out "$out/crab_7b.json"
echo "written: $out/decode.json $out/crab_7b.json"
