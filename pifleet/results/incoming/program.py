"""Owns how a program of ours gets into a sandbox: sent once, kept there under its sha256, started by that name.
It must not know what a program does. What Python made of it is kept beside it.

A stranger may change what is kept there, as they may change the Python that runs it: nothing here relies on either.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NEEDED = b"?"  # the far end's first byte when it does not have the program
_NOT_KEPT = "-"  # no program is kept under this name
# The first line of input is the program's sha256 and the request. Kept short, for it travels with every exec.
_START = """\
import hashlib,os,sys,zlib
i,o=sys.stdin.buffer,sys.stdout.buffer
h,q=i.readline()[:-1].decode().split(" ",1)
p=os.path.expanduser("~/.cache/pifleet/"+h)
try:s=open(p,"rb").read()
except OSError:s=b""
if hashlib.sha256(s).hexdigest()!=h:o.write(b"?");o.flush();s=i.read(int(i.readline()))
exec(zlib.decompress(s))"""
# Isolated and without site: nothing that lies in the sandbox's Python path or home is imported.
ARGV = ("python3", "-I", "-S", "-c", _START)
_LOADER = """
import json, marshal, types
p = os.path.expanduser("~/.cache/pifleet/" + hashlib.sha256(s).hexdigest())
def keep(path, data):
    try:
        os.makedirs(os.path.dirname(p), 0o700, exist_ok=True)
        with open(path + ".new", "wb") as file:
            file.write(data)
        os.replace(path + ".new", path)
    except OSError:
        pass
if not os.path.exists(p):
    keep(p, s)
c = p + "-" + hex(sys.hexversion)
try:
    with open(c, "rb") as file:
        codes = marshal.load(file)
except (OSError, EOFError, ValueError, TypeError):
    codes = [(name, compile(source, "<" + name + ">", "exec")) for name, source in json.loads(%r)]
    keep(c, marshal.dumps(codes))
for name, code in codes:
    for at in range(1, name.count(".") + 1):
        package = name.rsplit(".", at)[0]
        sys.modules.setdefault(package, types.ModuleType(package))
    module = sys.modules[name] = types.ModuleType(name)
    exec(code, module.__dict__)
sys.exit(module.main(json.loads(%r), q, i, o))
"""


class Program:
    """Modules below one folder of ours ("a" or "room.a"), each of which needs only those before it; the last one's
    `main` is called with the settings, the request, standard input and output, and returns the exit code."""

    def __init__(self, package: str, folder: Path, modules: Sequence[str], settings: Mapping[str, Any]) -> None:
        sources = [(f"{package}.{name}", (folder / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8"))
                   for name in modules]
        text = _LOADER % (json.dumps(sources), json.dumps(settings))
        self._packed = zlib.compress(text.encode())
        self._name = hashlib.sha256(self._packed).hexdigest()

    def call(self, request: str, *, kept: bool) -> bytes:
        """What to send first, `request` being one line; the far end asks for the program unless it was `kept` there."""
        return f"{self._name if kept else _NOT_KEPT} {request}\n".encode()

    def whole(self) -> bytes:
        """What to send when the answer begins with NEEDED, or before, where it is known to begin so."""
        return b"%d\n" % len(self._packed) + self._packed
