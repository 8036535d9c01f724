# The course in JupyterLab, as an ordinary user, for this machine alone:
#   docker build -t pnlib .
#   docker run --rm -p 127.0.0.1:8888:8888 pnlib     (then open the address that it prints)
# With the X-rays and with results that stay:
#   docker run --rm -p 127.0.0.1:8888:8888 -v /path/to/chest_xray:/course/data/chest_xray:ro -v pnlib-runs:/course/runs pnlib
FROM python:3.12-slim

RUN useradd --uid 1000 --create-home reader && install --directory --owner=reader /course
USER 1000
WORKDIR /course
ENV PATH="/home/reader/venv/bin:$PATH"

COPY --chown=1000 . .
RUN python -m venv /home/reader/venv \
 && pip install --no-cache-dir --editable '.[transfer,export,page,dev]' \
 && mkdir -p runs data

EXPOSE 8888
HEALTHCHECK --interval=30s --start-period=30s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8888/api', timeout=5)"]
# 0.0.0.0 is inside the container; -p 127.0.0.1:8888:8888 keeps it on this machine. JupyterLab asks for its token.
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "notebooks"]
