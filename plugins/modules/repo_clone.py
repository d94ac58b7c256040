#!/usr/bin/python
"""Owns a repository's way into a workspace: cloned by a user of its own, handed over whole, without a credential.
It must not touch what is in a workspace already, and no git runs on anything a sandbox has written."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import paths

DOCUMENTATION = """
module: repo_clone
short_description: Clones a repository into a sandbox's workspace, once
options:
  name: {description: The folder in the workspace., type: str, required: true}
  url: {description: Where to clone from; holds no credential., type: str, required: true}
  ref: {description: A branch, tag or commit., type: str, required: true}
  known_hosts: {description: The host keys of an ssh URL's server., type: str, default: ""}
  token: {description: A token for an https URL., type: str, default: ""}
  ssh_key: {description: A private key for an ssh URL., type: str, default: ""}
  clones: {description: A folder of root's in which clones are made., type: str, required: true}
  sandbox: {description: The folder of the sandbox; O(name) lands in its C(workspace)., type: str, required: true}
  user: {description: The account that clones., type: str, required: true}
  uid: {description: Who gets the clone., type: int, required: true}
"""

LONGEST = 3600
TOOLS = "/usr/local/bin:/usr/bin:/bin"
# git asks for a name first; servers that take tokens take any.
ASKPASS = """#!/bin/sh
case "$1" in
Username*) echo git ;;
*) cat /proc/self/fd/%d ;;
esac
"""
CHATTER = ("Cloning into", "Please make sure", "and the repository exists", "hint:", "Warning: Permanently", "@")
CONFIG = """[safe]
\tdirectory = *
[core]
\thooksPath = /dev/null
[init]
\ttemplateDir =
[protocol]
\tallow = never
[protocol "{scheme}"]
\tallow = always
[http]
\tfollowRedirects = {redirects}
\tlowSpeedLimit = 100
\tlowSpeedTime = 120
[gc]
\tauto = 0
[advice]
\tdetachedHead = false
"""


class CloneError(Exception):
    """The repository did not arrive; the message says what git or ssh said."""


def scheme_of(url):
    """git's word for how a URL is fetched (git-clone(1), "GIT URLS")."""
    if "://" in url:
        return url.split("://", 1)[0]
    return "file" if url.startswith("/") else "ssh"


