GO ?= go

.PHONY: build test race bench zoo judges kill-test generate-check clean fuzz

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o onnxprune ./cmd/onnxprune

test:
	@bash scripts/test.sh

race:
	CGO_ENABLED=1 $(GO) test -race -timeout 30m ./...

bench:
	CGO_ENABLED=0 $(GO) test -run '^$$' -bench . -benchmem ./...

zoo:
	@CGO_ENABLED=1 $(GO) test -count=1 -run '^TestZoo$$' -v ./export | sed -n 's/^.*zoo: //p'

judges:
	@bash scripts/judges.sh

kill-test:
	@CGO_ENABLED=0 $(GO) test -count=1 -timeout 30m -run '^TestKill$$' -v ./cmd/onnxprune -kills 100 | sed -n 's/^.*kill: //p;/^--- FAIL/p;/^FAIL/p'

fuzz:
	@bash scripts/fuzz.sh 15m

generate-check:
	@bash scripts/generate-check.sh

clean:
	rm -rf .cache onnxprune
