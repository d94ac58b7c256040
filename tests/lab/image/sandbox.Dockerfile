# What `--from pi` is in tests of the OpenShell double: a named user, a workspace of its own, and a stand-in for pi.
ARG SERVICES
FROM ${SERVICES}
LABEL pifleet.lab.cache=sandbox
RUN useradd --create-home --uid 1600 --shell /bin/bash pi && install -d -o pi -g pi /workspace \
 && mkdir -p /opt/elsewhere && echo unlisted >/opt/elsewhere/file && chmod -R a+rX /opt/elsewhere
COPY pi /usr/local/bin/pi
RUN chmod 755 /usr/local/bin/pi
USER pi
WORKDIR /workspace
