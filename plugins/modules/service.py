#!/usr/bin/python
"""Owns bringing the services of pifleet to run on a host, as defined, with what they were told last.
It must not know what a service does; an answer on a socket is all it asks of it."""

import http.client
import socket
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pifleet.fleet.plugins.module_utils import processes, services

DOCUMENTATION = """
module: service
short_description: Keeps processes running, with systemd and without
description:
  - Defines, enables and starts each service, and restarts it when its definition changed.
  - A service that began before the last change of what it reads is told so, or restarted where nothing tells it.
  - Services with O(answers) must answer on each socket as told, else they are restarted, the last one first.
options:
  services:
    description: Entries with O(services[].name), O(services[].argv), O(services[].user), O(services[].reads), files of
      which it knows what stood in them when it began, and O(services[].reload), the signal by which it reads them anew.
    type: list
    elements: dict
    default: []
  reload:
    description: Whether files changed that those with a signal read, as far as no process tells by its age.
    type: bool
    default: false
  answers:
    description: Entries with O(answers[].path), a unix socket, what to GET there (O(answers[].ask)) and the
      O(answers[].answer) expected from the last of O(services).
    type: list
    elements: dict
    default: []
  others:
    description: The prefix of names of which only those in O(services) may be; the rest is stopped and forgotten.
    type: str
    default: ""
  absent:
    description: Entries as in O(services) that are stopped and forgotten.
    type: list
    elements: dict
    default: []
"""

SECONDS_TO_ANSWER = 10
AS_WANTED = {"running": True, "enabled": True, "defined": True, "current": True}


class UnixConnection(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def answer(path, ask):
    """What a socket answers when it is asked for `ask`, its health; the reason in words where it does not."""
    connection = UnixConnection(path, timeout=2)
    try:
        connection.request("GET", ask, headers={"Host": "pifleet"})
        return connection.getresponse().read(256).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return "%s: %s" % (type(error).__name__, error)
    finally:
        connection.close()


def wrong(service, answers, patience=0.0):
    """What of a service is not as it should be within `patience` s, as a sentence; empty when nothing is.

    It may go on with files that it read before, or be silent on a socket.
    """
    end = time.monotonic() + patience
    while not services.observe(service)["current"]:
        if time.monotonic() >= end:
            return "it goes on with what stood in its files before"
        time.sleep(0.1)
    for entry in answers:
        said = answer(entry["path"], entry["ask"])
        while said != entry["answer"] and time.monotonic() < end:
            time.sleep(0.1)
            said = answer(entry["path"], entry["ask"])
        if said != entry["answer"]:
            return "%s answered %r instead of %r" % (entry["path"], said, entry["answer"])
    return ""


class Run:
    def __init__(self, check, reload):
        self.check, self.reload, self.way, self.done = check, reload, services.kept(), []

    def act(self, verb, service):
        self.done.append("%s %s" % (verb, service["name"]))
        if not self.check:
            getattr(self.way, verb)(service)

    def keep(self, service):
        """Bring one service to run as defined."""
        seen = services.observe(service)
        if not seen["defined"]:
            self.act("define", service)
        if seen != {**AS_WANTED, "current": seen["current"]}:
            self.act("start", service)
        elif service["reload"]:
            if self.reload or not seen["current"]:
                self.act("reload", service)
        elif not seen["current"]:
            self.restart(service)

    def restart(self, service):
        self.act("stop", service)
        self.act("start", service)

    def prove(self, definitions, answers):
        """Restart the last service if it does not answer, then all; raises ServiceError when it still does not."""
        last = definitions[-1]
        trouble = wrong(last, answers, SECONDS_TO_ANSWER if self.done and not self.check else 0)
        for suspects in (definitions[-1:], definitions):
            if not trouble:
                return
            for service in suspects:
                self.restart(service)
            trouble = "" if self.check else wrong(last, answers, SECONDS_TO_ANSWER)
        if trouble:
            raise processes.ServiceError("%s runs, but %s" % (last["name"], trouble))


def main():
    entries = {"type": "list", "elements": "dict", "default": []}
    module = AnsibleModule(
        {"services": entries, "answers": entries, "absent": entries, "others": {"default": ""},
         "reload": {"type": "bool", "default": False}},
        supports_check_mode=True,
    )
    asked = module.params
    run = Run(module.check_mode, asked["reload"])
    try:
        for service in asked["services"]:
            run.keep(service)
        if asked["answers"]:
            run.prove(asked["services"], asked["answers"])
        others = services.others(asked["others"], [service["name"] for service in asked["services"]])
        for service in asked["absent"] + [{"name": name} for name in others]:
            if run.way.known(service):
                run.act("remove", service)
    except (processes.ServiceError, OSError) as error:
        module.fail_json(msg=str(error), done=run.done)
    module.exit_json(changed=bool(run.done), done=run.done)


if __name__ == "__main__":
    main()
