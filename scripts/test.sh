#!/usr/bin/env bash
# Builds, checks and tests everything; the last line counts the tests.
# Tests that need ONNX Runtime or a C compiler skip without them, except with
# CI=true, where their absence is a failure.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

minimum_passed=2500
timeout=9m

if [[ -z ${ONNXPRUNE_ORT_LIB:-} ]] && ! scripts/fetch-onnxruntime.sh; then
	[[ ${CI:-} != true ]] || exit 1
	echo "tests that need ONNX Runtime will be skipped" >&2
fi

# onnxgo and the build with the tag gorgonia stand on large libraries. They are built for this
# machine only, and without cgo, so that those are compiled once.
judged='/onnxgo$'
portable=$(go list ./... | grep -v "$judged")
CGO_ENABLED=0 go build ./...
CGO_ENABLED=0 go vet ./...
CGO_ENABLED=0 go vet -tags gorgonia ./engine/gorgonia ./cmd/onnxprune
# shellcheck disable=SC2046 # a list of packages, without those that need cgo
GOARCH=arm64 CGO_ENABLED=0 go vet $(GOARCH=arm64 CGO_ENABLED=0 go list ./... | grep -v "$judged")
unformatted=$(gofmt -l .)
if [[ -n $unformatted ]]; then
	echo "not formatted by gofmt:" "$unformatted" >&2
	exit 1
fi

cgo=1
read -r compiler _ < <(go env CC)
command -v "$compiler" >/dev/null || cgo=0

purego=()
for dir in internal/kernel op engine; do
	if [[ -d $dir ]]; then
		purego+=("./$dir/...")
	fi
done

run_tests() {
	local status=0
	# shellcheck disable=SC2086 # a list of packages
	CGO_ENABLED=$cgo go test -json -timeout "$timeout" $portable ./testdata/glyphs || status=1
	CGO_ENABLED=0 go test -json -timeout "$timeout" -tags gorgonia ./onnxgo ./engine/gorgonia || status=1
	CGO_ENABLED=0 go test -json -timeout "$timeout" -tags gorgonia -run '^TestScripts$/^engine$' ./cmd/onnxprune || status=1
	if ((${#purego[@]})); then
		# The judge needs cgo and has had its turn above, so here it may skip.
		CI='' CGO_ENABLED=0 go test -json -timeout "$timeout" -tags purego "${purego[@]}" || status=1
	fi
	if [[ $(go env GOARCH) != arm64 ]] && command -v qemu-aarch64 >/dev/null; then
		CI='' GOARCH=arm64 CGO_ENABLED=0 go test -json -short -timeout "$timeout" -exec qemu-aarch64 ./internal/kernel || status=1
	elif [[ $(go env GOARCH) != arm64 ]]; then
		echo "no qemu-aarch64 (Debian: qemu-user), the arm64 kernels are only compiled" >&2
	fi
	return "$status"
}

go build -o .cache/testcount ./scripts/testcount
run_tests | .cache/testcount -min "$minimum_passed"
