"""The test double's supervisor starts here, as root, first process of a sandbox's container.

Owns the order of things: identity, workspace, network, the gateway's word, the main process; its end is ours.
"""

import asyncio
import json
import os
import signal
import sys
import time

from . import network
from .identity import Refused, identity, workspace
from .processes import Processes
from .requests import Requests

RUN = "/run/openshell-double"
HIDDEN = [RUN, "/opt/openshell/host", "/opt/openshell/python",
          "/opt/openshell/bin/openshell-sandbox"]


def log(level: str, text: str) -> None:
    """One line of the container's log; the last one says why a sandbox failed."""
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
    print(f"{stamp}Z {level} openshell_sandbox: {text}", file=sys.stderr, flush=True)


async def live(workdir: str) -> int:
    # A stopping engine waits in vain, as it does for the real one. A handler, for SIG_IGN would be inherited.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)
    who = identity(os.environ.get("OPENSHELL_OCI_IMAGE_USER", ""), workdir)
    workspace(workdir, who)
    processes = Processes(who, network.make(), HIDDEN)
    requests = Requests(processes, json.loads(os.environ["OPENSHELL_MAIN_PROCESS_SPEC"]), log)
    server = await asyncio.start_unix_server(requests.serve, f"{RUN}/supervisor.sock", limit=1 << 24)
    os.chmod(f"{RUN}/supervisor.sock", 0o666)
    listening = server, await requests.proxy.listen()
    code = await requests.main_ended
    for one in listening:
        one.close()  # nobody waits for its connections: the gateway holds one for as long as we live
    return code


def main() -> int:
    workdir = sys.argv[sys.argv.index("--workdir") + 1]
    try:
        return asyncio.run(live(workdir))
    except (Refused, OSError) as reason:
        print(f"Error:   x {reason}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
