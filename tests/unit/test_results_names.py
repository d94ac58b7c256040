"""Which names and links of a sandbox may become files here."""

import pytest

from pifleet.results.limits import Limits
from pifleet.results.names import link_problem, path_problem, shown

LIMITS = Limits()
PATHS = {
    "plain": (b"src/main.py", ""),
    "git-like but harmless": (b".gitignore", ""),
    "a repository's bare folder": (b"api.git/config", ""),
    "windows-reserved": (b"con", ""),
    "non-utf8-name": (b"caf\xe9.txt", ""),
    "unicode": ("naïve/日本.txt".encode(), ""),
    "spaces": (b" a b ", ""),
    "dotdot": (b"../x", "path.traversal"),
    "dotdot inside": (b"a/../../x", "path.traversal"),
    "absolute": (b"/etc/passwd", "path.absolute"),
    "empty-component": (b"a//b", "path.bad"),
    "empty": (b"", "path.bad"),
    "dot": (b"a/./b", "path.bad"),
    "nul-in-name": (b"a\0b", "path.bad"),
    "component-255": (b"x" * 255, ""),
    "component-256": (b"x" * 256, "path.too_long"),
    "path-4097": (b"/".join([b"x" * 200] * 21), "path.too_long"),
    "depth-128": (b"/".join([b"d"] * 128), ""),
    "depth-1500": (b"/".join([b"d"] * 1500), "path.too_deep"),
    "newline-name": (b"a\nb", "path.control"),
    "esc-name": (b"\x1b]0;owned\x07", "path.control"),
    "delete-name": (b"a\x7f", "path.control"),
    "c1-control-name": ("a\u009bb".encode(), "path.control"),
    "bidi-name": ("txt\u202egpj.exe".encode(), "path.control"),
    "dotgit": (b".git/hooks/post-checkout", "path.git"),
    "dotgit-any-case": (b"sub/.GiT/config", "path.git"),
    "dotgit-trailing-dot-space": (b".git. . /config", "path.git"),
    "dotgit-zwnj": (".g\u200cit/config".encode(), "path.git"),
    "dotgit-ntfs-stream": (b".GIT::$INDEX_ALLOCATION/config", "path.git"),
    "dotgit-backslash": (b"a\\.git\\hooks\\x", "path.git"),
    "git-tilde-1": (b"GIT~1/config", "path.git"),
}
LINKS = {
    "beside": (b"a/l", b"b", ""),
    "up and down inside": (b"a/b/l", b"../c/d", ""),
    "to the root itself": (b"a/l", b"..", ""),
    "dangling": (b"l", b"nowhere", ""),
    "link-absolute": (b"l", b"/etc/passwd", "link.outside"),
    "link-dotdot-out": (b"a/l", b"../../x", "link.outside"),
    "link at the top, up": (b"l", b"..", "link.outside"),
    "link-through-link": (b"esc", b"lnk/../x", "link.outside"),
    "hidden by a dot": (b"a/l", b"./../../x", "link.outside"),
    "hidden by an empty part": (b"a/l", b".//../../x", "link.outside"),
    "empty": (b"l", b"", "link.outside"),
    "nul": (b"l", b"a\0b", "link.outside"),
}


@pytest.mark.parametrize(("path", "reason"), PATHS.values(), ids=PATHS)
def test_a_path_is_written_or_kept_back_for_a_named_reason(path: bytes, reason: str) -> None:
    assert path_problem(path, LIMITS) == reason


@pytest.mark.parametrize(("path", "target", "reason"), LINKS.values(), ids=LINKS)
def test_a_link_is_written_only_if_it_stays_inside_whatever_other_links_say(
    path: bytes, target: bytes, reason: str
) -> None:
    assert link_problem(path, target) == reason


def test_names_are_shown_without_anything_a_terminal_would_obey() -> None:
    assert shown(b"\x1b[31m\xff\\n\n" + "é\u202e".encode()) == r"\x1b[31m\xff\x5cn\x0aé\xe2\x80\xae"
