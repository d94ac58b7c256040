"""The lab's git server: `web` open to all, `api` behind a token or a key, over http and ssh.

Owns the repositories' contents and who may read them; must not know who clones.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path

from tests.lab.engine import run
from tests.lab.hosts import Host

PUBLIC, PRIVATE = "web", "api"
HTTP_PORT = 8080
AUTHOR = "Lab <lab@example.com>"
FIRST_SECOND = 1_700_000_000

# One commit a row: its message and the files it writes; `*` marks an executable, `->` a symbolic link.
HISTORIES: dict[str, list[tuple[str, dict[str, str]]]] = {
    PUBLIC: [
        ("Start the site", {"README.md": "# web\n", "index.html": "<h1>Hello</h1>\n"}),
        (
            "Add a build script",
            {"*build.sh": "#!/bin/sh\nmkdir -p dist && cp index.html dist/\n", ".gitignore": "dist/\n"},
        ),
        ("Greet in German", {"pages/grüße.html": "<h1>Grüße</h1>\n", "->latest": "pages/grüße.html"}),
        ("Say who we are", {"pages/about.html": "<p>A farm.</p>\n"}),
        ("Shout", {"index.html": "<h1>Hello!</h1>\n"}),
    ],
    PRIVATE: [
        ("Start the service", {"README.md": "# api\n", "app.py": "def answer():\n    return 41\n"}),
        (
            "Test the answer",
            {"test_app.py": "from app import answer\n\n\ndef test_answer():\n    assert answer() == 42\n"},
        ),
        ("Correct the answer", {"app.py": "def answer():\n    return 42\n"}),
        ("Describe the service", {"docs/api.md": "answer() gives the answer.\n"}),
    ],
}
# Names for commits of `web`, counted from its first.
WEB_REFS = {"refs/tags/v1": 2, "refs/tags/v2": 4, "refs/heads/next": 5}


@dataclass(frozen=True)
class GitServer:
    """Where to clone from, and with what."""

    host: Host

    def http_url(self, repository: str) -> str:
        return f"http://{self.host.address}:{HTTP_PORT}/{repository}.git"

    def ssh_url(self, repository: str) -> str:
        return f"git@{self.host.address}:{repository}.git"

    @property
    def token_file(self) -> Path:
        """The token that opens `api` over http, as the password of any user."""
        return self.host.state / "git_token"

    @property
    def key(self) -> Path:
        """The private key that opens every repository over ssh."""
        return self.host.state / "git_ed25519"

    @property
    def known_hosts(self) -> Path:
        return self.host.known_hosts

    def head(self, repository: str, ref: str = "main") -> str:
        """The commit that a name stands for on the server."""
        return self.host.inside("git", "-C", f"/srv/git/{repository}.git", "rev-parse", "--verify", f"{ref}^{{commit}}")

    def prepare(self) -> None:
        """Put repositories, token and key in their places."""
        if not self.key.exists():
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab git", "-f", self.key])
            self.token_file.touch(mode=0o600)
            self.token_file.write_text(secrets.token_urlsafe(24))
        self.host.inside("tee", "/srv/lab/git-token", input=self.token_file.read_text())
        self.host.inside("tee", "/srv/git/.ssh/authorized_keys", input=Path(f"{self.key}.pub").read_text())
        for repository in HISTORIES:
            folder = f"/srv/git/{repository}.git"
            self.host.inside("git", "init", "--quiet", "--bare", "--initial-branch=main", folder)
            self.host.inside("git", "-C", folder, "fast-import", "--quiet", "--force", input=history(repository))
        self.host.inside("touch", f"/srv/git/{PUBLIC}.git/git-daemon-export-ok")
        self.host.inside("chown", "--recursive", "git:git", "/srv/git")


def history(repository: str) -> str:
    """A stream for `git fast-import` that gives the same commits, with the same ids, in every lab."""
    stream = ["feature done\n", "reset refs/heads/main\n\n"]
    for number, (message, files) in enumerate(HISTORIES[repository], start=1):
        stream.append(f"commit refs/heads/main\nmark :{number}\n")
        stream.append(f"committer {AUTHOR} {FIRST_SECOND + number * 3600} +0000\n{data(message)}")
        for name, content in files.items():
            mode = {"*": "100755", "-": "120000"}.get(name[0], "100644")
            stream.append(f"M {mode} inline {name.removeprefix('*').removeprefix('->')}\n{data(content)}")
    if repository == PUBLIC:
        stream += [f"reset {ref}\nfrom :{number}\n\n" for ref, number in WEB_REFS.items()]
    return "".join([*stream, "done\n"])


def data(text: str) -> str:
    return f"data {len(text.encode())}\n{text}\n"
