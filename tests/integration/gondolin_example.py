"""Owns pi's own example extension, as somebody installs it by hand on a host of pattern gondolin (docs/gondolin.md).
It must not know what is done with it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.integration.micro_farm import Micro

USER, HOME = "ops", "/home/ops"
# Only npm's trust in the site's own authorities is the site's matter, and not of the host.
_INSTALL = """
set -eu
mkdir -p ~/.pi/agent/extensions ~/.cache/gondolin ~/project
echo cafile=/etc/ssl/certs/ca-certificates.crt > ~/.npmrc
cp -R "$0"/node_modules/@earendil-works/pi-coding-agent/examples/extensions/gondolin ~/.pi/agent/extensions/
cp -r --sparse=always "$0"/images ~/.cache/gondolin/images
cat > ~/.pi/agent/models.json
cd ~/.pi/agent/extensions/gondolin
npm install --ignore-scripts --no-audit --no-fund
"""


def install(farm: Micro) -> None:
    models = {"providers": {"lab": {"baseUrl": farm.lab.model.url, "api": "anthropic-messages", "apiKey": "any",
                                    "models": [{"id": "lab-1"}]}}}
    # As distributions have it. Gondolin takes one that opens for one that works, and no variable would tell it.
    farm.sh("[ ! -e /dev/kvm ] || chmod 660 /dev/kvm")
    farm.host.inside(*as_user(farm, "sh", "-c", _INSTALL, farm.runtime()), input=json.dumps(models))


def as_user(farm: Micro, *words: str) -> Sequence[str]:
    """`words` as the user who has the extension, with pi on the path and no variable set besides."""
    path = f"{farm.runtime()}/bin:{farm.runtime()}/node_modules/.bin:/usr/bin:/bin"
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "env", "-i", f"HOME={HOME}",
            f"PATH={path}", *words]


def pi(farm: Micro, project: str, *words: str) -> Sequence[str]:
    """pi with the extension in a folder of the user's, as the extension's own words have it."""
    return as_user(farm, "env", f"--chdir={HOME}/{project}", "pi", "-e", f"{HOME}/.pi/agent/extensions/gondolin",
                   "--provider", "lab", "--model", "lab-1", *words)
