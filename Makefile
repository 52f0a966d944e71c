# The steps of development. `make demo` and `make test` are all that a fresh machine needs; both install nothing but
# Go modules and crates, and unpack Debian's Prometheus and Alertmanager below target/ where they are not in the PATH. `make setup` names the system packages where a tool is missing.
CARGO ?= cargo
.PHONY: demo test setup bed lint unit e2e fuzz bench bless

demo: setup bed
	$(CARGO) build --locked -p evenkeel -p evenkeel-e2e
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-demo

test: setup lint bed
	$(CARGO) test --locked --workspace

# What cannot be built from crates or Go modules.
setup:
	@for tool in cargo go setpriv ip; do command -v $$tool >/dev/null || { echo "missing: $$tool (Debian: rustup, golang, util-linux, iproute2)"; exit 1; }; done

# The control plane's binaries, from Go modules, once.
bed:
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-bed -- build

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --workspace --no-deps

unit:
	$(CARGO) test --locked -p evenkeel-core -p evenkeel

e2e: bed
	$(CARGO) test --locked -p evenkeel-e2e

# Generated files: CRDs, docs of checks, metrics and reasons.
bless:
	EVENKEEL_BLESS=1 $(CARGO) test --locked -p evenkeel --test crds --test metrics
	EVENKEEL_BLESS=1 $(CARGO) test --locked -p evenkeel-core --test check_docs --test reasons

# A minute for each target, from the seeds and from what earlier runs found. Needs rustup and a C++ compiler; installs
# the nightly toolchain and cargo-fuzz. An input that needs more than five seconds is a finding.
FUZZ_SECONDS ?= 60
fuzz:
	rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
		mkdir -p corpus/$$target; \
		cargo +nightly fuzz run $$target corpus/$$target seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=5 -dict=words.dict || exit 1; \
	done

# Installs valgrind where it is missing.
bench:
	$(CARGO) bench --locked -p evenkeel-core
	core/benches/instructions.sh
