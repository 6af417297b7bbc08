# One image for both binaries; the command chooses: `fleet-webhook-api` or `fleet-consumer`, each with its subcommands.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# The migrations become part of the consumer. Nothing of tests and xtask is compiled: cargo needs their manifests only.
COPY crates crates
COPY migrations migrations
COPY tests tests
COPY xtask xtask
# Shown in the metric fleet_runtime_build_info.
ARG GIT_COMMIT=unknown
# The target folder is a cache, which the image does not see: the binaries are copied out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin fleet-webhook-api --bin fleet-consumer \
    && mkdir /out \
    && cp target/release/fleet-webhook-api target/release/fleet-consumer /out/

# glibc and nothing else: no shell, no package manager. Health checks use the binaries' own `health` command.
FROM gcr.io/distroless/cc-debian12:nonroot AS fleet
COPY --from=build /out/fleet-webhook-api /out/fleet-consumer /usr/local/bin/
# A number, so that Kubernetes can tell that it is not root.
USER 65532:65532
CMD ["fleet-webhook-api"]
