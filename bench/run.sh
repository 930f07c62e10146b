#!/usr/bin/env bash
# Compares the time of a training step with PyTorch and of a forward pass with ONNX
# Runtime, on the five networks of nets.py. Arguments go to compare.py, as in
#   bench/run.sh --nets resnet20,mnist --rounds 7
# PYTHON names an interpreter that has torch.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-}
for p in python3 /usr/bin/python3; do
	if [[ -z $python ]] && "$p" -c 'import torch' 2>/dev/null; then
		python=$p
	fi
done
if [[ -z $python ]]; then
	echo "bench: no python3 with torch (Debian: python3-torch), nothing measured"
	exit 0
fi

models=.cache/bench
mkdir -p "$models"
CGO_ENABLED=0 go build -o "$models/onnxprune" ./cmd/onnxprune
export PYTHONDONTWRITEBYTECODE=1
if [[ ! -f $models/mnist.onnx ]]; then
	"$python" bench/export.py "$models"
fi
"$models/onnxprune" bench --kernels
"$python" bench/compare.py train "$models" "$models/onnxprune" "$@"

library=${ONNXPRUNE_ORT_LIB:-}
if [[ -z $library ]] && scripts/fetch-onnxruntime.sh; then
	library=$(ls .cache/onnxruntime/*/*/libonnxruntime* | tail -n 1)
fi
if [[ -z $library ]] || ! CGO_ENABLED=1 go build -o "$models/ort" ./bench/ort 2>/dev/null; then
	echo "bench: no ONNX Runtime or no C compiler, forward not compared"
	exit 0
fi
"$python" bench/compare.py forward "$models" "$models/onnxprune" --ort "$models/ort" "$library" "$@"
