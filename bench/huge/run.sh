#!/usr/bin/env bash
# Prunes a model of BYTES (default 6e9) of TYPE (default float) in DIR, and beside it reads the data with cat and writes
# as many bytes; both are synced. In turn, with the time by the clock and of the processors, and the peak of memory.
#
#	bench/huge/run.sh DIR [BYTES] [TYPE] [ROUNDS]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
dir=${1:?wants a directory with three times the room of the model}
bytes=${2:-6e9} type=${3:-float} rounds=${4:-3}
mkdir -p "$dir"
CGO_ENABLED=0 go build -trimpath -o "$dir/onnxprune" ./cmd/onnxprune
[[ -e $dir/huge-$type.onnx ]] || go run ./bench/huge -bytes "$bytes" -type "$type" "$dir/huge-$type.onnx"
data=$dir/huge-$type.onnx.data

measured() { # what a command takes, after the disk has settled
	sync
	local TIMEFORMAT='%R s (%U user, %S system)'
	{ time "$@" >"$dir/log" 2>&1; } 2>&1 || { cat "$dir/log" >&2; exit 1; }
}
copy() {
	cat "$data" >/dev/null
	head -c "$(stat -c %s "$data")" /dev/zero >"$dir/copy"
	sync "$dir/copy"
}
prune() {
	local peak
	"$dir/onnxprune" "$dir/huge-$type.onnx" "$dir/out.onnx" --ratio 0.8 --quiet &
	local pid=$! most=0
	while peak=$(awk '/^VmHWM/ {print $2}' "/proc/$pid/status" 2>/dev/null) && [[ -n $peak ]]; do
		most=$peak
		sleep 0.5
	done
	wait $pid
	echo $((most / 1024)) >"$dir/peak"
}
for ((i = 0; i < rounds; i++)); do
	rm -f "$dir/copy" "$dir"/out.onnx*
	a=$(measured copy)
	rm -f "$dir/copy"
	b=$(measured prune)
	echo "cat and write $a, onnxprune $b, peak $(cat "$dir/peak") MB"
done
rm -f "$dir/copy" "$dir"/out.onnx*
