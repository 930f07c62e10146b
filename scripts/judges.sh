#!/usr/bin/env bash
# Runs the four independent judges of the arithmetic and prints a line for each: cases run,
# passed, and excluded with a reason.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

[[ -n ${ONNXPRUNE_ORT_LIB:-} ]] || scripts/fetch-onnxruntime.sh

# judge PACKAGE TESTS [FLAGS...] prints what the tests say of it, or how they failed.
judge() {
	local package=$1 tests=$2
	shift 2
	if ! output=$(go test -count=1 -v "$@" -run "$tests" "$package" 2>&1); then
		grep -E '^ *--- FAIL|_test\.go:[0-9]+:|^FAIL' <<<"$output" >&2
		exit 1
	fi
	sed -n 's/^.*: judge: //p;s/^ *--- SKIP/skipped/p' <<<"$output"
}

CGO_ENABLED=0 judge ./engine '^TestONNXNodes$'
CGO_ENABLED=0 judge ./onnxgo '^TestConformance$'
CGO_ENABLED=0 judge ./engine/gorgonia '^TestRandomNetworks$' -tags gorgonia
CGO_ENABLED=1 judge ./engine '^TestAgainstONNXRuntime$'
CGO_ENABLED=1 judge ./cmd/onnxprune '^TestWrittenInRuntime$'
