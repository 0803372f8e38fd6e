# Build: docker build --tag glassbox_exporter .
# Every RUN command also works outside Docker in a copy of the project. tests/suite/image.rs runs the last one and
# starts the content of the final stage in a chroot.

FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies have a separate layer, which is rebuilt only when they change.
COPY Cargo.toml Cargo.lock build.rs ./
COPY .cargo/config.toml .cargo/
COPY crates/go-regexp/Cargo.toml crates/go-regexp/
COPY crates/glassbox-verdict/Cargo.toml crates/glassbox-verdict/
COPY crates/glassbox-probe/Cargo.toml crates/glassbox-probe/
RUN mkdir -p src benches/figures crates/go-regexp/src crates/glassbox-verdict/src crates/glassbox-probe/src \
    && touch src/lib.rs crates/go-regexp/src/lib.rs crates/glassbox-verdict/src/lib.rs crates/glassbox-probe/src/lib.rs \
    && echo 'fn main() {}' | tee src/main.rs > benches/figures/main.rs
RUN cargo build --release --locked --features legacy-tls

# The sources may be older than the stubs, and cargo compares modification times.
COPY crates crates
COPY src src
RUN touch src/lib.rs src/main.rs crates/*/src/lib.rs
RUN cargo build --release --locked --features legacy-tls

# The second name is for users of blackbox_exporter: their commands and charts work unchanged.
COPY LICENSE ./
RUN install -D -m 0755 target/release/glassbox_exporter image/bin/glassbox_exporter \
    && ln -s glassbox_exporter image/bin/blackbox_exporter \
    && install -D -m 0644 src/config/default.yml image/etc/blackbox_exporter/config.yml \
    && install -D -m 0644 LICENSE image/usr/share/doc/glassbox_exporter/LICENSE

# The base contains glibc, libgcc, CA certificates and an unprivileged user, but no shell. The exporter writes only to the
# directory of --history.path, if it is set, so the root file system can be read-only.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG REVISION=""
LABEL org.opencontainers.image.title="glassbox_exporter" \
      org.opencontainers.image.description="A Prometheus exporter that probes a target stage by stage and names the link of the chain that broke" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
# One COPY per directory, so that /bin remains a link if it is one in the base.
COPY --from=build /build/image/bin/ /bin/
COPY --from=build /build/image/etc/ /etc/
COPY --from=build /build/image/usr/ /usr/

# The user nonroot of the base. Kubernetes' runAsNonRoot requires a numeric ID.
USER 65532:65532
EXPOSE 9115
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/bin/glassbox_exporter", "healthcheck"]
ENTRYPOINT ["/bin/glassbox_exporter"]
CMD ["--config.file=/etc/blackbox_exporter/config.yml"]
