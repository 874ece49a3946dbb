# Everything that people and CI run. `make help` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# What is built and downloaded stays outside of the checkout, unless CARGO_TARGET_DIR says otherwise.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/eventplatform
export CARGO_TARGET_DIR ?= $(CACHE)/target

# The port of `make dev`: make dev PORT=8091
PORT ?= 8090

# Always the whole workspace: another selection of packages has other features, and would compile dependencies again.
# And never `cargo run`, which tells its program things that make every cargo below it compile some crates again.
BUILD_PROGRAMS := cargo build --workspace --bins
STACK := exec "$(CARGO_TARGET_DIR)/debug/stack"

# Suites that need the machine for themselves or a cluster: a plain `cargo test` leaves them out.
SUITES := --test faults --test cluster --test namespaced

# How long `make test-faults` and `make bench` run: short (a quarter of an hour, 6 minutes) or full (an hour or two, half
# an hour).
FORM ?= full

# One service for `make test`, such as booking.
S ?=

.PHONY: help
help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: dev
dev: ## Run the whole platform on this machine at http://localhost:8090; Ctrl-C stops it
	@.ci/install dev
	@$(BUILD_PROGRAMS)
	@$(STACK) dev --port $(PORT)

.PHONY: up
up: ## Run the whole platform on a kind cluster at http://localhost:8080; again: brings changed code in
	@tests/cluster/cluster.sh up

.PHONY: down
down: ## Remove the cluster of `make up`
	@tests/cluster/cluster.sh down

.PHONY: images
images: ## Build the images of the programs and the operator, and print their sizes
	@.ci/images

.PHONY: build
build: ## Build everything
	@cargo build --workspace --all-targets
	@cargo build --workspace $(SUITES)

.PHONY: test
test: ## Run every test but the fault and cluster suites, on servers of its own; S=booking for one service
	@.ci/install $(if $(S),dev)
	@cargo build --workspace --all-targets
	@$(STACK) test $(if $(S),--service $(S))

.PHONY: test-cluster
test-cluster: ## Run the cluster suite on a kind cluster of its own: real pods, real servers
	@tests/cluster/cluster.sh test

.PHONY: test-faults
test-faults: ## Break everything under load, for an hour or two; FORM=short for less; FAULT_SEED=n repeats a run
	@.ci/install dev
	@cargo build --workspace --all-targets
	@FAULT_FORM=$(FORM) $(STACK) test -- --workspace --test faults -- --nocapture --test-threads=1

# How many requests `make fuzz` sends, and for how many seconds at most.
FUZZ_REQUESTS ?= 20000
FUZZ_SECONDS ?= 3600

.PHONY: fuzz
fuzz: ## Send 20,000 generated requests to every described route; FUZZ_REQUESTS, FUZZ_SECONDS, FUZZ_SEED
	@.ci/install
	@$(BUILD_PROGRAMS)
	@$(STACK) fuzz --requests $(FUZZ_REQUESTS) --seconds $(FUZZ_SECONDS)

.PHONY: check
check: ## Check format, lints, types, licenses and generated files; changes nothing
	@.ci/install
	@cargo fmt --check
	@cargo clippy --workspace --all-targets -- -D warnings
	@cargo clippy --workspace $(SUITES) -- -D warnings
	@.ci/deny
	@.ci/compose
	@$(BUILD_PROGRAMS)
	@$(STACK) sqlx --check
	@npm run check --silent --prefix tests/browser

.PHONY: generate
generate: ## Write the generated files: query metadata (.sqlx), crds, docs/api.md, the site's currencies
	@.ci/install dev
	@$(BUILD_PROGRAMS)
	@$(STACK) sqlx
	@"$(CARGO_TARGET_DIR)/debug/eventplatform-operator" crd > crds/eventplatform.yaml
	@cp crds/eventplatform.yaml charts/eventplatform/files/eventplatform-crd.yaml
	@cargo build --workspace --examples
	@"$(CARGO_TARGET_DIR)/debug/examples/currencies" > frontend/src/currencies.js
	@$(STACK) api > docs/api.md.new
	@mv docs/api.md.new docs/api.md

.PHONY: bench-site
bench-site: ## Measure how long a visitor on a slow line waits for the first page; see bench/README.md
	@.ci/install
	@$(BUILD_PROGRAMS)
	@$(STACK) platform -- node bench/first-view.mjs

.PHONY: bench
bench: ## Compare the platform with the seed's stack in half an hour; FORM=short for 6 minutes; see bench/README.md
	@.ci/install bench
	@bench/peers/install
	@$(BUILD_PROGRAMS) --release
	@exec "$(CARGO_TARGET_DIR)/release/bench" --form $(FORM)
