#!/usr/bin/env bash
# Makes docs/results from CIFAR-10 and ResNet-20: many hours, in as many sittings as it takes. Finished cells stay in
# docs/results/*/cells, and are not run again by the program of the same commit, which docs/results/program has for every grid,
# on a processor with the same instruction set.
#   docs/results/run.sh [MODEL] [DATA] [THREADS]
# DATA has train and test.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
model=${1:-../shared/models/resnet20_bn.onnx}
data=${2:-../shared/data/cifar10}
threads=${3:-$(getconf _NPROCESSORS_ONLN)}
ratios=0.5,0.7,0.8:3,0.9:3,0.95:3,0.98
grid() {
	local out=docs/results/$1 commit source
	commit=$(awk -v grid="$1" '$1 == grid { print $2 }' docs/results/program)
	source=.cache/results/$commit
	shift
	if [[ ! -x $source/onnxprune ]]; then
		rm -rf "$source"
		git clone --quiet --shared --no-checkout . "$source"
		git -C "$source" checkout --quiet --detach "$commit"
		(cd "$source" && CGO_ENABLED=0 go build -trimpath -o onnxprune ./cmd/onnxprune)
	fi
	[[ -f $out/program && $(cat "$out/program") == "$commit" ]] || rm -rf "$out/cells"
	mkdir -p "$out"
	echo "$commit" >"$out/program"
	"$source/onnxprune" sweep "$model" --data "$data/train" --val "$data/test" --out "$out" --epochs 5 --threads "$threads" "$@"
}
grid weight --ratios "$ratios" --structures weight --methods bip,imp,omp,hydra
grid rewind --ratios 0.9 --structures weight --methods bip,omp --rewinds none,0,1,2
grid filter --ratios "$ratios" --structures filter --methods bip,imp,omp,hydra --of macs --round 1
