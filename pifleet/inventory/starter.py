"""Owns the text of the inventory that `pifleet init` writes: small, commented, valid as it stands.
It must not be filled in by code; an operator fills it in."""

TEXT = """\
# The inventory of a pifleet fleet. It is a plain Ansible inventory: groups, variable files, templates and vault work.
# Edit it, then:
#
#   pifleet doctor inventory.yml        checks this machine and every host, changes nothing
#   pifleet plan inventory.yml          shows what would be done
#   pifleet provision inventory.yml     does it; a second run changes nothing
all:
  vars:
    pifleet_fleet: acme                 # the fleet's name; what pifleet makes on the hosts is labelled with it
    # pifleet_known_hosts: known_hosts  # the hosts' ssh keys in a file beside this one, instead of your own

    # What holds where neither the developer nor the sandbox says otherwise. The nearest word wins; lists never merge.
    pifleet_defaults:
      pattern: docker
      model: dry                        # or several, pi starts with the first: [claude, dry]
      cpus: 2
      memory: 2g
      pids: 512
      egress: []                        # besides its model: hosts, "host:port", ".domain", pip, npm, apt

    # How pi reaches a model. Keys stay outside of sandboxes and of this file: {env: NAME}, {file: PATH} or
    # {command: [PROGRAM, ARGUMENT]}.
    pifleet_models:
      dry: {api: scripted}              # no key, no cost: plays a script that stands in the prompt
      claude:
        api: anthropic-messages         # or openai-completions, openai-responses
        base_url: https://api.anthropic.com
        key: {env: ANTHROPIC_API_KEY}
        models: [claude-sonnet-4-5]
        # proxy: "http://proxy.example.com:3128"    # on the way to the model; TLS goes through it end to end
        # ca: company.pem                           # the only authorities that are trusted for this model

    # What sandboxes get as /workspace/NAME. Credentials stay on the host; agents never push.
    pifleet_repos:
      web: {url: "https://git.example.com/acme/web.git", ref: main}
      # api: {url: "https://git.example.com/acme/api.git", ref: main, auth: {token: {env: GIT_TOKEN}}}
      # lib: {url: "git@git.example.com:acme/lib.git", ref: v2, auth: {ssh_key: {file: lib.key}}, known_hosts: hosts}

    pifleet_developers:
      ana: {repos: [web]}
      # bo:
      #   memory: 4g
      #   sandboxes:
      #     kernel: {repos: [api], cpus: 4}
      #     review: {repos: [web], host: farm-1, artifacts: ["web/dist/**"]}
  children:
    pifleet_docker:                     # hosts whose Docker engine runs sandboxes; one is installed where none answers
      hosts:
        farm-1: {ansible_host: 192.0.2.11, ansible_user: root}
        # here: {ansible_connection: local}
    # pifleet_openshell:                # hosts that get an OpenShell gateway, for pattern openshell; what they install
    #   hosts:                          # is said under vars: pifleet_openshell: {version: "0.0.111", packages: [...]},
    #     farm-3: {}                    # each package as {url: ..., sha256: ...} or {file: ..., sha256: ...}
"""
