FROM python:3.12.12-slim-trixie AS build
WORKDIR /build
# Made at the path where it will run, and without a pip of its own.
RUN python -m venv --without-pip /opt/delivery-status
COPY locks locks
# What comes from outside is what locks/ has the hashes of, what builds our package included. Everything has wheels for
# amd64 and arm64; were one missing, this says so instead of looking for a compiler. But Faust has none for arm64: on both
# it is built from its source, without its accelerators, which we do not use (ADR 0001).
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes --only-binary :all: \
    --requirement locks/build.txt && \
    NO_CYTHON=1 pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes --only-binary :all: \
    --no-binary faust-streaming --wheel-dir wheels --requirement locks/image.txt
COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY schemas schemas
COPY processor processor
RUN pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir wheels . && \
    pip --python /opt/delivery-status/bin/python install --no-cache-dir --no-deps --no-index wheels/*.whl

FROM python:3.12.12-slim-trixie
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin delivery && \
    # A new volume takes over whose folder it is mounted on: the gateway's spool, or RocksDB.
    install --directory --mode 0700 --owner 10001 --group 10001 /var/lib/delivery-status
COPY --from=build /opt/delivery-status /opt/delivery-status
ENV PATH=/opt/delivery-status/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# docker build --build-arg COMMIT=$(git rev-parse HEAD) .
ARG COMMIT=unknown
ENV DELIVERY_COMMIT=$COMMIT
USER 10001
EXPOSE 8080
# Whether the process turns, not whether the broker answers: a broker that is away must not restart every worker.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen('http://127.0.0.1:' + (os.environ.get('DELIVERY_HTTP_PORT') or '8080') + '/livez', timeout=3)"]
ENTRYPOINT ["delivery-status"]
CMD ["worker"]
