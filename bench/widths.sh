#!/usr/bin/env bash
# Times channel widths, dense beside pruned, in ONNX Runtime and in the engine, and
# pruned model files beside the dense one: ../shared's networks where they are there,
# at half the multiply-adds, with --round auto and --round 1. Arguments are for
# bench/widths, as in
#   bench/widths.sh -rounds 25
# MODELS names other dense files. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

library=${ONNXPRUNE_ORT_LIB:-}
if [[ -z $library ]]; then
	scripts/fetch-onnxruntime.sh
	library=$(ls .cache/onnxruntime/*/*/libonnxruntime* | tail -n 1)
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=1 go build -o "$work/widths" ./bench/widths
CGO_ENABLED=0 go build -o "$work/onnxprune" ./cmd/onnxprune

"$work/widths" "$@" "$library"

models=${MODELS:-$(ls .cache/bench/resnet18.onnx .cache/bench/mobilenet*.onnx ../shared/models/resnet20.onnx ../shared/zoo/tv_mobilenet_v2_0.5.onnx 2>/dev/null || true)}
for m in $models; do
	name=$(basename "$m" .onnx)
	files=("$m")
	for round in auto 1; do
		out=$work/$name-round-$round.onnx
		"$work/onnxprune" "$m" "$out" --structure filter --of macs --ratio 0.5 --round "$round" --best-effort >"$work/log" 2>&1 || {
			cat "$work/log"
			exit 1
		}
		grep '^wrote' "$work/log" | sed "s,$work/,,"
		files+=("$out")
	done
	"$work/widths" "$@" "$library" "${files[@]}"
done
