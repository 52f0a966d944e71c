# The steps of development. `make demo` and `make test` are all that a fresh machine needs; both install nothing but
# Go modules and crates, and unpack Debian's Prometheus and Alertmanager below target/ where they are not in the PATH.
# `make setup` names the system packages where a tool is missing. `make e2e` and `make e2e-kind` install Debian's
# container runtime where it is missing, before their tests start.
CARGO ?= cargo
SOAK = $(or $(CARGO_TARGET_DIR),target)/debug/evenkeel-soak
.PHONY: demo test setup bed lint unit control-plane shells pushes shares instances incidents feeders e2e e2e-chart e2e-kind e2e-kind-install image reproducible fuzz bench bless deny mutants soak chart workflows site

# A finding from files, minutes after a checkout; then the same on a real control plane, built first.
demo: setup
	CARGO="$(CARGO)" e2e/demo.sh

test: setup lint bed
	$(CARGO) test --locked --workspace

# What cannot be built from crates or Go modules.
setup:
	@for tool in cargo go cc setpriv ip; do command -v $$tool >/dev/null || { echo "missing: $$tool (Debian: rustup, golang, gcc, util-linux, iproute2)"; exit 1; }; done

# The control plane's binaries, from Go modules, and Debian's Prometheus and Alertmanager, once.
bed:
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-bed -- build

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd fuzz && $(CARGO) check --locked
	RUSTDOCFLAGS=-Dwarnings $(CARGO) doc --locked --workspace --no-deps

unit:
	$(CARGO) test --locked -p evenkeel-core -p evenkeel

control-plane: bed
	$(CARGO) test --locked -p evenkeel-e2e

# Completions in bash, zsh and fish, each in a pseudo terminal.
shells: bed
	@for tool in bash zsh fish script; do command -v $$tool >/dev/null || { echo "missing: $$tool (Debian: bash, zsh, fish, bsdutils)"; exit 1; }; done
	$(CARGO) test --locked -p evenkeel-e2e --test shells

# Alerts that the operator pushes to real Alertmanagers: root, for an address that they can have.
pushes: bed
	@[ "$$(id -u)" = 0 ] || { echo "cannot run: an EndpointSlice may name no loopback address, and adding another needs root"; exit 1; }
	$(CARGO) test --locked -p evenkeel-e2e --test root pushes::

# Backends that count real connections, and a real Prometheus that scrapes them: root, for an address that they can have.
shares: bed
	@[ "$$(id -u)" = 0 ] || { echo "cannot run: an EndpointSlice may name no loopback address, and adding another needs root"; exit 1; }
	$(CARGO) test --locked -p evenkeel-e2e --test root shares::

# Several API servers over several members of etcd, and what goes wrong between them: root, for addresses of their own.
instances: bed
	@[ "$$(id -u)" = 0 ] || { echo "cannot run: an EndpointSlice may name no loopback address, and adding another needs root"; exit 1; }
	$(CARGO) test --locked -p evenkeel-e2e --test root instances:: -- --test-threads=1 --skip incidents

# The same under the operator, which must name what goes wrong, and call nothing slow that is not, by the API servers alone
# and by a real Prometheus alone: 20 minutes, as an API server is not judged in its first ten. `evenkeel-demo --story d1`
# and d2 show them.
incidents: bed
	@[ "$$(id -u)" = 0 ] || { echo "cannot run: an EndpointSlice may name no loopback address, and adding another needs root"; exit 1; }
	$(CARGO) build --locked -p evenkeel
	$(CARGO) test --locked -p evenkeel-e2e --test root instances::incidents -- --nocapture

# The operator and the command line beside a Prometheus: root, for an address and a network of its own. 8 minutes, as a table
# takes its time to fill.
feeders: bed
	@[ "$$(id -u)" = 0 ] || { echo "cannot run: an EndpointSlice may name no loopback address, and adding another needs root"; exit 1; }
	$(CARGO) build --locked -p evenkeel
	$(CARGO) test --locked -p evenkeel-e2e --test root prometheus:: -- --nocapture

# On real kubelets, in namespaces of this machine: root, and no container engine.
e2e: image
	@[ "$$(id -u)" = 0 ] || { echo "cannot run: real nodes are namespaces, mounts and control groups of this machine, which need root"; exit 1; }
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-bed -- nodes build
	$(CARGO) test --locked -p evenkeel-e2e --test root nodes::
	$(CARGO) test --locked -p evenkeel-e2e --test root cluster::on_nodes -- --nocapture

# The chart on the same real kubelets, from helm install to helm uninstall. Builds Helm from its Go module.
e2e-chart: image
	@[ "$$(id -u)" = 0 ] || { echo "cannot run: real nodes are namespaces, mounts and control groups of this machine, which need root"; exit 1; }
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-bed -- nodes build
	$(CARGO) test --locked -p evenkeel-e2e --test root cluster::by_chart_on_nodes -- --nocapture

# On kind: with the container engine that answers, or else, as root, with Docker in namespaces of its own.
e2e-kind: e2e-kind-install
	$(CARGO) test --locked -p evenkeel-e2e --test root kind::

# The one pass of it that CI makes, from the installation to an alert.
e2e-kind-install: image
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-bed -- kind build
	$(CARGO) test --locked -p evenkeel-e2e --test root cluster::on_kind -- --nocapture

