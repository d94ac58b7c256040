#!/usr/bin/python
"""Owns what a gateway and its client need to know each other: certificates made once and kept, the client's copies.
It must not make certificates anew where a bundle is kept: everything that was ever handed out would be worthless."""

import os
import pwd
import subprocess
import tempfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import openshell, paths
from ansible_collections.pifleet.fleet.plugins.module_utils import openshell_trust as trust

DOCUMENTATION = """
module: openshell_client
short_description: Register an OpenShell gateway with the client that pifleet calls it with
options:
  gateway: {description: "As openshell.gateway in a host's spec.", type: dict, required: true}
  answers: {description: "Wait until the gateway answers, and refuse another version.", type: bool, default: false}
"""

NAME_OF_SANDBOXES = "host.openshell.internal"
SECONDS_TO_ANSWER = 40


def as_user(name):
    account = pwd.getpwnam(name)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def certify(gateway):
    """Have the bundle that is kept in its place, and one that is kept; says what was done."""
    kept, place = trust.bundle(gateway["kept"]), trust.folder(gateway)
    if len(kept) == len(trust.BUNDLE):
        account = pwd.getpwnam(gateway["user"])
        lay(kept, place, gateway["state"], account.pw_uid, account.pw_gid)
        return "put certificates back"
    done = "kept certificates"
    if len(trust.bundle(place)) < len(trust.BUNDLE):
        make_certificates(gateway, place)
        done = "made certificates"
    lay(trust.bundle(place), gateway["kept"], gateway["kept"], 0, 0)
    return done


def lay(bundle, place, above, uid, gid):
    """Write a bundle into a folder, making what is missing below `above`, which is there."""
    for name, content in bundle.items():
        path = os.path.join(place, name)
        made = above
        for part in os.path.relpath(os.path.dirname(path), above).split("/"):
            made = os.path.normpath(os.path.join(made, part))
            paths.make_dir(made, 0o700, uid, gid)
        paths.write_file(path, content, 0o600, uid, gid)


def make_certificates(gateway, folder):
    """One bundle with every name that is ever needed: a name added later would make all of it anew."""
    state = gateway["state"]
    if os.path.lexists(folder):  # in part, which the gateway refuses
        os.rename(folder, tempfile.mkdtemp(prefix="tls-broken-", dir=os.path.dirname(folder)))
    done = subprocess.run(
        [os.path.join(gateway["bin"], "openshell-gateway"), "generate-certs", "--output-dir", folder,
         "--server-san", NAME_OF_SANDBOXES],
        capture_output=True, stdin=subprocess.DEVNULL, cwd=state, umask=0o077, **as_user(gateway["user"]),
        env={"HOME": state, "XDG_STATE_HOME": state + "/state", "XDG_CONFIG_HOME": state + "/config",
             "PATH": gateway["bin"] + ":/usr/bin:/bin"},
    )
    if done.returncode:
        raise openshell.ShellError("the certificates were not made: %s" % openshell.said(done.stderr))


def register(gateway):
    """Give the client its files."""
    account = pwd.getpwnam(gateway["client_user"])
    folder, metadata = trust.registration(gateway)
    made = gateway["client"]
    for part in [*os.path.relpath(folder, made).split("/"), "mtls"]:
        made = os.path.join(made, part)
        paths.make_dir(made, 0o700, account.pw_uid, account.pw_gid)
    for name, source in gateway["trust"].items():
        content = paths.read_file(source)
        if content is None:
            raise openshell.ShellError("%s is missing" % source)
        paths.write_file(os.path.join(made, name), content, 0o600, account.pw_uid, account.pw_gid)
    paths.write_file(os.path.join(folder, "metadata.json"), metadata.encode(), 0o600, account.pw_uid, account.pw_gid)


def main():
    module = AnsibleModule(
        {"gateway": {"type": "dict", "required": True}, "answers": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    gateway, done = module.params["gateway"], []
    try:
        if gateway["own"] and not trust.certificates(gateway):
            done.append("would have certificates" if module.check_mode else certify(gateway))
        if done or not trust.registered(gateway):
            done.append("registered")
            if not module.check_mode:
                register(gateway)
        if module.params["answers"]:
            openshell.Client(gateway).settle(SECONDS_TO_ANSWER)
    except (openshell.ShellError, paths.PathError, OSError, KeyError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(done), done=done)


if __name__ == "__main__":
    main()
