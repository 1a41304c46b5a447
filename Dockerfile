# The core of svs: separates recordings.  Build it in the checkout, then for instance (docs/install.md):
#   docker build -t svs .
#   docker run --rm --read-only --tmpfs /tmp -v "$PWD:/music" svs separate song.mp3
FROM python:3.12-slim AS wheel
COPY pyproject.toml README.md params.yaml wiring.yaml /svs/
COPY svs /svs/svs
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheel /svs

FROM python:3.12-slim
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    pip install --no-cache-dir /wheel/*.whl \
    && useradd --uid 1000 --no-create-home --home-dir /nonexistent svs
# Weights are fetched while the image is built, so that a container needs no network and writes nothing but results.
ENV SVS_WEIGHTS=/usr/local/share/svs/weights PYTHONDONTWRITEBYTECODE=1
RUN svs fetch && chmod -R a+rX "$SVS_WEIGHTS"
ENV SVS_OFFLINE=1
USER svs
WORKDIR /music
ENTRYPOINT ["svs"]
CMD ["--help"]
