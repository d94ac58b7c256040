"""Owns what makes an image the right one, and how it becomes an archive with a record and an image again.
It must not know Ansible, how the image is built, or how the archive travels."""

import hashlib
import json
import os
import shutil
import subprocess

from ansible_collections.pifleet.fleet.plugins.module_utils.engine import MEBIBYTE

LABEL = "io.pifleet.image"
COMPRESS = {".zst": ["zstd", "-qcT0"], ".gz": ["gzip", "-c"]}
DECOMPRESS = {".zst": ["zstd", "-qdc"], ".gz": ["gzip", "-dc"]}


class Refused(Exception):
    """An archive is not what its record says, or not for this host."""


def fits(image, image_hash, record):
    """Whether an inspected image (Docker Engine API, `GET /images/{name}/json`) is the sandbox image of this hash.

    With the record of an archive it must have those layers too: an image made from ours inherits its label.
    """
    config = image.get("Config") or {}
    labelled = (config.get("Labels") or {}).get(LABEL) == image_hash
    shaped = config.get("Entrypoint") == ["pi"] and config.get("WorkingDir") == "/workspace"
    return labelled and shaped and (not record or record["layers"] == _layers(image))


def find(engine, name, image_hash, record):
    """The inspected image under `name` (empty if none), and the id of a right one under any name (or empty).

    Raises EngineError.
    """
    named = engine.find("/images/%s/json" % name) or {}
    recorded = engine.find("/images/%s/json" % record["image"]) if record else None
    if recorded:
        return named, recorded["Id"]
    if fits(named, image_hash, record):
        return named, named["Id"]
    # An untagged image that others were made from is listed only with "all".
    query = {"all": "1", "filters": json.dumps({"label": ["%s=%s" % (LABEL, image_hash)]})}
    ids = (summary["Id"] for summary in engine.get("/images/json", query))
    return named, next((id_ for id_ in ids if fits(engine.get("/images/%s/json" % id_), image_hash, record)), "")


def save(engine, name, archive):
    """Write the image to the file `archive`, compressed as its suffix says; returns the record, sizes in bytes.

    Raises EngineError, OSError, and CalledProcessError if compressing fails (a full disk, mostly).
    """
    image, command = engine.get("/images/%s/json" % name), COMPRESS[os.path.splitext(archive)[1]]
    with open(archive, "wb") as target:
        compress = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=target)
    with compress, engine.open("GET", "/images/%s/get" % name) as source:
        shutil.copyfileobj(source, compress.stdin, MEBIBYTE)
    if compress.returncode:
        raise subprocess.CalledProcessError(compress.returncode, command)
    return {
        "sha256": _sha256(archive),
        "image": image["Id"],
        "layers": _layers(image),
        "size": image["Size"],
        "architecture": image["Architecture"],
    }


def load(engine, name, image_hash, archive, record):
    """Load an archive after checking it against its record; returns the image's id.

    Raises Refused, EngineError, and OSError if the archive cannot be read.
    """
    architecture = engine.get("/version")["Arch"]
    if record["architecture"] != architecture:
        raise Refused("the image is for %s and this host is %s" % (record["architecture"], architecture))
    seen = _sha256(archive)
    if seen != record["sha256"]:
        raise Refused("the image archive is damaged: its sha256 is %s, not %s" % (seen, record["sha256"]))
    with subprocess.Popen(DECOMPRESS[os.path.splitext(archive)[1]] + [archive], stdout=subprocess.PIPE) as decompress:
        for _ in engine.messages("/images/load", {"quiet": "1"}, decompress.stdout):
            pass
    image = engine.find("/images/%s/json" % name) or {}
    if not fits(image, image_hash, record):
        if image:
            engine.delete("/images/%s" % name)
        raise Refused("the image archive held %s as %s, not %s" % (image.get("Id"), name, record["image"]))
    return image["Id"]


def _layers(image):
    """One digest over an image's layers: unlike the image's id the same in each of Docker's image stores."""
    return hashlib.sha256("\n".join(image["RootFS"]["Layers"]).encode()).hexdigest()


def _sha256(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(MEBIBYTE), b""):
            total.update(block)
    return total.hexdigest()
