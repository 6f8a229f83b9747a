# The program as an image: docker build -t tailwater --build-arg VERSION=v1.2.3 .
#
# DuckDB is linked into the binary, which needs (ldd) libstdc++.so.6, libm.so.6,
# libgcc_s.so.1 and libc.so.6, and nothing else of a system; linked on Debian 12,
# symbols up to GLIBC_2.34 and GLIBCXX_3.4.30. The "cc" image has these, "static"
# and "base" lack libstdc++. Both stages are of one Debian: the libraries that
# run are those that were linked.
FROM golang:1.26-trixie AS build
WORKDIR /src
COPY . .
ARG VERSION=
# No `go mod download`: it would fetch the engine for every platform there is.
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=1 go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /out/bin/tailwater ./cmd/tailwater && \
    mkdir -p /out/data /out/project

FROM gcr.io/distroless/cc-debian13:nonroot
COPY --from=build /out/bin/tailwater /usr/local/bin/tailwater
# A new volume takes its owner from what it covers. 65532 is "nonroot".
COPY --from=build --chown=65532:65532 /out/data /data
# Mount a project here, or name another in the command.
COPY --from=build /out/project /project
USER 65532:65532
VOLUME ["/data"]
EXPOSE 8080
# What the program does when it is stopped can take 60 s: docker run
# --stop-timeout 70, or what was accepted lands at the next start.
STOPSIGNAL SIGTERM
# A start may fill the warehouse from the lake, which takes as long as there is
# history; it counts as starting, not as unhealthy.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10m --retries=3 CMD ["/usr/local/bin/tailwater", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tailwater"]
# In a container the port has to be open to all addresses, so requests show keys. The
# first one is mounted here, or given as TAILWATER_ADMIN_KEY: docs/deploy.md.
CMD ["serve", "/project", "--data", "/data", "--http", "0.0.0.0:8080", "--auth", "keys", "--admin-key-file", "/run/secrets/tailwater_admin_key"]
