# One file, three images: gateway (no model framework), worker (torch), trainer (worker plus fine-tuning).
#   docker build --target gateway -t winnow-gateway .
FROM python:3.11-slim AS wheel
WORKDIR /src
RUN pip install --no-cache-dir build
COPY . .
RUN python -m build --wheel --outdir /dist .

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN useradd --create-home --uid 10001 winnow && mkdir /blobs && chown winnow /blobs
WORKDIR /home/winnow
COPY constraints.txt /tmp/constraints.txt
COPY --from=wheel /dist /dist

FROM base AS gateway
RUN pip install -c /tmp/constraints.txt "$(ls /dist/*.whl)[gateway,s3]"
USER winnow
EXPOSE 8000
CMD ["winnow", "serve", "--gateway-only", "--host", "0.0.0.0"]

FROM base AS worker
# For a CUDA or CPU build of torch other than the index's default, pass its index as PIP_EXTRA_INDEX_URL.
ARG PIP_EXTRA_INDEX_URL
RUN pip install -c /tmp/constraints.txt "$(ls /dist/*.whl)[local,store,s3]"
USER winnow
CMD ["winnow", "worker", "--queues", "io,score"]

FROM worker AS trainer
USER root
RUN pip install -c /tmp/constraints.txt "$(ls /dist/*.whl)[train]"
USER winnow
CMD ["winnow", "worker", "--queues", "train"]
