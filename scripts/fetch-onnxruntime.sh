#!/usr/bin/env bash
# Fetches the ONNX Runtime shared library that the tests use as their judge
# and leaves it in .cache/onnxruntime/<version>/<platform>/.
# Does nothing when it is already there.
set -euo pipefail

version=1.30.0
sha256=6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75

fail() {
	echo "fetch-onnxruntime: $*" >&2
	exit 1
}

case "$(uname -s)/$(uname -m)" in
Linux/x86_64) platform=linux/x64 library=libonnxruntime.so.1 ;;
Linux/aarch64 | Linux/arm64) platform=linux/arm64 library=libonnxruntime.so.1 ;;
Darwin/arm64) platform=darwin/arm64 library=libonnxruntime.1.dylib ;;
*) fail "onnxruntime-node $version has no library for $(uname -s) $(uname -m)" ;;
esac

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=$root/.cache/onnxruntime/$version/${platform/\//-}
if [[ -f $target/$library ]]; then
	exit 0
fi
command -v npm >/dev/null || fail "npm not found; it is needed once, to download onnxruntime-node $version"

mkdir -p "$target"
tmp=$(mktemp -d "$target/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

# "npm install" would run a post-install download; "npm pack" only takes the archive.
npm pack --silent --ignore-scripts "onnxruntime-node@$version" </dev/null >/dev/null ||
	fail "npm could not download onnxruntime-node $version"
archive=onnxruntime-node-$version.tgz
if command -v sha256sum >/dev/null; then
	sum=$(sha256sum "$archive")
else
	sum=$(shasum -a 256 "$archive")
fi
[[ ${sum%% *} == "$sha256" ]] || fail "$archive has sha256 ${sum%% *}, expected $sha256"

member=package/bin/napi-v6/$platform/$library
tar -xzf "$archive" "$member"
mv -f "$member" "$target/$library"
