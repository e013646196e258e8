# hicfm_jax on CPUs; docs/how-to/containers.md says how to build and use it.
FROM python:3.12-slim-bookworm

# cooltools comes without a ready-made build. Debian keeps one version of its compiler a release: none to pin.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*

WORKDIR /hicfm_jax
COPY setup.py pyproject.toml ./
COPY hicfm_jax hicfm_jax
COPY configs configs
RUN pip install --no-cache-dir -e '.[data,evaluate,hic]'
COPY scripts scripts

# Nobody, where "docker run" names no user.
USER 65534:65534
ENTRYPOINT ["python"]
