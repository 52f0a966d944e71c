# Packs the static program that `make image` builds; nothing is pulled and nothing runs here:
#   make image && docker build --tag evenkeel .
# `make image` also writes the same image as a file, for those without an engine.
FROM scratch
ARG PROGRAM=target/image/evenkeel
COPY ${PROGRAM} /evenkeel
# A number, so that a kubelet can tell that it is not root.
USER 65532:65532
WORKDIR /
ENTRYPOINT ["/evenkeel"]
