# syntax=docker/dockerfile:1
# Two stages: the first builds and installs from the locks, the second has the result and no build tools. Every program
# that runs here is locked by hash: no step fetches build tools of its own (--no-build-isolation, wheels alone).

FROM python:3.12.12-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY .ci/build.lock .ci/runtime.lock .ci/proto.lock .ci/
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --only-binary :all: --require-hashes -r .ci/build.lock \
 && python -m venv /opt/sidecar \
 && /opt/sidecar/bin/pip install --only-binary :all: --require-hashes -r .ci/runtime.lock \
 && /opt/sidecar/bin/pip install --only-binary :all: --require-hashes --no-deps --force-reinstall -r .ci/proto.lock
COPY pyproject.toml README.md LICENSE model.conf ./
COPY policy policy
COPY sidecar sidecar
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --no-index -w /opt/wheel . \
 && /opt/sidecar/bin/pip install --no-deps --no-index /opt/wheel/*.whl \
 && /opt/sidecar/bin/python -m compileall -q /opt/sidecar/lib \
 && install -d -m 0700 -o 65532 -g 65532 /var/lib/sidecar

FROM python:3.12.12-slim-bookworm
LABEL org.opencontainers.image.title="policy-sidecar" \
      org.opencontainers.image.description="A policy-as-code authorization sidecar" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/sidecar /opt/sidecar
COPY --from=build --chown=65532:65532 /var/lib/sidecar /var/lib/sidecar
ENV PATH=/opt/sidecar/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SIDECAR_STATE_DIR=/var/lib/sidecar
# Beyond loopback nothing listens until told so: SIDECAR_LISTEN, and SIDECAR_TLS_CERT/_KEY or SIDECAR_PLAINTEXT=true.
USER 65532:65532
WORKDIR /etc/sidecar
VOLUME /var/lib/sidecar
EXPOSE 9181 9182
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["sidecar", "health"]
ENTRYPOINT ["sidecar"]
CMD ["serve"]
