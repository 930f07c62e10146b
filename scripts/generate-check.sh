#!/usr/bin/env bash
# Regenerates every generated file and fails when one of them changes.
# Needs protoc; without it nothing is checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v protoc >/dev/null; then
	echo "generate-check: protoc not found, nothing checked"
	exit 0
fi

checksums() {
	git ls-files -z --cached --others --exclude-standard | xargs -0 cksum
}

before=$(checksums)
go generate ./...
after=$(checksums)
if ! diff <(echo "$before") <(echo "$after"); then
	echo "generate-check: the files above differ from what go generate writes" >&2
	exit 1
fi
