#!/usr/bin/env bash
# Runs fuzz targets one after the other, each for TIME (default 15m), at the lowest priority and on one processor.
#
#	scripts/fuzz.sh [TIME] [TARGET...]
#
# Go's fuzz workers give an input ten seconds by the clock and then end with "hung or terminated unexpectedly", also
# where the process was merely not given the processor. So an input that is reported that way is run again by itself:
# if it passes within ten seconds of processor time it is no finding, and the target goes on for the rest of its time.
# Interesting inputs are kept in .cache/fuzz, findings in testdata/fuzz of their packages. The last lines say for every
# target how long it ran, how many inputs, and what was found.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-15m}
shift || true
mkdir -p .cache/fuzz
root=$PWD

seconds() { # of a Go duration in minutes or seconds
	case $1 in *m) echo $((${1%m} * 60)) ;; *s) echo "${1%s}" ;; esac
}

run() { # package target
	local dir=$1 target=$2 left spent=0 execs=0 starved=0 result=clean
	left=$(seconds "$time")
	cd "$root/$dir"
	local binary=$root/.cache/fuzz/$target.test log=$root/.cache/fuzz/$target.log
	nice -n 19 go test -c -fuzz="^$target\$" -o "$binary" . || return 1
	while ((left > 5)); do
		local start=$SECONDS input counted
		nice -n 19 "$binary" -test.run='^$' -test.fuzz="^$target\$" -test.fuzztime="${left}s" -test.parallel=1 \
			-test.fuzzcachedir="$root/.cache/fuzz/inputs" -test.fuzzminimizetime=5s >"$log" 2>&1
		local status=$?
		spent=$((spent + SECONDS - start)) left=$((left - SECONDS + start))
		counted=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -1)
		execs=$((execs + ${counted:-0}))
		((status == 0)) && break
		input=$(sed -n 's/.*Failing input written to //p' "$log")
		# Time that ends while the workers are busy is a failure to go test, without an input.
		[[ -z $input ]] && grep -q 'context deadline exceeded' "$log" && break
		if grep -q 'hung or terminated' "$log" && { [[ -z $input ]] || (ulimit -t 10 && "$binary" -test.run="^$target\$/^${input##*/}\$" >"$log.again" 2>&1); }; then
			starved=$((starved + 1))
			[[ -z $input ]] || rm -f "$input"
			continue
		fi
		result="FOUND $dir/$input"
		break
	done
	cd "$root"
	echo "$target: $((spent / 60))m$((spent % 60))s, $execs inputs, starved $starved times, $result" | tee -a .cache/fuzz/summary
}

grep -rlE '^func Fuzz' --include='*_test.go' . | sort | while read -r file; do
	grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file" | cut -d' ' -f2 | while read -r target; do
		if (($# == 0)) || [[ " $* " == *" $target "* ]]; then
			run "$(dirname "$file")" "$target"
		fi
	done
done
