# SoulBox. `make run` shows it at work, `make test` runs everything as CI does; `make help` lists the rest.
#
# Go 1.26 is the one prerequisite: `deps` installs the others as root, or says what to install.
# Written are bin/ (what was built), out/ (everything in between) and .cache/ (tools, kept by `make clean`).

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
# `deps` must be done before anything is built.
.NOTPARALLEL:

GO      ?= $(shell command -v go || echo /usr/local/go/bin/go)
export GO
export PATH := $(dir $(GO)):$(PATH)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
CC      := gcc
MUSL_CC := musl-gcc

# musl has no kernel headers of its own; the host's come last, so that they add and never replace. The compiler is asked
# when it is needed: before, `deps` may have to install it.
STATIC_C = $(MUSL_CC) -static -Os -s -Wall -Wextra -Werror -idirafter /usr/include \
	-idirafter /usr/include/$(shell $(CC) -dumpmachine 2>/dev/null)
GO_BUILD := $(GO) build -trimpath -buildvcs=false
ASSETS   := sandbox/assets/bin
PROGRAMS := helper agent launcher transpile ready

# Packages below .ci are found by name only: Go's `...` passes over directories with a dot.
CI_PACKAGES := $(patsubst %/,./%,$(sort $(dir $(wildcard .ci/*/*.go))))

# With COVER=1 soulbox and its agent count what they run, and go to bin/cover/; bin/soulbox and the embedded directory
# stay as they are. The mode is the one that race tests need, so that all counts can be merged. The helper does not
# count: it runs with an environment of its own, and would say on stderr that it has nowhere to count to.
ifeq ($(COVER),1)
BIN        := bin/cover
OUT        := out/cover
COVERFLAGS := -cover -covermode=atomic
# A relative path is resolved from here; the compiler reads the counted programs in place of the others.
OVERLAY    := -overlay out/cover/overlay.json
else
BIN        := bin
OUT        := out/build
COVERFLAGS :=
OVERLAY    :=
endif

##@ Use

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

.PHONY: run
run: deps build ## run one small program of each language through the API, and print what came of it
	@$(GO) run ./.ci/demo -soulbox bin/soulbox -programs docs/examples

.PHONY: serve
serve: build ## start a daemon on 127.0.0.1:4444; Ctrl-C stops it
	bin/soulbox serve

.PHONY: deps
deps: ## install what building and running need (as root; otherwise say what to install)
	@.ci/deps run

.PHONY: clean
clean: ## remove what was built; keeps .cache
	rm -rf bin out $(ASSETS)/*.zst $(ASSETS)/*.sha256

##@ Build

.PHONY: build
build: programs $(ASSETS)/runsc.zst ## bin/soulbox, with everything it carries; COVER=1 makes bin/cover/soulbox, which counts what it runs
	@mkdir -p $(BIN)
	CGO_ENABLED=0 $(GO_BUILD) $(COVERFLAGS) $(OVERLAY) -ldflags '-s -w -X main.version=$(VERSION)' -o $(BIN)/soulbox ./cmd/soulbox

.PHONY: man
man: build ## manual pages of all commands, in out/man
	@mkdir -p out/man && $(BIN)/soulbox man out/man

# glibc warns that some of its functions need shared libraries when they are linked statically; nothing here calls them.
.PHONY: programs
programs: $(OUT)/launcher $(OUT)/ready
	@mkdir -p $(ASSETS)
	CGO_ENABLED=1 $(GO_BUILD) -tags 'libseccomp netgo osusergo' \
		-ldflags '-s -w -linkmode external -extldflags -static' -o $(OUT)/helper ./cmd/soulbox-helper 2> >(grep -v -e 'statically linked applications' -e 'in function' -e '^#' >&2)
	CGO_ENABLED=0 $(GO_BUILD) $(COVERFLAGS) -ldflags '-s -w' -o $(OUT)/agent ./cmd/soulbox-agent
	CGO_ENABLED=0 $(GO_BUILD) -ldflags '-s -w' -o $(OUT)/transpile ./cmd/soulbox-transpile
ifeq ($(COVER),1)
	$(GO) run ./.ci/pack -o $(OUT) $(foreach p,$(PROGRAMS),$(p)=$(OUT)/$(p))
	@jq -n --arg top '$(CURDIR)' '{Replace: ([$$ARGS.positional[] | {("\($$top)/$(ASSETS)/\(.).zst"): "\($$top)/$(OUT)/\(.).zst"}] | add)}' \
		--args $(PROGRAMS) >$(OUT)/overlay.json
else
	$(GO) run ./.ci/pack -o $(ASSETS) $(foreach p,$(PROGRAMS),$(p)=$(OUT)/$(p))
endif

# gVisor's runtime. It and libcontainer want different versions of the OCI specification, so it has a go.mod of its own; it
# takes two minutes to compile, so that is done only when that changes. It counts nothing, so COVER=1 makes no other.
RUNSC_MODULE := sandbox/runsc/tool
out/runsc/runsc: $(RUNSC_MODULE)/go.mod $(RUNSC_MODULE)/go.sum
	@echo 'compiling gVisor, once; this takes a minute or two'
	@mkdir -p $(dir $@)
	cd $(RUNSC_MODULE) && CGO_ENABLED=0 $(GO_BUILD) -ldflags '-s -w' -o $(CURDIR)/$@ tool
	@touch $@

$(ASSETS)/runsc.zst: out/runsc/runsc
	$(GO) run ./.ci/pack -sum -o $(ASSETS) runsc=$<
	@touch $@

$(OUT)/launcher: sandbox/agent/launcher/launcher.c
$(OUT)/ready: sandbox/assets/ready/ready.c
$(OUT)/launcher $(OUT)/ready:
	@mkdir -p $(OUT)
	$(STATIC_C) -o $@ $<

##@ Check

.PHONY: test
test: ## everything, as CI runs it; ends with the time of each part
	@.ci/test

.PHONY: check
check: lint imports unit ## formatting, vet, golangci-lint, generated code, imports, race tests, known vulnerabilities

.PHONY: lint
lint: tools .cache/tools/golangci-lint
	@echo 'lint: gofmt'; unformatted=$$(gofmt -l $$(git ls-files --cached --others --exclude-standard '*.go')); \
		[ -z "$$unformatted" ] || { printf 'lint: run gofmt -w on:\n%s\n' "$$unformatted" >&2; exit 1; }
	@echo 'lint: vet, with cgo, without it, and for arm64'
	@$(GO) vet ./... $(CI_PACKAGES)
	@$(GO) vet -tags 'libseccomp netgo osusergo' ./cmd/soulbox-helper ./seccomp/...
	@CGO_ENABLED=0 $(GO) vet ./...
	@CGO_ENABLED=0 GOARCH=arm64 $(GO) vet ./...
	@echo 'lint: golangci-lint, see .golangci.yml'
	@.cache/tools/golangci-lint run ./... $(CI_PACKAGES)
	@echo 'lint: generated code'
	@rpc/proto/generate.sh --check
	@echo 'lint: known vulnerabilities'
	@.ci/vulnerabilities .cache/tools/govulncheck

# The pinned checkers. Their module is their own, so that they cannot move SoulBox's dependencies.
.PHONY: tools
tools:
	@mkdir -p .cache/tools && cd .ci/tools && $(GO) build -o ../../.cache/tools/ tool

# It stands on two hundred modules that agree with nobody else's, so it has a go.mod of its own, and takes minutes to
# compile, so that is done only when that file changes.
.cache/tools/golangci-lint: .ci/tools/golangci/go.mod .ci/tools/golangci/go.sum
	@echo 'lint: compiling golangci-lint, once; this takes a minute or two'
	@mkdir -p .cache/tools && cd .ci/tools/golangci && $(GO) build -trimpath -ldflags '-s -w' -o ../../../.cache/tools/golangci-lint tool

.cache/tools/grpcurl: .ci/tools/grpcurl/go.mod .ci/tools/grpcurl/go.sum
	@mkdir -p .cache/tools && cd .ci/tools/grpcurl && $(GO) build -trimpath -ldflags '-s -w' -o ../../../.cache/tools/grpcurl tool

# The test cache does not see which packages are imported, so this test always runs.
.PHONY: imports
imports:
	@$(GO) test -count=1 ./.ci/imports

.PHONY: unit
unit: ## the tests of every package under the race detector; those that need root say so
	@.ci/unit

.PHONY: fuzz
fuzz: ## look for inputs that break parsers; FUZZTIME=1m looks longer at each
	@.ci/fuzz

.PHONY: test-e2e
test-e2e: ## the whole program, as root and as a plain user (after make build COVER=1)
	@.ci/e2e root
	@.ci/e2e rootless
	@.ci/e2e root-runsc
	@.ci/e2e rootless-runsc

.PHONY: test-vm
test-vm: build ## what needs systemd and a delegated cgroup v2 tree, SoulBox as a service too, in a small virtual machine
	@.ci/vm

# Documents in which a command, or a file that one needs, may stand.
DOCUMENTS = README.md ARCHITECTURE.md SECURITY.md $(wildcard docs/*.md docs/*/README.md docs/*/*/README.md)

.PHONY: test-docs
test-docs: build .cache/tools/grpcurl ## every command in the documents, the clients in docs/examples among them
	@$(GO) run ./.ci/docs $(DOCUMENTS)

.PHONY: test-bare
test-bare: ## what a newcomer does, on a bare Debian 12 in a directory: make run, as a plain user and as root; TEST=1: make test too
	@.ci/bare $(if $(filter 1,$(TEST)),test)

.PHONY: torture
torture: build ## 2,000 programs and 500 sandboxes against one daemon, with counts before and after
	@.ci/torture

.PHONY: soak
soak: build ## good and hostile programs and sandboxes, 50 at a time, for SOAK=10m; plots in out/soak
	@.ci/soak $(SOAK)

.PHONY: bench
bench: build ## measure what an execution costs, beside the bare interpreter
	@.ci/bench
