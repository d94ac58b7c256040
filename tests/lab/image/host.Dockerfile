# A bare host: the rootfs with a user who may become root, and what this machine needs to reach its mirrors.
ARG ROOTFS
FROM ${ROOTFS}
LABEL pifleet.lab.cache=host
COPY apt.conf /etc/apt/apt.conf.d/99lab
COPY environment /etc/environment
COPY certificates/ /usr/local/share/ca-certificates/
RUN update-ca-certificates >/dev/null
# Downloaded, not installed, and the lists are gone again: a role has to update and install as on any host.
ARG DOWNLOADS
RUN apt-get -q update && apt-get -q install -y --no-install-recommends --download-only ${DOWNLOADS} \
    && rm -rf /var/lib/apt/lists/*
# What makes no sense in a container, or only costs time there.
ARG MASKED
RUN systemctl mask ${MASKED} && mkdir -p /etc/systemd/journald.conf.d \
    && printf '[Journal]\nStorage=volatile\nRuntimeMaxUse=16M\n' > /etc/systemd/journald.conf.d/lab.conf
RUN useradd --create-home --shell /bin/bash ops && install -d -m 700 -o ops -g ops /home/ops/.ssh \
    && echo 'ops ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/ops && chmod 440 /etc/sudoers.d/ops \
    && rm -f /etc/ssh/ssh_host_* && : > /etc/machine-id
COPY hostinit.sh /usr/local/sbin/hostinit
RUN chmod 755 /usr/local/sbin/hostinit
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/sbin/hostinit"]