class Clone:
    """One clone in a folder of its own below `clones`, which root owns; git's user owns only what is inside `work`."""

    def __init__(self, asked):
        self.asked, self.scheme = asked, scheme_of(asked["url"])
        self.account = pwd.getpwnam(asked["user"])
        self.folder = tempfile.mkdtemp(prefix=asked["name"] + ".", dir=asked["clones"])
        os.chmod(self.folder, 0o711)  # noqa: S103  git's user must get to its own folder below
        self.work = os.path.join(self.folder, "work")
        os.mkdir(self.work, 0o700)
        os.chown(self.work, self.account.pw_uid, self.account.pw_gid)
        self.env = {
            "PATH": TOOLS, "HOME": self.work, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": self._file("gitconfig", self._config()),
        }
        self.passed, self.agent = (), None

    def __enter__(self):
        if self.asked["token"]:
            self._offer_token()
        if self.scheme == "ssh":
            self._prepare_ssh()
        return self

    def __exit__(self, *_):
        if self.agent:
            self.agent.terminate()
            self.agent.wait()
        for held in self.passed:
            os.close(held)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self):
        """Clone and check out; returns the commit. The tree is then in `work/repo`."""
        ref, tree = self.asked["ref"], os.path.join(self.work, "repo")
        self._git("clone", "--quiet", "--no-checkout", "--no-local", "--", self.asked["url"], tree)
        if self._known(tree, "refs/remotes/origin/" + ref):
            self._git("-C", tree, "checkout", "--quiet", "--track", "-B", ref, "refs/remotes/origin/" + ref)
        else:
            found = next((name for name in ("refs/tags/" + ref, ref) if self._known(tree, name)), "")
            if not found:
                raise CloneError("%s has no branch, tag or commit %r" % (self.asked["url"], ref))
            self._git("-C", tree, "checkout", "--quiet", "--detach", found + "^{commit}")
        return self._git("-C", tree, "rev-parse", "HEAD").strip()

    def hand_over(self):
        """Give the clone to the sandbox's user and move it into the workspace, where nothing may have its name."""
        held, workspace, work = None, None, paths.open_dir(self.work)
        try:
            os.fchown(work, 0, 0)  # from here on git's user cannot reach the tree any more
            held = paths.open_dir(os.path.join(self.work, "repo"))
            paths.chown_tree(held, self.asked["uid"], self.asked["uid"])
            workspace = paths.open_dir(os.path.join(self.asked["sandbox"], "workspace"))
            paths.rename_new(work, "repo", workspace, self.asked["name"])
        finally:
            for descriptor in (held, workspace, work):
                if descriptor is not None:
                    os.close(descriptor)

    def _config(self):
        redirects = "false" if self.asked["token"] else "initial"  # a token is for its own server only
        return CONFIG.format(scheme=self.scheme, redirects=redirects)

    def _offer_token(self):
        """git's question for the password is answered from an unnamed file in memory that its processes inherit."""
        held = os.memfd_create("credential", 0)
        os.write(held, self.asked["token"].encode())
        self.passed = (held,)
        self.env["GIT_ASKPASS"] = self._file("askpass", ASKPASS % held, 0o755)

    def _prepare_ssh(self):
        options = {
            "BatchMode": "yes", "ConnectTimeout": "20", "ServerAliveInterval": "20", "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self._file("known_hosts", self.asked["known_hosts"]),
            "GlobalKnownHostsFile": "/dev/null", "IdentityFile": "none", "IdentityAgent": "none",
        }
        if self.asked["ssh_key"]:
            options["IdentityAgent"] = self._start_agent()
        self.env["GIT_SSH_VARIANT"] = "ssh"
        self.env["GIT_SSH_COMMAND"] = "ssh -F /dev/null" + "".join(" -o %s=%s" % pair for pair in options.items())

    def _start_agent(self):
        path = os.path.join(self.work, "agent")
        self.agent = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, **self._as_user())
        end = time.monotonic() + 10
        while not os.path.exists(path):
            if time.monotonic() > end or self.agent.poll() is not None:
                raise CloneError("ssh-agent did not start")
            time.sleep(0.05)
        key = self.asked["ssh_key"].rstrip("\n") + "\n"
        added = subprocess.run(
            ["ssh-add", "-q", "-"], input=key, capture_output=True, text=True, timeout=30,
            **self._as_user(SSH_AUTH_SOCK=path),
        )
        if added.returncode:
            raise CloneError("the ssh key cannot be used (is it protected by a passphrase?)")
        return path

    def _file(self, name, content, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def _as_user(self, **more):
        plain = {"umask": 0o022, "env": {**self.env, **more}, "cwd": self.work, "start_new_session": True}
        if self.account.pw_uid == os.geteuid():
            return plain
        return {**plain, "user": self.account.pw_uid, "group": self.account.pw_gid, "extra_groups": []}

    def _git(self, *arguments):
        child = subprocess.Popen(
            ["git", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", pass_fds=self.passed, **self._as_user(),
        )
        try:
            out, err = child.communicate(timeout=LONGEST)
        except subprocess.TimeoutExpired:
            raise CloneError("git did not end within %d s" % LONGEST) from None
        finally:
            self._end_group(child)
        if child.returncode:
            raise CloneError(self._reason(err))
        return out

    @staticmethod
    def _end_group(child):
        """Nothing that git started may go on once it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()

    def _known(self, tree, name):
        try:
            self._git("-C", tree, "rev-parse", "--quiet", "--verify", name + "^{commit}")
        except CloneError:
            return False
        return True

    def _reason(self, text):
        """The lines in which git says why, without the credential, whatever the server sent back."""
        for secret in (self.asked["token"], self.asked["ssh_key"]):
            text = text.replace(secret, "********") if secret else text
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(CHATTER)]
        return "git: %s" % "; ".join(lines[:6] or ["it gave no reason"])


def present(sandbox, name):
    """Whether anything has this name in the workspace."""
    workspace = paths.open_dir(os.path.join(sandbox, "workspace"))
    try:
        os.lstat(name, dir_fd=workspace)
        return True
    except FileNotFoundError:
        return False
    finally:
        os.close(workspace)


def record(sandbox, name, entry):
    """Remember what a clone started from; written before the clone is visible, so that none is without."""
    path = os.path.join(sandbox, "repos.json")
    try:
        known = json.loads(paths.read_file(path) or b"{}")
    except ValueError:
        known = {}
    text = json.dumps({**known, name: entry}, indent=2, sort_keys=True) + "\n"
    paths.write_file(path, text.encode(), 0o644)


def main():
    text, secret = {"type": "str", "required": True}, {"type": "str", "default": "", "no_log": True}
    module = AnsibleModule(
        {
            "name": text, "url": text, "ref": text, "clones": text, "sandbox": text, "user": text, "token": secret,
            "ssh_key": secret, "known_hosts": {"type": "str", "default": ""}, "uid": {"type": "int", "required": True},
        },
        supports_check_mode=True,
    )
    asked = module.params
    entry = {"url": asked["url"], "ref": asked["ref"]}
    try:
        if any(asked[key].startswith("-") for key in ("name", "url", "ref")):
            raise CloneError("a name, URL or ref that is an option is refused")
        if present(asked["sandbox"], asked["name"]):
            module.exit_json(changed=False)
        diff = {"before": {}, "after": entry, "before_header": asked["name"], "after_header": asked["name"]}
        if module.check_mode:
            module.exit_json(changed=True, diff=diff)
        with Clone(asked) as clone:
            base = clone.run()
            record(asked["sandbox"], asked["name"], {**entry, "base": base})
            clone.hand_over()
    except (CloneError, paths.PathError, OSError, RecursionError, KeyError, subprocess.SubprocessError) as error:
        module.fail_json(msg="%s: %s" % (asked["name"], error))
    module.exit_json(changed=True, base=base, diff=diff)


if __name__ == "__main__":
    main()
