# dcacodec on the processor, as a command. To encode a folder of pictures into another one:
#
#   docker build --tag dcacodec .
#   mkdir -p compressed
#   docker run --rm --network none --user "$(id -u):$(id -g)" \
#     --volume "$PWD/photos:/in:ro" --volume "$PWD/compressed:/out" dcacodec
#
# Arguments replace `batch /in /out`, for example `batch --decode /in /out` or `doctor`; a single picture goes through
# pipes: docker run --rm --interactive dcacodec encode - - < photo.png > photo.dca. An image contains torchac, which
# is under GPL-3.0: whoever distributes one has to comply with that licence (README, Licence).

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG TORCH_SPEC=torch==2.13.0
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/dcacodec
ENV PATH=/opt/dcacodec/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Without PyTorch's tests and headers, 145 MB that nothing here needs.
RUN pip install --index-url "$TORCH_INDEX" "$TORCH_SPEC" \
    && rm -rf /opt/dcacodec/lib/python*/site-packages/torch/include /opt/dcacodec/lib/python*/site-packages/torch/test
COPY . /source
RUN pip install /source
# The entropy coder is compiled here, because there is no compiler in the final image; other users must be able to read it.
RUN DCACODEC_CACHE=/opt/dcacodec/cache python -c 'from dcacodec.coding import TorchacCoder; TorchacCoder()' \
    && chmod -R a+rX /opt/dcacodec/cache \
    && pip uninstall --yes pip

FROM python:${PYTHON}-slim
COPY --from=build /opt/dcacodec /opt/dcacodec
ENV PATH=/opt/dcacodec/bin:$PATH DCACODEC_CACHE=/opt/dcacodec/cache
RUN mkdir /in /out && chown 1000:1000 /out
USER 1000:1000
ENTRYPOINT ["dcacodec"]
CMD ["batch", "/in", "/out"]
