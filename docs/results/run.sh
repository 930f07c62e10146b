#!/usr/bin/env bash
# Makes docs/results from CIFAR-10 and ResNet-20: hours; it goes on where it was ended.
#   docs/results/run.sh [MODEL] [DATA]
# DATA has train and test. Finished cells are kept in .cache/results.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=${1:-../shared/models/resnet20_bn.onnx}
data=${2:-../shared/data/cifar10}
ratios=0.5,0.6,0.7,0.8:3,0.9:3,0.95:3,0.98
mkdir -p .cache/results
CGO_ENABLED=0 go build -trimpath -o .cache/results/onnxprune ./cmd/onnxprune
grid() {
	local out=$1
	shift
	.cache/results/onnxprune sweep "$model" --data "$data/train" --val "$data/test" --out ".cache/results/$out" --ratios "$ratios" --epochs 5 "$@"
	mkdir -p "docs/results/$out"
	cp ".cache/results/$out"/{results.csv,results.json,report.html} "docs/results/$out/"
}
grid weight --structures weight --methods bip,imp,omp,hydra --rewinds none,0,1,2 --rewind-ratios 0.9
grid filter --structures filter --methods bip,imp,omp,hydra --of macs --round 1
