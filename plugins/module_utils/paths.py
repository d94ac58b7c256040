"""Owns looking at and writing single paths on a host without ever following a link.
It must not know what a path is for."""

import contextlib
import ctypes
import errno
import hashlib
import hmac
import os
import secrets
import stat

LARGEST = 4 << 20
KINDS = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "dir"), (stat.S_ISLNK, "link"), (stat.S_ISSOCK, "socket"))
RENAME_NOREPLACE = 1


class PathError(Exception):
    """A path is not what it has to be; the message names it."""


def open_dir(path):
    """A descriptor of the folder `path` (absolute), each component opened without following a link.

    Raises FileNotFoundError where a component is missing, PathError where one is a link or no folder.
    """
    held = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    walked = ""
    for part in path.strip("/").split("/") if path.strip("/") else []:
        walked += "/" + part
        try:
            following = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise PathError("%s is a link or no folder; move it away" % walked) from None
            raise
        finally:
            os.close(held)
        held = following
    return held


def look(path, nonce=None, largest=LARGEST):
    """What lies at `path`, or None: type, mode, uid, gid, and for a plain file the sha256 of its content.

    With `nonce` the content is told as `hmac` (HMAC-SHA256 keyed with it) instead, so that the answer is no oracle for
    a secret. A file of more than `largest` bytes is told as "too large", an unreadable one by its error's name.
    """
    try:
        parent = open_dir(os.path.dirname(path))
    except FileNotFoundError:
        return None
    except PathError:
        return {"type": "link", "mode": "", "uid": -1, "gid": -1}
    try:
        return _look_in(parent, os.path.basename(path), nonce, largest)
    finally:
        os.close(parent)


def _look_in(parent, name, nonce, largest):
    try:
        info = os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None
    kind = next((word for test, word in KINDS if test(info.st_mode)), "other")
    seen = {"type": kind, "mode": "%04o" % stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid}
    if kind == "file":
        content = _read(parent, name, largest)
        if nonce is None:
            seen["sha256"] = content if isinstance(content, str) else hashlib.sha256(content).hexdigest()
        elif isinstance(content, str):
            seen["hmac"] = content
        else:
            seen["hmac"] = hmac.new(nonce.encode(), content, hashlib.sha256).hexdigest()
    return seen


def _read(parent, name, largest):
    """The bytes of a plain file, or a word that says why not. A fifo put there in the meantime cannot hold us."""
    try:
        held = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
    except OSError as error:
        return errno.errorcode.get(error.errno, "unreadable")
    with open(held, "rb") as file:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            return "changed while read"
        content = file.read(largest + 1)
    return content if len(content) <= largest else "too large"


def read_file(path, largest=LARGEST):
    """The bytes of the plain file `path`, or None where there is none that can be read whole."""
    try:
        parent = open_dir(os.path.dirname(path))
    except (FileNotFoundError, PathError):
        return None
    try:
        content = _read(parent, os.path.basename(path), largest)
    finally:
        os.close(parent)
    return None if isinstance(content, str) else content


def make_dir(path, mode, uid, gid):
    """Make the folder `path`, or set owner and mode of the one that is there; what is in it stays as it is.

    Raises PathError where something else is in the way, FileNotFoundError where its parent is missing.
    """
    parent = open_dir(os.path.dirname(path))
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(os.path.basename(path), 0o700, dir_fd=parent)
    finally:
        os.close(parent)
    held = open_dir(path)
    try:
        os.fchown(held, uid, gid)
        os.fchmod(held, mode)
    finally:
        os.close(held)


def write_file(path, content, mode, uid=0, gid=0, in_place=False):
    """Give the plain file `path` this content, owner and mode, through a new file that takes its name.

    With `in_place` the file that is there is written over instead: a mount of a single file pins its inode.
    Raises PathError where something else is in the way, FileNotFoundError where the folder is missing.
    """
    name = os.path.basename(path)
    parent = open_dir(os.path.dirname(path))
    try:
        there = _look_in(parent, name, None, 0)
        if there and there["type"] == "dir":
            raise PathError("%s is a folder where a file has to be; move it away" % path)
        if in_place and there and there["type"] == "file":
            held = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=parent)
            _fill(held, content, mode, uid, gid)
            return
        fresh = ".%s.%s" % (name, secrets.token_hex(6))
        held = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=parent)
        try:
            _fill(held, content, mode, uid, gid)
            os.rename(fresh, name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            os.unlink(fresh, dir_fd=parent)
            raise
    finally:
        os.close(parent)


def _fill(held, content, mode, uid, gid):
    with open(held, "wb") as file:
        os.fchown(held, uid, gid)
        os.fchmod(held, mode)
        file.write(content)
        file.truncate()
        file.flush()
        os.fsync(held)


def rename_new(source_dir, source, target_dir, target):
    """Rename between two folders given as descriptors; raises FileExistsError when anything has the new name."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(source_dir, os.fsencode(source), target_dir, os.fsencode(target), RENAME_NOREPLACE):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), target)


def chown_tree(held, uid, gid):
    """Give everything below the folder descriptor `held`, and the folder, to `uid` and `gid`; no link is followed.

    Raises PathError for a file that has a second name, which could lie anywhere.
    """
    for _, _, _, folder in os.fwalk(".", topdown=False, dir_fd=held, follow_symlinks=False):
        for name in os.listdir(folder):
            info = os.lstat(name, dir_fd=folder)
            if stat.S_ISREG(info.st_mode) and info.st_nlink > 1:
                raise PathError("%s has more than one name" % name)
            os.chown(name, uid, gid, dir_fd=folder, follow_symlinks=False)
    os.fchown(held, uid, gid)
