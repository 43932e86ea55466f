# Each target does its own set-up (scripts/setup) and may be called any number of times; once set up, all of them work
# offline. `make help` lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The binaries find the bundled apps and the SDKs two folders above themselves, so they stay in the tree.
export CARGO_TARGET_DIR := $(CURDIR)/target
# What the tests and the demo run.
export POLYPEER_BIN := $(CURDIR)/target/release
VENV := .venv/bin

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile

.PHONY: setup
setup: ## Checks and fetches all that the other targets need (they call it themselves)
	@scripts/setup build tools

.PHONY: build
build: ## Builds the release binaries and the bundled apps
	@scripts/setup build
	@scripts/build

.PHONY: run
run: build ## Runs a node in the foreground; options after ARGS=, as in: make run ARGS="--listen 127.0.0.1:0"
	@target/release/polypeer run $(ARGS)

.PHONY: demo
demo: build ## Shows two nodes at work: discovery, messages, a file, a plugin that is stopped by its limit
	@python3 demo/demo.py

.PHONY: test
test: build ## Runs the tests: Rust, Python, Go and end to end, but for the slow ones
	@scripts/setup tools
	@$(VENV)/python scripts/run_tests.py $(SUITES)

.PHONY: test-faults
test-faults: build ## Runs the end-to-end tests that take longer than 10 s each
	@scripts/setup tools
	@$(VENV)/python -m pytest -q --color=no -p no:cacheprovider -m slow tests

.PHONY: test-metrics
test-metrics: build ## Runs the tests of the metrics with Debian's Prometheus, which it fetches into target/
	@scripts/setup tools
	@scripts/test-metrics

.PHONY: lint
lint: ## Checks format, lints, types, licences and advisories
	@scripts/setup build tools
	@scripts/lint

.PHONY: bench
bench: build ## Measures this project against its peers on this machine (half an hour; the first time fetches and builds them)
	@scripts/bench $(FIGURES)

.PHONY: bench-check
bench-check: ## Recomputes every ratio in bench/results.json from its samples
	@python3 bench/bench.py --check

.PHONY: install
install: ## Installs below PREFIX [/usr/local], staged in DESTDIR; under sudo it takes what `make build` made
	@$(if $(SUDO_USER),:,$(MAKE) build)
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/package install

.PHONY: uninstall
uninstall: ## Removes what `make install` with the same PREFIX and DESTDIR installed
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" scripts/package uninstall

.PHONY: dist
dist: build ## Packs an archive that runs wherever it is unpacked, into target/dist
	@scripts/package archive target/dist

.PHONY: generate
generate: ## Writes what the SDKs, the specification and the vectors repeat of the gateway's Rust types, and the references in docs/
	@scripts/setup build
	@cargo run --quiet --locked -p polypeer-codegen
	@cargo test --quiet --locked -p polypeer-supervisor --lib reference_is_written -- --ignored >/dev/null

.PHONY: check-windows
check-windows: ## Compiles for Windows and runs a conversation under Wine (Debian; many minutes)
	@scripts/check-windows

.PHONY: check-macos
check-macos: ## Type-checks for macOS (Debian; many minutes)
	@scripts/check-macos

.PHONY: clean
clean: ## Removes what the other targets made
	@rm -rf target bench/target .venv .pytest_cache .mypy_cache .ruff_cache contrib/apps/files/files
