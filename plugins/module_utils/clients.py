"""Owns what a host's own pip, npm and apt are configured for: where they look, and where the files they find there lie.
It must not run them or know any address by itself, and never tells a user or a password that stands in one."""

import configparser
import glob
import html.parser
import json
import os
import re
import urllib.parse
import urllib.request

LARGEST = 1 << 20
SECONDS = 5
# pip's and npm's own folders, in which their defaults stand, where distributions and npm itself put them.
PIP = ("/usr/lib/python3/dist-packages/pip", "/usr/local/lib/python3*/*-packages/pip")
NPM = ("/usr/share/nodejs/npm", "/usr/lib/node_modules/npm", "/usr/local/lib/node_modules/npm")
# In the order in which the later one wins (pip's manual, "Configuration"; npmrc(5)).
PIP_FILES = ("/etc/xdg/pip/pip.conf", "/etc/pip.conf", "/root/.pip/pip.conf", "/root/.config/pip/pip.conf")
NPM_FILES = ("/usr/etc/npmrc", "/usr/local/etc/npmrc", "/etc/npmrc", "/root/.npmrc")
APT_FILES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d/*.list", "/etc/apt/sources.list.d/*.sources")
NOTHING = "neither %s nor its configuration on the host says where it looks: configure or install it there"


def look(name):
    """What the host's own `name` (pip, npm or apt) is configured for.

    `urls` are its indexes, `files` the other places to which these lead; where there are no `urls`, or where they could
    not be asked where their files lie, `why` is the reason.
    """
    urls = [_bare(url) for url in LOOKS[name]()]
    urls = [url for url in dict.fromkeys(urls) if url]
    if not urls:
        return {"urls": [], "files": [], "why": NOTHING % name}
    if name not in PAGES:
        return {"urls": urls, "files": [], "why": ""}
    files, why = set(), ""
    for url in urls:
        try:
            files |= PAGES[name](url.rstrip("/"))
        except (OSError, ValueError) as error:
            why = "%s does not answer: %s" % (url, error)
    return {"urls": urls, "files": sorted(files - {_origin(url) for url in urls}), "why": why}


def _bare(url):
    """The address without a user, a password or a query."""
    parts = urllib.parse.urlsplit(url.strip().strip("\"'"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _origin(url):
    parts = urllib.parse.urlsplit(url)
    return "%s://%s" % (parts.scheme, parts.netloc.rpartition("@")[2])


def _text(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(LARGEST)
    except OSError:
        return ""


def _pip():
    index, extra = "", []
    for path in PIP_FILES:
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(_text(path))
        except configparser.Error:
            continue
        for section in ("global", "install"):
            index = parser.get(section, "index-url", fallback=index)
            extra = parser.get(section, "extra-index-url", fallback="\n".join(extra)).split()
    environment = _environment()
    index = environment.get("PIP_INDEX_URL", index)
    if not index:
        index = _default(PIP, "models/index.py", r'PyPI = \w+\(\s*"([^"]+)"')
        index = urllib.parse.urljoin(index, "simple") if index else ""
    return [index, *environment.get("PIP_EXTRA_INDEX_URL", " ".join(extra)).split()]


def _npm():
    registry = ""
    for path in NPM_FILES:
        for line in _text(path).splitlines():
            key, _, value = line.partition("=")
            registry = value.strip() if key.strip() == "registry" else registry
    return [registry or _default(NPM, "definitions.js", r"registry: new Definition.{0,40}?default: [`'\"]([^`'\"]+)")]


def _apt():
    found = []
    for path in [path for pattern in APT_FILES for path in sorted(glob.glob(pattern))]:
        text = _text(path)
        if path.endswith(".list"):
            found += re.findall(r"(?m)^\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)", text)
            continue
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"(?m)^([A-Za-z-]+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza))
            if fields.get("Enabled", "yes").strip().lower() not in ("no", "false"):
                found += fields.get("URIs", "").split()
    return found


def _environment():
    """The variables of every login (pam_env(8), environment(5))."""
    pairs = (line.strip().partition("=") for line in _text("/etc/environment").splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _proxies():
    """The ways out of every login, by scheme, as the clients themselves have them."""
    environment = _environment()
    return {scheme: environment[name] for scheme in ("http", "https")
            for name in (scheme.upper() + "_PROXY", scheme + "_proxy") if environment.get(name)}


def _default(folders, name, pattern):
    """What an installed client looks up unless told, in its own words."""
    places = [path for folder in folders for path in sorted(glob.glob(folder))]
    for place in places:
        for parent, _, names in os.walk(place):
            found = re.search(pattern, _text(os.path.join(parent, os.path.basename(name))), re.DOTALL) \
                if os.path.basename(name) in names and parent.endswith(os.path.dirname(name)) else None
            if found:
                return found.group(1)
    return ""


def _fetch(url, accept):
    # Only http and https come here, see _bare.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(_proxies()))
    request = urllib.request.Request(url, headers={"Accept": accept, "User-Agent": "pifleet"})  # noqa: S310
    with opener.open(request, timeout=SECONDS) as answer:
        return answer.geturl(), answer.read(LARGEST).decode("utf-8", "replace")


class _Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if tag == "a" and key == "href" and value]


def _pip_files(index):
    """Where the index's page of a project that every index has says that files lie (PEP 503)."""
    url, page = _fetch(index + "/pip/", "text/html")
    links = _Links()
    links.feed(page)
    return {_origin(url)} | {_origin(urllib.parse.urljoin(url, link)) for link in links.found
                             if urllib.parse.urljoin(url, link).startswith("http")}


def _npm_files(registry):
    """The same for npm: the tarball of a package that every registry has."""
    url, page = _fetch(registry + "/npm/latest", "application/json")
    return {_origin(url), _origin(json.loads(page)["dist"]["tarball"])}


LOOKS = {"pip": _pip, "npm": _npm, "apt": _apt}
PAGES = {"pip": _pip_files, "npm": _npm_files}
