"""Owns the work by which tests see where pi's tools act: a file by `bash`, by `write` and by `!`, with the kernel's
release in each. It must not know how a sandbox is reached."""

# What a `!` is to pi's rpc mode; its answer comes when the command has ended.
_RPC = """
import json, subprocess, sys
pi = subprocess.Popen(["pi", "--mode", "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
print(json.dumps({"id": "asked", "type": "bash", "command": sys.argv[1]}), file=pi.stdin, flush=True)
for line in pi.stdout:
    if json.loads(line).get("id") == "asked":
        break
pi.stdin.close()
pi.wait(60)
"""
RPC = ("python3", "-c", _RPC, "uname -r > by-user.txt")
FILES = ("by-bash.txt", "api/by-write.txt", "by-user.txt")


def script(release: str) -> str:
    """What a scripted model has pi do; `release` is what the write tool, which runs nothing, is told to write."""
    return "\n".join((
        'CALL bash {"command": "uname -r > by-bash.txt"}',
        f'CALL write {{"path": "api/by-write.txt", "content": "{release}"}}',
        "SAY done",
    ))
