# The image of the runner: without tests, build tools and pip, and without the packages that only the demo or load
# tests need. Every package is locked with its hashes.
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m venv --without-pip /opt/outrider \
 && python -m pip --python /opt/outrider/bin/python install --quiet --no-cache-dir --require-hashes --only-binary :all: --requirement requirements/runtime.txt
RUN python -m pip install --quiet --no-cache-dir --require-hashes --requirement requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY probes probes
COPY judge judge
COPY runner runner
COPY loadtests loadtests
COPY demo demo
RUN python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . \
 && python -m pip --python /opt/outrider/bin/python install --quiet --no-deps --no-index dist/outrider-*.whl

FROM python:3.12-slim-bookworm
LABEL org.opencontainers.image.title="Outrider" \
      org.opencontainers.image.description="Synthetic monitoring for the AI Road Trip Storyteller" \
      org.opencontainers.image.licenses="MIT"
# The base image contains pip, and a copy of it in ensurepip. Nothing must be installed here, so both are removed.
RUN python -m pip uninstall --quiet --yes pip \
 && rm -r "$(python -c 'import ensurepip; print(*ensurepip.__path__)')"
# The folder of budgets and limits. A volume keeps them across containers. If it can't be written, they are kept in
# memory, and the journal says so.
RUN install --directory --owner=65532 --group=65532 --mode=0750 /var/lib/outrider
COPY --from=build /opt/outrider /opt/outrider
COPY checks.yaml /etc/outrider/checks.yaml
# A container is reached from outside, so the runner listens on every address here. Elsewhere the default is loopback.
ENV PATH=/opt/outrider/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OUTRIDER_CONFIG=/etc/outrider/checks.yaml \
    LISTEN=0.0.0.0:9797 \
    STATE_DIR=/var/lib/outrider
WORKDIR /var/lib/outrider
VOLUME ["/var/lib/outrider"]
USER 65532:65532
EXPOSE 9797
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["outrider", "health"]
ENTRYPOINT ["outrider"]
CMD ["run"]
