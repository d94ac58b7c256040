# The lab's own machine beside the hosts: git over http and ssh, and the scripted model, open and with a key.
ARG HOST
FROM ${HOST}
LABEL pifleet.lab.cache=services
RUN apt-get -q update && apt-get -q install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
# The repositories are the user git's, and root reads them too.
RUN git config --system safe.directory '*'
RUN useradd --system --home-dir /srv/git --create-home --shell /usr/bin/git-shell git \
    && install -d -m 755 -o git -g git /srv/git/.ssh && install -d -m 700 /srv/lab
COPY git_http.py scripted_model.py /usr/local/lib/lab/
COPY lab-git.service lab-model.service lab-model-keyed.service /etc/systemd/system/
RUN systemctl enable lab-git lab-model lab-model-keyed
