# multihomed. `make` tells what there is.

GO       ?= go
PREFIX   ?= /usr/local
DESTDIR  ?=
FUZZTIME ?= 5s
# What go test gets beside -race, such as TESTFLAGS='-run TestFoo -v'.
TESTFLAGS ?=
PKGS     ?= ./...
# What the side-by-side benchmark gets: flags, then scenarios.
BENCHFLAGS ?=
# Which rows of docs/conformance.md, all if empty: ROWS=BFD-RX,NUD-08.
ROWS     ?=
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

export GO
# Nothing is downloaded behind your back: tools/check tells which Go is needed.
export GOTOOLCHAIN = local

CACHE := $(CURDIR)/.cache
LINTERS := $(CACHE)/bin
LDFLAGS := -s -w -X main.version=$(VERSION)

.DEFAULT_GOAL := help

.PHONY: help
help: ## this list
	@echo "multihomed $(VERSION)"; echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

.PHONY: build
build: ## bin/multihomed
	CGO_ENABLED=0 $(GO) build -ldflags '$(LDFLAGS)' -o bin/multihomed ./cmd/multihomed

.PHONY: demo
demo: build ## two simulated ISPs on this machine: cut one, watch the traffic move, bring it back
	bin/multihomed demo

.PHONY: check
check: ## is everything here that the tests need?
	@tools/check

.PHONY: test
test: check ## everything: unit, scenario and namespace tests with the race detector (some without), then each fuzz target for a few seconds
	$(GO) test -race -timeout 15m $(TESTFLAGS) $(PKGS)
	tools/norace
	tools/fuzz $(FUZZTIME)

.PHONY: conformance
conformance: check ## the clauses of docs/conformance.md, the tests that show them and how they end here (ROWS=BFD-RX,NUD-08)
	@$(GO) run ./internal/conformance -rows '$(ROWS)' -- $(TESTFLAGS)

.PHONY: fuzz
fuzz: ## each fuzz target for FUZZTIME (make fuzz FUZZTIME=10m)
	tools/fuzz $(FUZZTIME)

.PHONY: lint
lint: $(LINTERS)/stamp ## gofmt, go vet, staticcheck, golangci-lint
	@bad=$$(find . -name '*.go' -not -path './.cache/*' -not -path '*/testdata/*' -exec gofmt -s -l {} +); \
		if [ -n "$$bad" ]; then echo "gofmt -s -w is needed:"; echo "$$bad"; exit 1; fi
	$(GO) vet $(PKGS)
	$(LINTERS)/staticcheck $(PKGS)
	$(LINTERS)/golangci-lint run $(PKGS)

# The linters have a module of their own, so that their hundreds of
# dependencies stay out of ours. They are built once for each version of theirs
# and of Go.
$(LINTERS)/stamp: tools/go.mod tools/go.sum
	@mkdir -p $(LINTERS)
	cd tools && $(GO) build -o $(LINTERS)/ tool
	@touch $@

.PHONY: bench
bench: check ## multihomed, FRR and BIRD side by side, into bench/results (BENCHFLAGS=-h tells what can be chosen)
	$(GO) run ./bench $(BENCHFLAGS)

.PHONY: microbench
microbench: check ## the benchmarks of Go's testing package
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

.PHONY: cover
cover: check ## coverage.html, and the total
	$(GO) test -coverpkg=./... -coverprofile=coverage.out $(PKGS)
	$(GO) tool cover -html=coverage.out -o coverage.html
	@$(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: install
install: build ## the program, its unit and its names for ip(8) (PREFIX, DESTDIR); starts nothing
	install -D -m 0755 bin/multihomed $(DESTDIR)$(PREFIX)/sbin/multihomed
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local/sbin,$(PREFIX)/sbin,' contrib/systemd/multihomed.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/multihomed.service
	install -D -m 0644 contrib/iproute2/rt_protos.d/multihomed.conf $(DESTDIR)/etc/iproute2/rt_protos.d/multihomed.conf
	install -D -m 0644 contrib/iproute2/rt_tables.d/multihomed.conf $(DESTDIR)/etc/iproute2/rt_tables.d/multihomed.conf
	install -d $(DESTDIR)/etc/multihomed
	@if [ -d $(DESTDIR)/etc/systemd/networkd.conf.d ] || [ -x /lib/systemd/systemd-networkd ]; then \
		echo "systemd-networkd is here: see contrib/networkd/10-multihomed.conf and docs/operations.md"; fi

.PHONY: clean
clean: ## what make made, but for the linters in .cache
	rm -rf bin coverage.out coverage.html
