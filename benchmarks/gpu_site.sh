#!/bin/sh
# What benchmarks/gpu.sh needs beside torch, transformers and peft on a GPU machine without a network, as one small archive.
#
#     sh benchmarks/gpu_site.sh           writes .site/site.tar.xz, about 23 MB, from wheels for Python 3.12 and CUDA 13.0
#
# Of bitsandbytes only the libraries for CPUs and CUDA 13.0 are kept, of PyAV no symbols.
set -eu
cd "$(dirname "$0")/.."
mkdir -p .site
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
platforms=""
for version in 2_28 2_27 2_24 2_17; do platforms="$platforms --platform manylinux_${version}_x86_64"; done
# shellcheck disable=SC2086  # several words on purpose
python3 -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp $platforms \
    -c constraints.txt -d "$work/wheels" av bitsandbytes pycocotools
for wheel in "$work"/wheels/*.whl; do python3 -m zipfile -e "$wheel" "$work/site"; done
find "$work/site" -name 'libbitsandbytes_*.so' ! -name '*cuda130*' ! -name '*_cpu.so' -delete
find "$work/site" -name '*.so*' -exec strip --strip-unneeded {} + 2>/dev/null || true
tar -C "$work/site" -cJf .site/site.tar.xz .
ls -l .site/site.tar.xz
