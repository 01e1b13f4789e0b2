# The targets of the project; CONTRIBUTING.md says what each costs.
SHELL := /bin/bash
GO ?= go
PKGS := ./...
# Everything but the black-box suites, which have targets of their own.
UNIT := $(shell $(GO) list ./... 2>/dev/null | grep -v /e2e$$)
BIN := $(CURDIR)/bin
PROTO := $(GO) tool -modfile=../.ci/proto.mod
LINT := $(GO) tool -modfile=.ci/lint.mod golangci-lint

.PHONY: all build deps test simulation race lint breaking generate e2e e2e-faults e2e-operator soak bench bench-health deploy-check fuzz clean

all: build

# The four programs, with the commit in their version.
build:
	$(GO) build -buildvcs=auto -trimpath -o $(BIN)/ ./cmd/...

# What tests need beyond Go: dig, and gcc for the race detector.
deps:
	@.ci/deps

# Unit tests under the race detector where gcc is there, and the end-to-end
# tests that need no root, the simulation among them. Built first, then run one package at a time: several
# start clusters, and two cores are few.
test: deps
	@if command -v gcc >/dev/null; then race=-race; else race=; echo "no gcc: without the race detector"; fi; \
	set -x; export CGO_ENABLED=$$([ -n "$$race" ] && echo 1 || echo 0); $(GO) vet $(PKGS) && \
	$(GO) test $$race -count=1 -run '^$$' $(UNIT) >/dev/null && $(GO) test $$race -count=1 -p 1 -timeout 10m $(UNIT)
	$(MAKE) simulation e2e

# The health plane on simulated time and network, 1,000 seeds, without the race
# detector, under which the unit tests have run a few: -simulation.runs=N for more.
SEEDS ?= 1000
simulation:
	$(GO) test -count=1 -timeout 20m ./e2e/simulation -simulation.runs=$(SEEDS)

race: deps
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 20m $(PKGS)

# The black box: the built programs, real dig.
e2e: deps build
	FAIRLEAD_BIN=$(BIN) $(GO) test -count=1 -timeout 10m -v ./e2e

# Every fault once, in network namespaces; wants root, and is skipped loudly
# where the kernel refuses them. A part of a fault's name as FAULT injects only
# those. $FAIRLEAD_E2E_TABLE names a file for the table of fault, expected, seen.
FAULT ?= 1
e2e-faults: deps build
	FAIRLEAD_BIN=$(BIN) FAIRLEAD_E2E_FAULTS='$(FAULT)' $(GO) test -count=1 -timeout 15m -v -run '^TestFaults$$' ./e2e

# What an operator does in an outage: scripts, each on an installation of its own,
# and a race of drains under kills. A part of a script's name as SCRIPT runs only that.
SCRIPT ?= 1
e2e-operator: deps build
	FAIRLEAD_BIN=$(BIN) FAIRLEAD_E2E_OPERATOR='$(SCRIPT)' $(GO) test -count=1 -timeout 15m -parallel 2 -v -run '^TestOperator|^TestRuleModel' ./e2e

# The same faults in random order for SOAK; SEED is the order that a run printed.
# It ends at the first that shows anything but what is expected.
SOAK ?= 1h
SEED ?=
soak: deps build
	FAIRLEAD_BIN=$(BIN) FAIRLEAD_E2E_SOAK='$(SOAK)' FAIRLEAD_E2E_SEED='$(SEED)' $(GO) test -count=1 -timeout 0 -v -run '^TestSoak$$' ./e2e

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

# Failover times of FAILOVERS endpoints/regions with real processes, with etcd and
# without, and the scale of the health plane: tables, progress beside them.
FAILOVERS ?= 50/20
bench-health: deps build
	@table=$$(mktemp) && trap 'rm -f "$$table"' EXIT && \
	FAIRLEAD_BIN=$(BIN) FAIRLEAD_E2E_BENCH_HEALTH=$(FAILOVERS) FAIRLEAD_E2E_TABLE="$$table" \
		$(GO) test -count=1 -timeout 60m -v -run '^TestBenchHealth$$' ./e2e >&2 && \
	{ test -s "$$table" || { echo "no failover was measured" >&2; exit 1; }; } && cat "$$table" && echo && $(GO) run ./e2e/bench

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 30s
fuzz:
	@.ci/fuzz $(FUZZTIME)

clean:
	rm -rf bin dist
