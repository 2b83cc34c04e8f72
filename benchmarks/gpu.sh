#!/bin/sh
# What waits for a CUDA device: tests, and memory and speed of Crab-7B's and Crab+'s shapes with random weights, as JSON.
#
#     sh benchmarks/gpu.sh [OUT]                       one GPU with 80 GB, 32 GB of disk; the steps' limits are below
#     sh benchmarks/gpu.sh --only "mini train" [OUT]   these steps alone; all but `dense` need 24 GB
#     sh benchmarks/gpu.sh --tiny [OUT]                the same steps on a CPU with small shapes, to see that they run
#
# A step that fails does not end the others; what each said is in OUT/gpu.log, and the last line names those that failed.
# On a machine without a network, `sh benchmarks/gpu_site.sh` made .site/site.tar.xz elsewhere: it is unpacked first.
set -u
cd "$(dirname "$0")/.." || exit 1
tiny="" device="cuda:0"
if [ "${1:-}" = "--tiny" ]; then
    tiny="--tiny" device="cpu"
    shift
fi
only=""
if [ "${1:-}" = "--only" ]; then
    only=" ${2:?which steps} "
    shift 2
fi
out="${1:-benchmarks/results/gpu}"
mkdir -p "$out" || exit 1
out="$(cd "$out" && pwd)"
log="$out/gpu.log"
: >"$log"
if [ -z "$tiny" ] && [ -f .site/site.tar.xz ]; then
    site="$(mktemp -d)"
    python3 -c "import sys, tarfile; tarfile.open('.site/site.tar.xz').extractall(sys.argv[1], filter='data')" "$site" || exit 1
    export PYTHONPATH="$site:${PYTHONPATH:-}"
fi
export PYTHONPATH="$PWD:${PYTHONPATH:-}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
failed=""

step() { # NAME SECONDS COMMAND...
    name="$1" limit="$2"
    shift 2
    case "${only:- $name }" in *" $name "*) ;; *) return ;; esac
    began="$(date +%s)"
    echo "== $name: $*" >>"$log"
    if timeout "$limit" "$@" >>"$log" 2>&1; then
        echo "$name: done in $(($(date +%s) - began)) s" | tee -a "$log"
    else
        echo "$name: failed with $? after $(($(date +%s) - began)) s" | tee -a "$log"
        tail -n 15 "$log"
        failed="$failed $name"
    fi
}

look="import av, bitsandbytes, peft, torch, transformers
print(torch.__version__, transformers.__version__, bitsandbytes.__version__)"
if [ -z "$tiny" ]; then
    step machine 60 python3 -c "$look; print(torch.cuda.get_device_name(), torch.cuda.mem_get_info())"
    export CRAB_GPU_OUT="$out"
    step mini 80 python3 -m pytest -q -W default -o addopts= -p no:cacheprovider tests/gpu/test_gpu_mini.py
    step train 420 python3 -m pytest -q -W default -o addopts= -p no:cacheprovider tests/gpu/test_gpu_train.py
    step crab_7b 210 python3 -m pytest -q -W default -o addopts= -p no:cacheprovider tests/gpu/test_gpu_crab_7b.py
    step decode 110 python3 benchmarks/decode.py --device "$device" --turns 3 --out "$out/decode.json"
    step plus 100 python3 benchmarks/plus.py --device "$device" --quantize 4bit --out "$out/plus.json"
    step dense 180 python3 benchmarks/qlora.py --device "$device" --dense --turns 1 --out "$out/qlora_dense.json"
    step compiled 90 python3 benchmarks/decode.py --device "$device" --turns 2 --compile --out "$out/decode_compiled.json"
else
    export CRAB_GPU_OUT="$out" CRAB_GPU_TINY=1
    step machine 600 python3 -c "$look"
    step tests 1200 python3 -m pytest -q -W default -o addopts= -p no:cacheprovider tests/gpu
    step decode 600 python3 benchmarks/decode.py --tiny --turns 1 --tokens 4 --prompt 64 --out "$out/decode.json"
    step plus 600 python3 benchmarks/plus.py --size tiny --quantize 4bit --tokens 8 --out "$out/plus.json"
    step dense 600 python3 benchmarks/qlora.py --tiny --dense --turns 1 --steps 1 --out "$out/qlora_dense.json"
fi
[ -z "$failed" ] || { echo "failed:$failed"; exit 1; }
echo "written: $out"
