# One image for all binaries. Choose one by the command: `fleet-webhook-api`, `fleet-consumer`, `fleet-amqp-bridge` or
# `fleet-query-api`, each with its subcommands.

FROM rust:1.95.0-slim-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
# The consumer embeds the migrations. Of tests and xtask Cargo reads only the manifests; nothing of them is compiled.
COPY crates crates
COPY migrations migrations
COPY tests tests
COPY xtask xtask
# Shown in the metric fleet_runtime_build_info.
ARG GIT_COMMIT=unknown
# The target folder is a cache mount and not part of the image, so the last command copies the binaries out of it.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin fleet-webhook-api --bin fleet-consumer --bin fleet-amqp-bridge --bin fleet-query-api \
    && mkdir /out \
    && cp target/release/fleet-webhook-api target/release/fleet-consumer target/release/fleet-amqp-bridge target/release/fleet-query-api /out/

# The runtime image has no shell and no package manager. Health checks use the `health` command of the binaries.
FROM gcr.io/distroless/cc-debian12:nonroot AS fleet
COPY --from=build /out/fleet-webhook-api /out/fleet-consumer /out/fleet-amqp-bridge /out/fleet-query-api /usr/local/bin/
# A numeric user, because Kubernetes cannot verify `runAsNonRoot` for a name.
USER 65532:65532
CMD ["fleet-webhook-api"]
