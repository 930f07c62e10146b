#!/bin/sh
# Reproduces onnx.pb.go from onnx.proto. Needs protoc (Debian: protobuf-compiler)
# and the network or a module cache for the plugin.
set -eu
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
GOBIN="$bin" go install github.com/gogo/protobuf/protoc-gen-gogofast@v1.3.2
protoc -I. --plugin="protoc-gen-gogofast=$bin/protoc-gen-gogofast" \
	--gogofast_out=paths=source_relative:. onnx.proto
gofmt -w onnx.pb.go
