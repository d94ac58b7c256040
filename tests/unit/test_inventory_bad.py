"""Every mistake in an inventory is told with its place, what was seen and what would be right, word for word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pifleet.errors import BadInput
from pifleet.fleet import developer_uid
from pifleet.inventory import hostvars, load, rules, schema
from tests.unit.inventories import ABSENT, fleet, written

NAME16 = "use lower-case letters, digits and hyphens, a letter first, at most 16 characters"
NAME32 = "use lower-case letters, digits and hyphens, a letter first, at most 32 characters"
HOST = "use letters, digits, dots, hyphens and underscores, no hyphen first"
SIZE = 'use a size such as "2g" or "512m", at least "64m"'
CPUS = "use a number of cores from 0.1 to 512"
PIDS = "use a whole number of processes from 64 to 4194304"
OUTSIDE = "keep it outside: {env: NAME}, {file: PATH} or {command: [PROGRAM, ...]}"
GIT = "use https://HOST/PATH, ssh://USER@HOST/PATH, USER@HOST:PATH or an absolute path, without a password"
REF = "use a branch, tag or commit by git's rules for names, not starting with a hyphen"
HTTP = "use http(s)://HOST/PATH without a user, a password or a query"
PUBLIC = "use one line of a public key file: TYPE BASE64 COMMENT"
SSH = "remove it; pifleet honours ProxyJump, ProxyCommand and UserKnownHostsFile"
PIN = "use a whole version in quotes, such as \"1.2.3\""
NO_CLUSTER = "no host offers it; put one into group pifleet_clusters"
FORMS = 'use "host", "host:port", ".domain", {to: "host:port", private: true} or the name of a set'
PATH = "use a path without control characters, not starting with a hyphen"
GLOB = 'use a pattern inside the workspace, such as "web/dist/**"'
SSH_URL = "git@git.example.com:acme/web.git"
KNOWN = len(schema.Variables.model_fields) + len(schema.HOST_VARIABLES)
PASTED = "sk-ant-0123456789"  # stands for a secret that was pasted into the inventory

# Each row: what is changed in a good inventory, and all that is said about it.
Row = tuple[str, dict[str, Any], list[str]]
ROWS: list[Row] = [
    ("an unknown variable", {"vars/pifleet_develpers": {}},
     ["pifleet_develpers: saw an unknown key; did you mean pifleet_developers?"]),
    ("an unknown variable unlike any other", {"vars/pifleet_qqq": 1},
     [f"pifleet_qqq: saw an unknown key; none of the {KNOWN} known ones is like it"]),
    ("an unknown key of a developer", {"developers/ana/memry": "2g"},
     ["pifleet_developers.ana.memry: saw an unknown key; did you mean memory?"]),
    ("an unknown key of a sandbox", {"developers/cy/sandboxes/kernel/ssh_keys": []},
     ["pifleet_developers.cy.sandboxes.kernel.ssh_keys: saw an unknown key; use pattern, model, cpus, memory, pids, "
      "requests_at_once, requests_per_minute, egress, repos, host or artifacts"]),
    ("an unknown key of the defaults", {"defaults/repos": ["web"]},
     ["pifleet_defaults.repos: saw an unknown key; use pattern, model, cpus, memory, pids, requests_at_once, "
      "requests_per_minute or egress"]),
    ("a pull limit that there is none of", {"vars/pifleet_pull_limits": {"cpu": 1}},
     ["pifleet_pull_limits.cpu: saw an unknown key; use files, file, unpacked, wire, refs, idle, total, ignored_files "
      "or ignored_bytes"]),
    ("pull limits without a unit, and of no time",
     {"vars/pifleet_pull_limits": {"file": 7, "idle": 0, "files": True}},
     ["pifleet_pull_limits.files: saw true; use a whole number from 1 to 50000000",
      'pifleet_pull_limits.file: saw 7; use a size such as "8g" or "512m"',
      "pifleet_pull_limits.idle: saw 0; use a whole number of seconds from 1 to 86400"]),
    ("no fleet name", {"fleet": ABSENT}, ["pifleet_fleet: saw nothing; it is required: the fleet's name"]),
    ("no developers", {"developers": ABSENT},
     ["pifleet_developers: saw nothing; it is required: developers by name, or {}"]),
    ("developers as a list", {"developers": ["ana"]}, ["pifleet_developers: saw a list; use a mapping"]),
    ("a fleet name with a shell's characters", {"fleet": "a;reboot"}, [f'pifleet_fleet: saw "a;reboot"; {NAME32}']),
    ("a fleet name that is a number", {"fleet": 7}, [f"pifleet_fleet: saw 7; {NAME32}"]),
    ("a developer's name with upper case", {"developers/Ana": {}}, [f'pifleet_developers.Ana: saw "Ana"; {NAME16}']),
    ("a developer's name that YAML reads as no", {"developers": "{{ {false: {}} }}"},
     [f"pifleet_developers.False: saw false; {NAME16}"]),
    ("a developer's name that is too long", {"developers/abcdefghijklmnopq": {}},
     [f'pifleet_developers.abcdefghijklmnopq: saw "abcdefghijklmnopq"; {NAME16}']),
    ("a developer's name with a line end", {"developers/an\na": {}},
     [f'pifleet_developers."an\\na": saw "an\\na"; {NAME16}']),
    ("a developer's name that is an option", {"developers/-rf": {}},
     [f'pifleet_developers."-rf": saw "-rf"; {NAME16}']),
    ("a sandbox's name that climbs", {"developers": {"cy": {"sandboxes": {"../x": {}}}}},
     [f'pifleet_developers.cy.sandboxes."../x": saw "../x"; {NAME32}']),
    ("a repository's name with a space", {"repos/a b": {"url": "/srv/a.git", "ref": "main"}},
     [f'pifleet_repos."a b": saw "a b"; {NAME32}']),
    ("a model's name with a dot", {"models/gpt.x": {"api": "scripted"}},
     [f'pifleet_models."gpt.x": saw "gpt.x"; {NAME32}']),
    ("a misspelt pattern", {"developers/ana/pattern": "dcoker"},
     ['pifleet_developers.ana.pattern: saw "dcoker"; did you mean docker?']),
    ("a pattern that no group offers", {"developers/ana/pattern": "pod"},
     [f'pifleet_developers.ana.pattern: saw "pod"; {NO_CLUSTER}']),
    ("too little memory for a micro-VM",
     {"groups/pifleet_gondolin": {"hosts": {"farm-2": {}}}, "developers/ana/pattern": "gondolin",
      "developers/ana/memory": "900m"},
     ["pifleet_developers.ana.sandboxes.main.memory: saw 900 MiB; "
      "pattern gondolin needs 1g or more, which is for pi and its micro-VM"]),
    ("pods by default", {"defaults/pattern": "pod"}, [f'pifleet_defaults.pattern: saw "pod"; {NO_CLUSTER}']),
    ("a pattern that no host offers", {"groups": {"pifleet_gondolin": {"hosts": {"farm-1": {}}}}},
     ['pifleet_defaults.pattern: saw "docker"; no host offers it; put one into group pifleet_docker']),
    ("an unnamed pattern that no host offers",
     {"defaults/pattern": ABSENT, "groups": {"pifleet_clusters": {"hosts": {"prod": {}}}}},
     ['pifleet_defaults.pattern: saw "docker"; no host offers it; put one into group pifleet_docker']),
    ("an undefined repository", {"developers/ana/repos": ["wbe"]},
     ['pifleet_developers.ana.repos: saw "wbe"; did you mean web?']),
    ("an undefined repository of a sandbox", {"developers/cy/sandboxes/kernel/repos": ["linux"]},
     ['pifleet_developers.cy.sandboxes.kernel.repos: saw "linux"; use web or api']),
    ("a repository twice", {"developers/ana/repos": ["web", "web"]},
     ['pifleet_developers.ana.repos: saw "web" more than once; list it once']),
    ("repositories that are no list", {"developers/ana/repos": "web"},
     ["pifleet_developers.ana.repos: saw \"web\"; use a list"]),
    ("an undefined model", {"developers/ana/model": "cluade"},
     ['pifleet_developers.ana.model: saw "cluade"; did you mean claude?']),
    ("an undefined default model, said once", {"defaults/model": "gpt"},
     ['pifleet_defaults.model: saw "gpt"; use dry or claude']),
    ("no model anywhere", {"defaults/model": ABSENT, "developers": {"ana": {}}},
     ["pifleet_developers.ana.model: saw nothing; name one here or in pifleet_defaults"]),
    ("repositories beside sandboxes", {"developers/cy/repos": ["web"]},
     ["pifleet_developers.cy.repos: saw repos beside sandboxes; move it into the sandboxes"]),
    ("artifacts beside sandboxes", {"developers/cy/artifacts": ["dist/**"]},
     ["pifleet_developers.cy.artifacts: saw artifacts beside sandboxes; move it into the sandboxes"]),
    ("a literal key", {"models/claude/key": PASTED},
     [f"pifleet_models.claude.key: saw a value that is not shown; {OUTSIDE}"]),
    ("a literal key where a variable's name belongs", {"models/claude/key": {"env": PASTED}},
     ["pifleet_models.claude.key.env: saw a value that is not shown; use the name of an environment variable"]),
    ("a literal key under a key of its own", {"models/claude/key": {"value": PASTED}},
     ["pifleet_models.claude.key.value: saw an unknown key; use env, file or command"]),
    ("a key from two places", {"models/claude/key": {"env": "KEY", "file": "key"}},
     [f"pifleet_models.claude.key: saw a value that is not shown; {OUTSIDE}"]),
    ("a key from an empty command", {"models/claude/key": {"command": []}},
     ["pifleet_models.claude.key.command: saw a value that is not shown; put something into the list"]),
    ("a literal token", {"repos/api/auth": {"token": PASTED}},
     [f"pifleet_repos.api.auth.token: saw a value that is not shown; {OUTSIDE}"]),
    ("a private key among the public ones",
     {"developers/ana/ssh_keys": ["-----BEGIN OPENSSH PRIVATE KEY-----"]},
     [f"pifleet_developers.ana.ssh_keys.0: saw a value that is not shown; {PUBLIC}"]),
    ("a public key with options", {"developers/ana/ssh_keys": ['command="sh" ssh-ed25519 AAAA']},
     [f'pifleet_developers.ana.ssh_keys.0: saw "command=\\"sh\\" ssh-ed25519 AAAA"; {PUBLIC}']),
    ("a public key whose body is of another type",
     {"developers/ana/ssh_keys": ["ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA=="]},
     [f'pifleet_developers.ana.ssh_keys.0: saw "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA=="; {PUBLIC}']),
    ("two public keys in one", {"developers/ana/ssh_keys": ["ssh-ed25519 AAAA a\nssh-ed25519 AAAA b"]},
     [f'pifleet_developers.ana.ssh_keys.0: saw "ssh-ed25519 AAAA a\\nssh-ed25519 AAAA b"; {PUBLIC}']),
    ("a size without a unit", {"developers/ana/memory": "2"}, [f'pifleet_developers.ana.memory: saw "2"; {SIZE}']),
    ("a size in words", {"developers/cy/sandboxes/kernel/memory": "lots"},
     [f'pifleet_developers.cy.sandboxes.kernel.memory: saw "lots"; {SIZE}']),
    ("a size that is a number", {"defaults/memory": 4}, [f"pifleet_defaults.memory: saw 4; {SIZE}"]),
    ("no memory", {"defaults/memory": "0g"}, [f'pifleet_defaults.memory: saw "0g"; {SIZE}']),
    ("too little memory", {"defaults/memory": "63m"}, [f'pifleet_defaults.memory: saw "63m"; {SIZE}']),
    ("negative memory", {"defaults/memory": "-1g"}, [f'pifleet_defaults.memory: saw "-1g"; {SIZE}']),
    ("no processor", {"defaults/cpus": 0}, [f"pifleet_defaults.cpus: saw 0; {CPUS}"]),
    ("processors as text", {"defaults/cpus": "two"}, [f'pifleet_defaults.cpus: saw "two"; {CPUS}']),
    ("processors as truth", {"defaults/cpus": True}, [f"pifleet_defaults.cpus: saw true; {CPUS}"]),
    ("too few processes", {"defaults/pids": 8}, [f"pifleet_defaults.pids: saw 8; {PIDS}"]),
    ("half a process", {"defaults/pids": 512.5}, [f"pifleet_defaults.pids: saw 512.5; {PIDS}"]),
    ("egress in words", {"defaults/egress": "none"}, ['pifleet_defaults.egress: saw "none"; use a list']),
    ("egress to addresses of pages", {"defaults/egress": ["https://x.example.com/a", "x.example.com/a", "/etc"]},
     ['pifleet_defaults.egress.0: saw "https://x.example.com/a"; a name has no path; write "x.example.com"',
      'pifleet_defaults.egress.1: saw "x.example.com/a"; a name has no path; write "x.example.com"',
      f'pifleet_defaults.egress.2: saw "/etc"; {FORMS}']),
    ("egress to names that are none",
     {"developers/ana/egress": ["*.example.com", ".com", "a b.com", "x_.-.com", "", 7, "a.com;allow all", "é.com"]},
     ['pifleet_developers.ana.egress.0: saw "*.example.com"; write ".example.com" for a domain with everything below '
      "it",
      'pifleet_developers.ana.egress.1: saw ".com"; a whole top-level domain is too wide; name a domain below it',
      f'pifleet_developers.ana.egress.2: saw "a b.com"; {FORMS}',
      f'pifleet_developers.ana.egress.3: saw "x_.-.com"; {FORMS}',
      f"pifleet_developers.ana.egress.4: saw nothing; {FORMS}",
      f"pifleet_developers.ana.egress.5: saw 7; {FORMS}",
      f'pifleet_developers.ana.egress.6: saw "a.com;allow all"; {FORMS}',
      f'pifleet_developers.ana.egress.7: saw "\\u00e9.com"; {FORMS}']),
    ("egress to ports that are none", {"developers/ana/egress": ["a.com:0", "a.com:65536", "a.com:", "a.com:https"]},
     [f'pifleet_developers.ana.egress.{number}: saw "{entry}"; use a port from 1 to 65535'
      for number, entry in enumerate(["a.com:0", "a.com:65536", "a.com:", "a.com:https"])]),
    ("egress to the host itself", {"developers/ana/egress": ["localhost", "127.0.0.1:80", "x.localhost", "::1"]},
     ['pifleet_developers.ana.egress.0: saw "localhost"; a sandbox never reaches its host; put the service where '
      "it has an address of its own",
      'pifleet_developers.ana.egress.1: saw "127.0.0.1:80"; a sandbox never reaches loopback or multicast addresses',
      'pifleet_developers.ana.egress.2: saw "x.localhost"; a sandbox never reaches its host; put the service where '
      "it has an address of its own",
      'pifleet_developers.ana.egress.3: saw "::1"; an IPv6 address cannot be listed; use a name']),
    ("egress to addresses",
     {"developers/ana/egress": ["10.1.2.3", "169.254.169.254:80", "2130706433:80", "0x7f.1:80"]},
     ['pifleet_developers.ana.egress.0: saw "10.1.2.3"; a private address; write {to: "10.1.2.3:PORT", '
      "private: true}",
      'pifleet_developers.ana.egress.1: saw "169.254.169.254:80"; a private address; write '
      '{to: "169.254.169.254:PORT", private: true}',
      'pifleet_developers.ana.egress.2: saw "2130706433:80"; use a name, or an IPv4 address as four numbers',
      'pifleet_developers.ana.egress.3: saw "0x7f.1:80"; use a name, or an IPv4 address as four numbers']),
    ("egress in mappings", {"developers/ana/egress": [{"to": "git.lan:443", "privat": True}, {"private": True},
                                                      {"to": "git.lan", "private": "yes"}]},
     ['pifleet_developers.ana.egress.0: saw a mapping; use {to: "host:port"} with private: true, clone: true or '
      "both, and no other key",
      f"pifleet_developers.ana.egress.1: saw a mapping; {FORMS}",
      'pifleet_developers.ana.egress.2: saw a mapping; use {to: "host:port"} with private: true, clone: true or '
      "both, and no other key"]),
    ("egress to a set that is none", {"developers/cy/sandboxes/kernel/egress": ["pop"]},
     ['pifleet_developers.cy.sandboxes.kernel.egress.0: saw "pop"; write a host without a domain as "pop:443"; '
      "for a set, did you mean pip?"]),
    ("egress sets", {"vars/pifleet_egress_sets": {"pip": [], "ours": ["npm", "a.com", "*"], "theirs": "a.com"}},
     [f'pifleet_egress_sets.ours.2: saw "*"; {FORMS}', 'pifleet_egress_sets.theirs: saw "a.com"; use a list',
      "pifleet_egress_sets.pip: saw a set of this name; rename it; this one follows each host's clients",
      'pifleet_egress_sets.ours.0: saw "npm"; a set holds hosts and no sets; write the host as "npm:443" if it '
      "is one"]),
    ("pi's extensions", {"developers/ana/pi": {"extensions": ["x"]}},
     ["pifleet_developers.ana.pi.extensions: saw a list; this version of pifleet installs no extensions; use []"]),
    ("pi's settings as text", {"developers/ana/pi": {"settings": "dark"}},
     ['pifleet_developers.ana.pi.settings: saw "dark"; use a mapping']),
    ("a pin to a host that is none", {"developers/ana/host": "farm-11"},
     ['pifleet_developers.ana.host: saw "farm-11"; did you mean farm-1?']),
    ("a pin to a host that does not offer the pattern",
     {"groups/pifleet_gondolin": {"hosts": {"micro": {}}}, "developers/cy/sandboxes/kernel/host": "micro"},
     ['pifleet_developers.cy.sandboxes.kernel.host: saw "micro"; it does not offer pattern docker; '
      'use farm-1 or farm-2']),
    ("an artifact outside", {"developers/ana/artifacts": ["../x", "/etc/shadow", "-x"]},
     [f'pifleet_developers.ana.artifacts.0: saw "../x"; {GLOB}',
      f'pifleet_developers.ana.artifacts.1: saw "/etc/shadow"; {GLOB}',
      f'pifleet_developers.ana.artifacts.2: saw "-x"; {GLOB}']),
    ("a repository without url and ref", {"repos/web": {}},
     ["pifleet_repos.web.url: saw nothing; it is required: where the repository is",
      "pifleet_repos.web.ref: saw nothing; it is required: a branch, tag or commit"]),
    ("an url that is an option", {"repos/web/url": "--upload-pack=touch x"},
     [f'pifleet_repos.web.url: saw "--upload-pack=touch x"; {GIT}']),
    ("an url that runs a program", {"repos/web/url": "ext::sh -c id"},
     [f'pifleet_repos.web.url: saw "ext::sh -c id"; {GIT}']),
    ("an ssh url whose host is an option", {"repos/web/url": "ssh://-oProxyCommand=id/x"},
     [f'pifleet_repos.web.url: saw "ssh://-oProxyCommand=id/x"; {GIT}']),
    ("an url with a shell's characters", {"repos/web/url": "https://git.example.com/$(id).git"},
     [f'pifleet_repos.web.url: saw "https://git.example.com/$(id).git"; {GIT}']),
    ("an url with a password", {"repos/web/url": f"https://ana:{PASTED}@git.example.com/web.git"},
     [f"pifleet_repos.web.url: saw an address with a user or a password; {GIT}"]),
    ("an url with a token for a user", {"repos/web/url": f"https://{PASTED}@git.example.com/web.git"},
     [f"pifleet_repos.web.url: saw an address with a user or a password; {GIT}"]),
    ("a relative path for an url", {"repos/web/url": "repos/web.git"},
     [f'pifleet_repos.web.url: saw "repos/web.git"; {GIT}']),
    ("a ref that is an option", {"repos/web/ref": "--orphan"}, [f'pifleet_repos.web.ref: saw "--orphan"; {REF}']),
    ("a ref with two dots", {"repos/web/ref": "a..b"}, [f'pifleet_repos.web.ref: saw "a..b"; {REF}']),
    ("a ref with a space", {"repos/web/ref": "my branch"}, [f'pifleet_repos.web.ref: saw "my branch"; {REF}']),
    ("a ref that git keeps for its locks", {"repos/web/ref": "x.lock"},
     [f'pifleet_repos.web.ref: saw "x.lock"; {REF}']),
    ("a ref that is a number", {"repos/web/ref": 2}, [f"pifleet_repos.web.ref: saw 2; {REF}"]),
    ("a token for an ssh url",
     {"repos/web": {"url": "/srv/web.git", "ref": "main", "auth": {"token": {"env": "T"}}}},
     ["pifleet_repos.web.auth.token: saw a token for an url that is not https; use ssh_key with ssh"]),
    ("an ssh key for an https url", {"repos/api/auth": {"ssh_key": {"file": "k"}}},
     ["pifleet_repos.api.auth.ssh_key: saw an ssh_key for an url that is not ssh; use token with https"]),
    ("an ssh url without key and host keys", {"repos/web/url": SSH_URL},
     ["pifleet_repos.web.auth: saw no ssh_key for an ssh url; add auth: {ssh_key: {file: PATH}}",
      "pifleet_repos.web.known_hosts: saw nothing; name a file with the host keys of the ssh server"]),
    ("host keys that cannot be read",
     {"repos/web": {"url": SSH_URL, "ref": "main", "auth": {"ssh_key": {"file": "k"}}, "known_hosts": "nowhere"}},
     ['pifleet_repos.web.known_hosts: saw "nowhere"; name a file that can be read (No such file or directory)']),
    ("host keys for an https url", {"repos/web/known_hosts": "hosts"},
     ['pifleet_repos.web.known_hosts: saw "hosts"; remove it; only an ssh url needs it',
      'pifleet_repos.web.known_hosts: saw "hosts"; name a file that can be read (No such file or directory)']),
    ("a file whose name is an option", {"repos/api/auth/token": {"file": "-x"}},
     [f"pifleet_repos.api.auth.token.file: saw a value that is not shown; {PATH}"]),
    ("an unknown api", {"models/claude/api": "anthropic"},
     ['pifleet_models.claude.api: saw "anthropic"; did you mean anthropic-messages?']),
    ("a model without address and names", {"models/claude": {"api": "openai-completions"}},
     ["pifleet_models.claude.base_url: saw nothing; name the provider's address",
      "pifleet_models.claude.models: saw nothing; list at least one model"]),
    ("an address with a query", {"models/claude/base_url": "https://llm.example.com/?key=1"},
     [f'pifleet_models.claude.base_url: saw "https://llm.example.com/?key=1"; {HTTP}']),
    ("an address that ends an nginx directive", {"models/claude/base_url": "https://x/;}"},
     [f'pifleet_models.claude.base_url: saw "https://x/;}}"; {HTTP}']),
    ("a scripted model with an address and a key", {"models/dry/base_url": "https://x", "models/dry/key": {"env": "K"}},
     ["pifleet_models.dry.base_url: saw a base_url for a scripted model; remove it; a scripted model has none",
      "pifleet_models.dry.key: saw a key for a scripted model; remove it; a scripted model has none"]),
    ("a proxy and authorities for a model that is not reached by https",
     {"models/claude/base_url": "http://llm", "models/claude/proxy": "http://proxy:3128", "models/claude/ca": "hosts"},
     ["pifleet_models.claude.proxy: saw a proxy for an address that is not https; remove it, or use https",
      "pifleet_models.claude.ca: saw a ca for an address that is not https; remove it, or use https",
      'pifleet_models.claude.ca: saw "hosts"; name a file that can be read (No such file or directory)']),
    ("a proxy with a password", {"models/claude/proxy": "http://u:secret@proxy:3128"},
     ["pifleet_models.claude.proxy: saw an address with a user or a password; use http://HOST:PORT of a proxy that "
      "does CONNECT"]),
    ("a login without a proxy", {"models/claude/proxy_auth": {"env": "LOGIN"},
                                 "vars/pifleet_egress_proxy_auth": {"env": "LOGIN"}},
     ["pifleet_models.claude.proxy_auth: saw a login without a proxy; name the proxy, or remove it",
      "pifleet_egress_proxy_auth: saw a login without a proxy; name it in pifleet_egress_proxy, or remove the login"]),
    ("a login that is written down", {"vars/pifleet_egress_proxy": "http://proxy.lan:3128",
                                      "vars/pifleet_egress_proxy_auth": "ana:secret"},
     ["pifleet_egress_proxy_auth: saw a value that is not shown; keep it outside: {env: NAME}, {file: PATH} or "
      "{command: [PROGRAM, ...]}"]),
    ("a proxy for egress on the hosts' own loopback", {"vars/pifleet_egress_proxy": "http://127.0.0.1:3128"},
     ['pifleet_egress_proxy: saw "http://127.0.0.1:3128"; use an address of its own; squid reaches no loopback']),
    ("a proxy without a port", {"models/claude/proxy": "http://proxy"},
     ['pifleet_models.claude.proxy: saw "http://proxy"; use http://HOST:PORT of a proxy that does CONNECT']),
    ("models that are none, or named twice", {"defaults/model": ["dry", "dyr"], "developers/ana/model": ["dry", "dry"]},
     ['pifleet_defaults.model: saw "dyr"; did you mean dry?',
      'pifleet_developers.ana.model: saw "dry" more than once; list it once']),
    ("no model in a list", {"defaults/model": []},
     ['pifleet_defaults.model: saw a list; use the name of a model in pifleet_models, or a list of names, the one to '
      "start with first"]),
    ("no request to a model", {"defaults/requests_at_once": 0, "developers/ana/requests_per_minute": 1.5},
     ["pifleet_defaults.requests_at_once: saw 0; use a whole number of requests from 1 to 1000",
      "pifleet_developers.ana.requests_per_minute: saw 1.5; use a whole number of requests from 1 to 100000"]),
    ("a model's id with a space", {"models/claude/models": ["claude 4"]},
     ['pifleet_models.claude.models.0: saw "claude 4"; '
      "use the provider's name of a model, such as claude-sonnet-4-5"]),
    ("a version that YAML reads as a number", {"node_version": 24.21}, [f"pifleet_node_version: saw 24.21; {PIN}"]),
    ("a version that floats", {"pi_version": "latest"}, [f'pifleet_pi_version: saw "latest"; {PIN}']),
    ("an image that floats", {"image_base": "debian:bookworm"},
     ['pifleet_image_base: saw "debian:bookworm"; use debian, or an image reference with @sha256:DIGEST']),
    ("a package that is an option", {"image_packages": ["--purge"]},
     ['pifleet_image_packages.0: saw "--purge"; use the name of a Debian package']),
    ("a date that is none", {"image_date": "yesterday"},
     ['pifleet_image_date: saw "yesterday"; use a day such as 2026-01-31, or 20260131T120000Z']),
    ("a CA file that is not there", {"image_ca": "ca.pem"},
     ['pifleet_image_ca: saw "ca.pem"; name a file that can be read (No such file or directory)']),
    ("a CA file that is none", {"image_ca": "inventory.yml"},
     ['pifleet_image_ca: saw "inventory.yml"; name a file with PEM certificates, without a private key']),
    ("a mirror with a password", {"apt_mirror": f"https://u:{PASTED}@mirror.example.com"},
     [f"pifleet_apt_mirror: saw an address with a user or a password; {HTTP}"]),
    ("a host's name that is an option", {"groups/pifleet_docker": {"hosts": {"-oProxyCommand=id": {}}}},
     [f'hosts."-oProxyCommand=id": saw "-oProxyCommand=id"; {HOST}']),
    ("a host's name with a shell's characters", {"groups/pifleet_docker": {"hosts": {"a;id": {}}}},
     [f'hosts."a;id": saw "a;id"; {HOST}']),
    ("a host's name with a control character", {"groups/pifleet_docker": {"hosts": {"a\u0007b": {}}}},
     [f'hosts."a\\u0007b": saw "a\\u0007b"; {HOST}']),
    ("a host's name that climbs", {"groups/pifleet_docker": {"hosts": {"../../etc": {}}}},
     [f'hosts."../../etc": saw "../../etc"; {HOST}']),
    ("an address that is an option", {"host/ansible_host": "-oProxyCommand=id"},
     ['hosts.farm-1.ansible_host: saw "-oProxyCommand=id"; use a host name or an address']),
    ("a user that is an option", {"host/ansible_user": "-l"},
     ['hosts.farm-1.ansible_user: saw "-l"; use the name of a user']),
    ("a port that is none", {"host/ansible_port": 70000},
     ["hosts.farm-1.ansible_port: saw 70000; use a port from 1 to 65535"]),
    ("a key file that depends on the folder one is in", {"host/ansible_ssh_private_key_file": "keys/farm"},
     ['hosts.farm-1.ansible_ssh_private_key_file: saw "keys/farm"; '
      'use an absolute path, such as "{{ inventory_dir }}/key"']),
    ("another connection", {"host/ansible_connection": "paramiko_ssh"},
     ['hosts.farm-1.ansible_connection: saw "paramiko_ssh"; use ssh or local']),
    ("another way to become root", {"host/ansible_become_method": "su"},
     ['hosts.farm-1.ansible_become_method: saw "su"; use sudo']),
    ("become as text", {"host/ansible_become": "perhaps"},
     ['hosts.farm-1.ansible_become: saw "perhaps"; use true or false']),
    ("an interpreter to be found", {"host/ansible_python_interpreter": "auto"},
     ['hosts.farm-1.ansible_python_interpreter: saw "auto"; use an absolute path, such as /usr/bin/python3']),
    ("an ssh option by name", {"host/ansible_ssh_common_args": "-o StrictHostKeyChecking=no"},
     [f'hosts.farm-1.ansible_ssh_common_args: saw ssh option "StrictHostKeyChecking"; {SSH}']),
    ("an ssh flag by name", {"host/ansible_ssh_extra_args": "-J bastion -A"},
     [f'hosts.farm-1.ansible_ssh_extra_args: saw ssh argument "-A"; {SSH}']),
    ("an ssh argument that is no flag", {"host/ansible_ssh_args": "bastion"},
     [f'hosts.farm-1.ansible_ssh_args: saw ssh argument "bastion"; {SSH}']),
    ("an open quote in ssh arguments", {"host/ansible_ssh_args": "-o 'ProxyCommand=x"},
     ['hosts.farm-1.ansible_ssh_args: saw "-o \'ProxyCommand=x"; close its quotes (no closing quotation)']),
    ("a jump host that is an option", {"host/ansible_ssh_args": "-J -oProxyCommand=id"},
     ['hosts.farm-1.ansible_ssh_args: saw ProxyJump "-oProxyCommand=id"; '
      "use [USER@]HOST[:PORT], more of them with commas between"]),
    ("an older name of a connection variable", {"host/ansible_ssh_host": "192.0.2.1"},
     ["hosts.farm-1.ansible_ssh_host: saw an argument that pifleet does not honour; "
      "remove it, or did you mean ansible_host?"]),
    ("a connection variable that is not honoured", {"host/ansible_executable": "/tmp/sh"},
     ["hosts.farm-1.ansible_executable: saw an argument that pifleet does not honour; remove it"]),
    ("an empty group", {"groups/pifleet_gondolin": {}},
     ["pifleet_gondolin: saw a group without hosts; put a host into it, or remove it"]),
    ("a misspelt group", {"groups/pifleet_dokcer": {"hosts": {"x": {}}}},
     ["pifleet_dokcer: saw an unknown group; did you mean pifleet_docker?"]),
    ("no host in a pifleet group", {"groups": {"web": {"hosts": {"www": {}}}}},
     ["all: saw no host in a pifleet group; put one into pifleet_docker, pifleet_gondolin, pifleet_openshell, "
      "pifleet_openshell_gateways or pifleet_clusters"]),
    ("a fleet variable that differs between hosts", {"host/pifleet_pi_version": "0.80.0"},
     ["pifleet_pi_version: saw different values on farm-1 and farm-2; set it once, under all.vars"]),
    ("a guest image of another form",
     {"vars/pifleet_gondolin_guest": {"url": "https://example.com/guest.zip", "sha256": "0" * 64}},
     ['pifleet_gondolin_guest: saw "https://example.com/guest.zip"; use one of file and url, ending in .tar.gz']),
    ("every mistake at once",
     {"fleet": "A", "developers/ana": {"memory": "2", "repos": ["x", 3], "model": "y"}, "host/ansible_port": 0},
     [f'pifleet_fleet: saw "A"; {NAME32}',
      f'pifleet_developers.ana.memory: saw "2"; {SIZE}',
      "pifleet_developers.ana.repos.1: saw 3; use the name of a repository in pifleet_repos",
      "hosts.farm-1.ansible_port: saw 0; use a port from 1 to 65535",
      'pifleet_developers.ana.model: saw "y"; use dry or claude',
      'pifleet_developers.ana.repos: saw "x"; use web or api']),
]


@pytest.mark.parametrize(("changes", "wanted"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_mistake_is_told_with_its_place_what_was_seen_and_what_would_be_right(
    tmp_path: Path, changes: dict[str, Any], wanted: list[str]
) -> None:
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path, changes)
    told = [str(mistake) for mistake in raised.value.mistakes]
    assert told == wanted
    assert raised.value.trouble.headline == f"the inventory has {len(wanted)} mistake{'s' * (len(wanted) > 1)}"
    assert not any(PASTED in line for line in told)


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
# Each row: the text of a file, and what is said about it; {file} stands for its path.
TEXTS: list[tuple[str, str, str]] = [
    ("an alias bomb", BOMB, "{file}:7: saw aliases that stand for more than 1,000,000 values; write less"),
    ("an alias within itself", "all: &a {x: *a}\n",
     "{file}:1: saw alias *a; define its anchor before it, not around it"),
    ("a tower of lists", "all: " + "[" * 200, "{file}:1: saw more than 100 levels; nest less deeply"),
    ("a list that is not closed", "all:\n  hosts: [a\n",
     "{file}:3: saw did not find expected ',' or ']'; write valid YAML"),
    ("a tab", "all:\n\thosts: x\n", "{file}:2: saw found character that cannot start any token; write valid YAML"),
    ("bytes that are not UTF-8", "all: \udcff\n", "{file}: saw bytes that are not UTF-8; save it as UTF-8"),
    ("a list", "[a, b]\n", "{file}:1: saw no mapping; write a mapping, such as all: {hosts: ...}"),
    ("nothing", "", "{file}: saw no host in any group; put a host into group pifleet_docker"),
    ("no hosts", "all: {vars: {pifleet_fleet: acme}}\n",
     "{file}: saw no host in any group; put a host into group pifleet_docker"),
    ("a section that is none", "all: {hots: {a: {}}, hosts: {b: {}}}\n",
     '{file}: saw unexpected key (hots) in group (all), only "vars", "children" and "hosts" are valid; '
     "remove or correct it"),
    ("hosts as a list", "all: {hosts: [a]}\n",
     '{file}: saw Invalid "hosts" entry for "all" group, requires a dictionary, found "List" instead.; '
     "write it as Ansible reads it"),
    ("groups in a ring", "a: {children: {b: {children: {a: {}}}}}\n",
     "{file}: saw Adding group 'b' as child to 'a' creates a recursive dependency loop.; write it as Ansible reads it"),
    ("two documents", "all: {hosts: {a: {}}}\n---\nall: {}\n",
     "{file}: saw YAML parsing failed: Expected a single document in the stream but found another document.; "
     "write it as Ansible reads it"),
    ("two sandboxes with one name",
     "all:\n  vars:\n    pifleet_developers:\n      cy: {sandboxes: {kernel: {},\n        kernel: {}}}\n",
     '{file}:5: saw key "kernel" a second time; keep one of the two'),
    ("two developers with one name", 'all: {vars: {pifleet_developers: {ana: {}, "ana": {}}}}\n',
     '{file}:1: saw key "ana" a second time; keep one of the two'),
    ("an undefined variable", "all: {hosts: {a: {}, b: {}}, vars: {pifleet_fleet: '{{ nope }}'}}\n",
     "pifleet_fleet: saw 'nope' is undefined (host a and 1 more); correct the template"),
    ("a template that is none", "all: {hosts: {a: {}}, vars: {pifleet_fleet: '{{ a b }}'}}\n",
     "pifleet_fleet: saw Syntax error in template: expected token 'end of print statement', got 'b' (host a); "
     "correct the template"),
]


@pytest.mark.parametrize(("text", "wanted"), [row[1:] for row in TEXTS], ids=[row[0] for row in TEXTS])
def test_a_file_that_is_unfit_is_refused(tmp_path: Path, text: str, wanted: str) -> None:
    file = tmp_path / "inventory.yml"
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(BadInput) as raised:
        load([file])
    assert [str(mistake) for mistake in raised.value.mistakes] == [wanted.replace("{file}", str(file))]


def test_a_file_that_is_not_there_is_told_before_anything_is_read(tmp_path: Path) -> None:
    file = tmp_path / "inventory.yml"
    with pytest.raises(BadInput) as raised:
        load([file])
    assert [str(mistake) for mistake in raised.value.mistakes] == [
        f"{file}: saw no file or folder; name an inventory, or make one with pifleet init"
    ]


def test_a_file_of_more_than_8_mib_is_not_read(tmp_path: Path) -> None:
    file = written(tmp_path, "all: {hosts: {a: {}}}\n#" + "x" * (8 << 20))
    with pytest.raises(BadInput) as raised:
        load([file])
    assert [str(mistake) for mistake in raised.value.mistakes] == [
        f"{file}: saw more than 8 MiB; name an inventory of a sensible size"
    ]


def test_an_alias_bomb_in_group_vars_is_refused_too(tmp_path: Path) -> None:
    bomb = written(tmp_path, BOMB, "group_vars/all.yml")
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path)
    assert raised.value.mistakes[0].path == f"{bomb}:7"


def test_a_folder_of_inventories_is_looked_through_and_other_files_in_it_are_left_alone(tmp_path: Path) -> None:
    written(tmp_path, "[web]\nwww\n", "folder/hosts")
    bad = written(tmp_path, "all: [\n", "folder/more.yaml")
    with pytest.raises(BadInput) as raised:
        load([bad.parent])
    assert [mistake.path for mistake in raised.value.mistakes] == [f"{bad}:2"]


RULES = [
    rules.name(16), rules.HTTP_URL, rules.GIT_URL, rules.GIT_REF, rules.FILE, rules.HOST_NAME, hostvars.ADDRESS,
    hostvars.USER, hostvars.JUMP, hostvars.COMMAND, hostvars.PLACE, hostvars.PYTHON,
    *(alias.__metadata__[0] for alias in (rules.ModelId, rules.PublicKey, rules.Glob, rules.Version, rules.ImageBase,
                                          rules.Suite, rules.SnapshotDate, rules.PackageName, rules.VariableName)),
]


@given(st.sampled_from(RULES), st.text(max_size=40), st.sampled_from(list("\0\t\n\r\x1b\x7f")), st.text(max_size=40))
def test_no_text_with_a_control_character_passes_any_rule(rule: rules.Text, before: str, bad: str, after: str) -> None:
    assert not rule.allows(before + bad + after)
    assert not rule.allows(rule.wanted + bad)


@given(st.sampled_from(RULES), st.text(max_size=40))
def test_no_text_that_could_be_an_option_passes_any_rule(rule: rules.Text, text: str) -> None:
    assert not rule.allows("-" + text)


def test_a_yaml_tag_makes_no_object(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    with pytest.raises(BadInput):
        load([written(tmp_path, f"all: !!python/object/apply:os.system ['touch {witness}']\n")])
    assert not witness.exists()


def test_two_sandboxes_whose_short_names_meet_are_refused(tmp_path: Path) -> None:
    changes = {"developers": {"ana": {"sandboxes": {"kernel-build-1058": {}, "kernel-build-3461": {}}}}}
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path, changes)
    assert [str(mistake) for mistake in raised.value.mistakes] == [
        "pifleet_developers.ana.sandboxes.kernel-build-3461: saw the id ana-kernel-b-e8a75c, "
        "which ana/kernel-build-1058 has too; rename one of the two"
    ]


def test_two_developers_whose_user_numbers_meet_are_refused(tmp_path: Path) -> None:
    one, two = "dev-4302", "dev-12272"
    assert developer_uid(one) == developer_uid(two)
    with pytest.raises(BadInput) as raised:
        fleet(tmp_path, {"developers": {one: {}, two: {}}})
    assert [str(mistake) for mistake in raised.value.mistakes] == [
        f"pifleet_developers.{two}: saw the user number {developer_uid(one)}, which {one} has too; "
        "rename one of the two"
    ]
