# Build: docker build --tag glassbox_exporter .
# Every RUN line is a command that works by hand in a copy of the project; tests/suite/image.rs runs the last of them, and
# starts what the final stage has, in a folder by chroot.

FROM rust:1.95-bookworm AS build
WORKDIR /build

# The dependencies are a layer of their own: it is built again only when they change.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir -p src benches/figures && touch src/lib.rs && echo 'fn main() {}' | tee src/main.rs > benches/figures/main.rs
RUN cargo build --release --locked --features legacy-tls

# Our own sources may be older than the stubs, and cargo goes by the time.
COPY src src
RUN touch src/lib.rs src/main.rs
RUN cargo build --release --locked --features legacy-tls

# The second name is for those who come from blackbox_exporter: their commands and charts then work as they are.
COPY LICENSE ./
RUN install -D -m 0755 target/release/glassbox_exporter image/bin/glassbox_exporter \
    && ln -s glassbox_exporter image/bin/blackbox_exporter \
    && install -D -m 0644 src/config/default.yml image/etc/blackbox_exporter/config.yml \
    && install -D -m 0644 LICENSE image/usr/share/doc/glassbox_exporter/LICENSE

# glibc and libgcc, authorities and a user; no shell. The exporter writes no file: the root can be read-only.
FROM gcr.io/distroless/cc-debian12:nonroot
ARG REVISION=""
LABEL org.opencontainers.image.title="glassbox_exporter" \
      org.opencontainers.image.description="A Prometheus exporter that probes a target stage by stage and names the link of the chain that broke" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/cc-debian12:nonroot"
# Folder by folder: where /bin is a link in the base, it stays one.
COPY --from=build /build/image/bin/ /bin/
COPY --from=build /build/image/etc/ /etc/
COPY --from=build /build/image/usr/ /usr/

# The base's nonroot, as numbers: Kubernetes' runAsNonRoot can only judge those.
USER 65532:65532
EXPOSE 9115
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s CMD ["/bin/glassbox_exporter", "healthcheck"]
ENTRYPOINT ["/bin/glassbox_exporter"]
CMD ["--config.file=/etc/blackbox_exporter/config.yml"]
