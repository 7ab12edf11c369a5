# The image holds the program and nothing of the shop: mount the state at /shop.
#   docker build -t recsys .
#   docker run --rm -v ./shop:/shop recsys ingest orders.csv
#   docker run -d -v ./shop:/shop -p 127.0.0.1:8000:8000 recsys serve --host 0.0.0.0
FROM python:3.13-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY recsys_cli recsys_cli
COPY sample_data sample_data
RUN python -m venv /opt/recsys \
 && /opt/recsys/bin/pip install -c constraints.txt . \
 && /opt/recsys/bin/pip uninstall -y pip \
 && find /opt/recsys -type d \( -name tests -o -name test -o -name __pycache__ \) -prune -exec rm -rf {} +

FROM python:3.13-slim
# libgomp: OpenMP, for the models and the index.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 10001 recsys && install -d -o recsys -g recsys -m 0700 /shop
COPY --from=build /opt/recsys /opt/recsys
ENV PATH=/opt/recsys/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER recsys
WORKDIR /shop
VOLUME /shop
EXPOSE 8000
HEALTHCHECK --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=3)"]
ENTRYPOINT ["recsys"]
CMD ["--help"]
