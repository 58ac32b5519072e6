# The image of Zypher with the mock, which models are added to: docs/how-to/docker.md
#
#   docker build -t zypher .
#   docker run --rm -p 127.0.0.1:8080:8080 -v zypher:/data zypher
ARG PYTHON_IMAGE=python:3.13-slim
ARG UV_IMAGE=ghcr.io/astral-sh/uv:0.13.9

FROM ${UV_IMAGE} AS uv

FROM ${PYTHON_IMAGE} AS build
COPY --from=uv /uv /usr/local/bin/
ENV UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/zypher \
    UV_PYTHON_DOWNLOADS=never
WORKDIR /src
# First what changes seldom: the dependencies.
RUN --mount=type=cache,target=/root/.cache/uv \
    --mount=type=bind,source=uv.lock,target=/src/uv.lock \
    --mount=type=bind,source=pyproject.toml,target=/src/pyproject.toml \
    uv sync --locked --extra redis --no-install-project
COPY . .
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --locked --extra redis --no-editable

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="zypher" \
      org.opencontainers.image.description="Turns any Python model into a prediction server." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/zypher /opt/zypher
# Not as root. The queue is in /data: mount a volume there, or it ends with the container.
RUN groupadd --gid 10001 zypher && \
    useradd --uid 10001 --gid 10001 --no-create-home zypher && \
    install -d -o zypher -g zypher /data
# `pip install` of an image that is made from this one goes where Zypher is.
ENV PATH=/opt/zypher/bin:$PATH \
    PIP_PYTHON=/opt/zypher \
    PYTHONUNBUFFERED=1 \
    ZYPHER_BROKER=sqlite:////data/zypher.db \
    ZYPHER_HOST=0.0.0.0
WORKDIR /app
# Nobody can write to these places later. So Python compiles now what will be used, of its own library
# as well, which its image has as source only. To compile all would make this a quarter larger.
RUN zypher check && zypher health --help >/dev/null && \
    python -c "import zypher.brokers.redis, zypher.cli.predict, zypher.client, zypher.server.uvicorn"
USER 10001:10001
EXPOSE 8080

# The start period is for setup(): until it has ended, the server is not ready.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5m CMD ["zypher", "health"]

# `docker stop` waits 10 s, and the setting `grace` is 30 s: stop it with `docker stop -t 40`.
CMD ["zypher", "serve"]
