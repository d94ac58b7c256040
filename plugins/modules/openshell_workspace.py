#!/usr/bin/python
"""Owns a developer's workspace on an OpenShell gateway: made, with the provider that holds the key and the route to it;
or without a key, once nobody is wanted in it. It must not touch a sandbox, and the key goes nowhere but into the
environment of the one command that stores it."""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import openshell, openshell_seen

DOCUMENTATION = """
module: openshell_workspace
short_description: A workspace with its provider and inference route
options:
  gateway: {description: "As openshell.gateway in a host's spec.", type: dict, required: true}
  workspace: {description: "As an entry of openshell.workspaces there; of one that was left the name is enough.",
              type: dict, required: true}
  left: {description: "Nobody is wanted in it any more.", type: bool, default: false}
  key: {description: "The provider's credential; where there is none the provider gets a word.", type: str, default: ""}
"""

# A provider has to have a credential, also one for a model that asks for none.
NO_KEY = "unused"


class Workspace:
    def __init__(self, client, wanted, key, check):
        self.client, self.wanted, self.key, self.check = client, wanted, key, check
        self.name, self.done = wanted["name"], []
        self.seen = openshell_seen.workspaces(client, [self.name]).get(self.name) or {"providers": {}, "route": None}

    def run(self):
        """On a gateway that others run, their workspaces are left alone; on one of ours, what has our name is ours."""
        fleet = self.wanted["labels"][openshell_seen.FLEET]
        if "phase" in self.seen and not self.client.gateway["own"] and self.seen["fleet"] != fleet:
            raise openshell.ShellError("the gateway has a workspace of this name that is not of fleet %s" % fleet)
        if "phase" not in self.seen:
            labels = ["%s=%s" % pair for pair in sorted(self.wanted["labels"].items())]
            options = [word for label in labels for word in ("--label", label)]
            self.act("workspace created", "workspace", "create", "--name", self.name, *options, scoped=False)
        provider = self.wanted["provider"]
        seen = self.seen["providers"].get(provider["name"])
        if seen and seen != {"type": provider["type"], "credential_keys": [provider["credential"]],
                             "config_keys": sorted(provider["config"])}:
            self.leave(provider["name"])
            seen = None
        if not seen:
            config = [word for pair in sorted(provider["config"].items()) for word in ("--config", "%s=%s" % pair)]
            self.act("provider created", "provider", "create", "--name", provider["name"], "--type", provider["type"],
                     "--credential", provider["credential"], *config,
                     env={provider["credential"]: self.key or NO_KEY})
        route = {"provider": provider["name"], "model": self.wanted["model"]}
        if self.seen["route"] != route:
            # The gateway would ask the model from the host, which may not know the name that sandboxes know.
            self.act("route set", "inference", "set", "--provider", provider["name"], "--model", self.wanted["model"],
                     "--no-verify")
        for name in self.ours():
            if name != provider["name"]:
                self.act("old provider removed", "provider", "delete", name)

    def lock(self):
        """Take the keys away; what is in the workspace's sandboxes stays."""
        for name in self.ours():
            self.leave(name)

    def ours(self):
        return [name for name in self.seen["providers"] if name.startswith(self.client.gateway["name"] + "-")]

    def leave(self, name):
        """Remove a provider; a route to it would keep it."""
        if (self.seen["route"] or {}).get("provider") == name:
            self.act("route removed", "inference", "delete")
            self.seen["route"] = None
        self.act("provider removed", "provider", "delete", name)

    def act(self, word, *words, env=None, scoped=True):
        self.done.append(word)
        if not self.check:
            self.client.call(*words, workspace=self.name if scoped else "", env=env)


def main():
    module = AnsibleModule(
        {
            "gateway": {"type": "dict", "required": True}, "workspace": {"type": "dict", "required": True},
            "key": {"type": "str", "default": "", "no_log": True}, "left": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    client = openshell.Client(module.params["gateway"])
    try:
        client.require()
        workspace = Workspace(client, module.params["workspace"], module.params["key"], module.check_mode)
        (workspace.lock if module.params["left"] else workspace.run)()
    except openshell.ShellError as error:
        module.fail_json(msg="%s: %s" % (module.params["workspace"]["name"], error))
    module.exit_json(changed=bool(workspace.done), done=workspace.done)


if __name__ == "__main__":
    main()
