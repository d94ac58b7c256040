"""Owns reaching what is left in an OpenShell sandbox in phase Error: a closed copy of its container, for reading.
It must not change the sandbox. The copy has no network, no capability and nothing of a gateway."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from pifleet.connection import Link
from pifleet.errors import SandboxFailed
from pifleet.fleet import Sandbox
from pifleet.patterns.openshell.desired import SANDBOX_UID

SECONDS = 600
LABEL = "openshell.ai/sandbox-"
PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Copy:
    """A container made from the files of another one."""

    container: str
    image: str

    @classmethod
    def of(cls, link: Link, sandbox: Sandbox, sandbox_id: str) -> Self:
        """Make it; by the sandbox's name where its gateway knows no id.

        Raises SandboxFailed where there is nothing to copy, HostFailed.
        """
        labels = {"id": sandbox_id} if sandbox_id else {"workspace": sandbox.workspace, "name": sandbox.id}
        copy = cls(f"pifleet-rescue-{sandbox.id}", f"pifleet/rescue:{sandbox.id}")
        copy.remove(link)  # one that an earlier run left behind
        wanted = [word for name, value in labels.items() for word in ("--filter", f"label={LABEL}{name}={value}")]
        listed = link.run(["docker", "ps", "--all", "--quiet", *wanted])
        there = listed.stdout.decode().split()
        if len(there) != 1:
            raise SandboxFailed(f"{sandbox.title} is in phase Error and has no container that could be copied",
                                saw=f"{len(there)} containers of {labels}")
        owner = f"{SANDBOX_UID}:{SANDBOX_UID}"
        steps = (
            ["commit", "--pause=false", "--change", 'ENTRYPOINT ["sleep", "infinity"]', "--change", "CMD []", "--",
             there[0], copy.image],
            # The copy has the labels of what it is a copy of, and would be taken for a sandbox of the gateway.
            ["run", "--detach", "--name", copy.container, "--label", f"{LABEL}namespace=rescue", "--network", "none",
             "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", owner, "--pids-limit", "512",
             "--memory", "2g", "--", copy.image],
        )
        for step in steps:
            done = link.run(["docker", *step], timeout=SECONDS)
            if done.code:
                copy.remove(link)
                raise SandboxFailed(f"{sandbox.title} could not be copied", saw=done.stderr.decode(errors="replace"))
        return copy

    def argv(self, argv: Sequence[str], workdir: str) -> list[str]:
        """What root starts on the host to run `argv` in the copy, without the environment that was copied too."""
        return [
            "docker", "exec", "--interactive", "--workdir", workdir, "--", self.container, "env", "-i", f"PATH={PATH}",
            "HOME=/home/pi", "PI_CODING_AGENT_DIR=/home/pi/.pi/agent", "LANG=C.UTF-8", *argv,
        ]

    def remove(self, link: Link) -> None:
        """Remove it, if it is there."""
        link.run(["docker", "rm", "--force", "--", self.container])
        link.run(["docker", "rmi", "--force", "--", self.image])
