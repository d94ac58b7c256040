"""Owns the verb pull.
It must not know how work comes home."""

from __future__ import annotations

from pifleet.cli.act import each_of, some
from pifleet.cli.call import Call, verb
from pifleet.cli.home import failed, puller, pulls_of, show_pulls
from pifleet.report import document, exit_code


@verb()
@some
def command(call: Call, names: tuple[str, ...]) -> int:
    """Download results: commits, changes, artifacts, session logs.

    Each pull that finds something new makes one verified generation under the results folder; of all sandboxes when
    none is named. Exits 1 when something of a sandbox is not at home.
    """
    pulls = pulls_of(each_of(call, call.sandboxes(names), puller(call.fleet), stage="pull"))
    show_pulls(call.output, pulls)
    if not pulls:
        call.output.say("no sandbox is selected")
    call.output.document(document("pull", pulls=[one.as_json() for one in pulls]))
    return exit_code(failed=failed(pulls))