# The static program and its image, as target/image/evenkeel and target/image/evenkeel.tar, without a container engine.
image:
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-image -- build

# Builds the image, then the program once more in another folder, and compares.
reproducible:
	$(CARGO) run --locked -q -p evenkeel-e2e --bin evenkeel-image -- reproducible

# Generated files: CRDs, copies in the chart, docs of checks, metrics, reasons and kinds, contents, recipes and screens.
# In this order: the chart copies the CRDs, and the contents link to the pages of checks.
bless:
	EVENKEEL_BLESS=1 $(CARGO) test --locked -p evenkeel-core --test it -- check_docs:: reasons:: remedies::
	INSTA_UPDATE=always $(CARGO) test --locked -p evenkeel-core --lib -- checks::messages
	EVENKEEL_BLESS=1 $(CARGO) test --locked -p evenkeel --test it -- crds::
	EVENKEEL_BLESS=1 $(CARGO) test --locked -p evenkeel --test it -- metrics:: queries:: rights:: chart:: docs::

# What is built in: bans, licences and sources; known vulnerabilities where their database can be reached. Installs
# cargo-deny.
deny:
	command -v cargo-deny >/dev/null || $(CARGO) install --locked cargo-deny
	$(CARGO) deny --locked check bans licenses sources
	@if timeout 20 git ls-remote --exit-code https://github.com/RustSec/advisory-db HEAD >/dev/null 2>&1; then \
		$(CARGO) deny --locked check advisories; \
	else \
		echo "not run here, with the reason: known vulnerabilities (github.com/RustSec/advisory-db cannot be reached)"; \
	fi

# Changes the code of checks, data planes and the operator's step in small ways, and says which change no test notices:
# a sample, as there are 5,300 changes and each is a build. MUTANTS_SHARD=0/100 takes every hundredth from the first on,
# 1/100 from the second on. It changes a copy of the tree below the temporary folder; the report is target/mutants.out.
# Fails when a change was not noticed. Installs cargo-mutants.
MUTANTS_SHARD ?= 0/200
mutants:
	command -v cargo-mutants >/dev/null || $(CARGO) install --locked cargo-mutants
	$(CARGO) mutants --package evenkeel-core --package evenkeel --shard $(MUTANTS_SHARD) --sharding round-robin \
		--file 'core/src/checks/**' --file 'core/src/dataplane/**' --file 'src/operator/**' \
		--exclude '**/tests.rs' --exclude '**/tests/**' --exclude '**/adversarial.rs' --exclude '**/advice_followed.rs' --exclude '**/founding_incident.rs' --exclude '**/messages/**' \
		--exclude '**/needs.rs' --output target -- --lib

# The Helm chart beside the manifests: the same objects, linted, installed on a control plane and taken away. Helm is built
# from its Go module.
chart: bed
	$(CARGO) test --locked -p evenkeel-e2e --test packaging chart::

# The site of docs/ as target/site, with its links followed. Installs mdBook where it is missing: without its server and its
# watcher, and not optimised, as it takes a second all the same.
site:
	command -v mdbook >/dev/null || $(CARGO) install --locked --debug --no-default-features --features search mdbook@0.5.4
	PATH="$$PATH:$${CARGO_HOME:-$$HOME/.cargo}/bin" mdbook build docs
	$(CARGO) test --locked -p evenkeel-e2e --test packaging site::

# The workflows of GitHub, by their linter, which is built from its Go module.
workflows:
	$(CARGO) test --locked -p evenkeel-e2e --test packaging workflows::

# A minute for each target, from the seeds and from what earlier runs found. Needs rustup and a C++ compiler; installs
# the nightly toolchain and cargo-fuzz. An input that needs more than five seconds is a finding.
FUZZ_SECONDS ?= 60
fuzz:
	rustup toolchain list | grep -q '^nightly' || rustup toolchain install nightly --profile minimal
	command -v cargo-fuzz >/dev/null || $(CARGO) install --locked cargo-fuzz
	cd fuzz && for target in $$(cargo +nightly fuzz list); do \
		mkdir -p corpus/$$target; \
		cargo +nightly fuzz run $$target corpus/$$target seeds/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -timeout=5 -rss_limit_mb=512 -malloc_limit_mb=128 -dict=words.dict || exit 1; \
	done

# The operator before a real API server and a network that freezes, cuts, delays, repeats and truncates, while objects
# come and go: SOAK_MINUTES of it. SOAK_SEED repeats the faults of a run, which prints its seed.
SOAK_MINUTES ?= 60
SOAK_SEED ?=
# Seeds of drives of remedies against a model of the API server.
SOAK_DRIVES ?= 100000
soak: bed
	EVENKEEL_SEEDS=$(SOAK_DRIVES) $(CARGO) test --locked -p evenkeel-core --test it -- drive::no_seed_breaks_an_invariant
	$(CARGO) build --locked -p evenkeel -p evenkeel-e2e --bin evenkeel --bin evenkeel-soak
	$(SOAK) --minutes $(SOAK_MINUTES) $(if $(SOAK_SEED),--seed $(SOAK_SEED))

# Installs valgrind where it is missing.
bench:
	$(CARGO) bench --locked -p evenkeel-core
	$(CARGO) bench --locked -p evenkeel --bench exposition
	core/benches/instructions.sh
