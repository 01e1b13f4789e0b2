# The targets of the project; CONTRIBUTING.md says what each costs.
SHELL := /bin/bash
GO ?= go
PKGS := ./...
# Everything but the black-box suites, which have targets of their own.
UNIT := $(shell $(GO) list ./... 2>/dev/null | grep -v /e2e$$)
BIN := $(CURDIR)/bin
PROTO := $(GO) tool -modfile=../.ci/proto.mod
LINT := $(GO) tool -modfile=.ci/lint.mod golangci-lint

.PHONY: all build deps test race lint breaking generate e2e bench deploy-check fuzz clean

all: build

# The four programs, with the commit in their version.
build:
	$(GO) build -buildvcs=auto -trimpath -o $(BIN)/ ./cmd/...

# What tests need beyond Go: dig, and gcc for the race detector.
deps:
	@.ci/deps

# Unit tests under the race detector where gcc is there, and the end-to-end
# tests that need no root. Built first, then run one package at a time: several
# start clusters, and two cores are few.
test: deps
	@if command -v gcc >/dev/null; then race=-race; else race=; echo "no gcc: without the race detector"; fi; \
	set -x; export CGO_ENABLED=$$([ -n "$$race" ] && echo 1 || echo 0); $(GO) vet $(PKGS) && \
	$(GO) test $$race -count=1 -run '^$$' $(UNIT) >/dev/null && $(GO) test $$race -count=1 -p 1 -timeout 10m $(UNIT)
	$(MAKE) e2e

race: deps
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 20m $(PKGS)

# The black box: the built programs, real dig.
e2e: deps build
	FAIRLEAD_BIN=$(BIN) $(GO) test -count=1 -timeout 10m -v ./e2e

lint:
	$(LINT) run
	cd proto && $(PROTO) buf lint

# Compares the API with the last release's.
breaking:
	.ci/breaking

# Generated code; CI checks that running it changes nothing.
generate:
	cd proto && $(PROTO) buf generate

# Benchmarks; the figures are for comparing within one run.
BENCH ?= .
bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem ./regions/... ./authdns/... ./controller/...

# deploy/README.md, run on three hosts made of namespaces; wants root.
deploy-check:
	@deploy/check

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 30s
fuzz:
	@.ci/fuzz $(FUZZTIME)

clean:
	rm -rf bin dist
