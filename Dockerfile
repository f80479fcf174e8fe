# Filbert to score and to serve, without torch: a model is mounted, nothing is trained here.
#
#   docker build -t filbert .
#   docker run -p 8080:8080 -v ./runs/reviews:/models/reviews:ro -v ./key:/run/secrets/key:ro filbert
#   curl -H "Authorization: Bearer $(cat key)" localhost:8080/predict -d '{"inputs": "Not a dull minute."}'
#   docker run -v ./runs/reviews:/models/reviews:ro -v .:/texts filbert predict /models/reviews /texts/new.csv -o /texts/out.csv
#
# The RUN steps are run as a script by bench/install_size.py.

FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN python -m venv /opt/filbert
# What Filbert stands on comes by the hashes of `make lock`; another file under a known name is refused.
RUN /opt/filbert/bin/pip install --no-cache-dir --no-compile --require-hashes -r /src/requirements.serve.txt \
 && /opt/filbert/bin/pip install --no-cache-dir --no-compile --no-deps /src
RUN /opt/filbert/bin/pip uninstall -y pip

FROM python:3.12-slim
COPY --from=build /opt/filbert /opt/filbert
RUN useradd --uid 10001 --create-home filbert
USER filbert
WORKDIR /home/filbert
ENV PATH=/opt/filbert/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD \
  ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["filbert"]
CMD ["serve", "/models/reviews", "--host", "0.0.0.0", "--api-key-file", "/run/secrets/key"]
