# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes out of texts what is nobody else's business, before they go into logs and bug reports. No bpy.

Names of people, machines and networks become words in angle brackets. Of paths only those that are ours keep a shape
(<add-on>/engine/server.py); every other path loses its folders and its name, and keeps its ending: a project's or a
client's name often stands there.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_SECRETS = re.compile(
    r"(?i)\b((?:[\w.-]*[_-])?(?:token|password|passwd|secret|api[_-]?key|authorization|auth))(\s*[=:]\s*)(\S+)"
)
_ADDRESSES = (
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), "<mail address>"),
    (re.compile(r"\b\w[\w.-]*@(?=[\w-])"), "<user>@"),
    (re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b"), "<address>"),
    (re.compile(r"\b(?:[0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}\b"), "<address>"),
)
_LINKS = re.compile(r"(?i)\b(https?|ftp|file|socks5?)://[^\s\"'<>]+")
# Absolute paths: of POSIX, of Windows with a drive, and of Windows shares. Blanks in names are taken along when the
# name ends in what looks like a file's ending.
_PATHS = re.compile(
    r"""(?<![\w>/\\.-])(?:[A-Za-z]:[\\/]|\\\\|/|~[\\/])(?:[^\n"'<>|:*?]*?\.\w{1,5}\b|[^\s"'<>|:*?,;)]+)"""
)
_COMMON = {"root", "user", "users", "home", "admin", "localhost", "public", "default", "blender", "app", "build"}
"""Words that say nothing of anybody, although an account or a machine may be called so."""


def without_secrets(text: str) -> str:
    """The text without user names and passwords in addresses, and without values called token, password and so on."""
    return _SECRETS.sub(r"\1\2<secret>", _USER_INFO.sub("<secret>@", text))


class Redactor:
    """Knows this machine's names and folders."""

    def __init__(self, folders: Mapping[str, Path | str] | None = None, private: Iterable[str] = ()) -> None:
        """`folders` keep their shape under a name; `private` are texts that vanish wherever they stand."""
        shapes = {str(path): f"<{name}>" for name, path in (folders or {}).items() if str(path)}
        shapes |= {os.path.realpath(path): name for path, name in shapes.items()}
        spelled = {variant: name for path, name in shapes.items() for variant in (path, path.replace("\\", "/"))}
        # The longest first: the add-on may lie inside the home folder.
        self._folders = sorted(spelled.items(), key=lambda item: -len(item[0]))
        self._private = sorted({text for text in private if text}, key=len, reverse=True)
        self._names = [
            (re.compile(rf"(?i)(?<![^\W_]){re.escape(name)}(?![^\W_])"), word) for name, word in _own_names()
        ]

    def __call__(self, text: str) -> str:
        """The text, with nothing left in it that tells who or where."""
        for private in self._private:
            text = text.replace(private, "<private>")
        text = without_secrets(_LINKS.sub(r"\1:<address>", text))
        for folder, name in self._folders:
            text = re.sub(rf"{re.escape(folder)}(?=[\\/\s\"':,;)\]]|$)", lambda _, name=name: name, text)
        for pattern, word in _ADDRESSES:
            text = pattern.sub(word, text)
        text = _PATHS.sub(lambda match: f"<path>{_ending(match.group())}", text)
        for pattern, word in self._names:
            text = pattern.sub(word, text)
        return text


def _ending(path: str) -> str:
    """.jpg, .blend …: what kind of file it was."""
    ending = re.search(r"\.\w{1,5}$", path)
    return ending.group() if ending else ""


def _own_names() -> list[tuple[str, str]]:
    """(name, what stands for it) of this user and this machine."""
    users = {os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME")} | {Path.home().name}
    with contextlib.suppress(OSError, KeyError, ImportError):
        users.add(getpass.getuser())
    machines = {socket.gethostname(), os.environ.get("HOSTNAME", ""), os.environ.get("COMPUTERNAME", "")}
    machines |= {name.split(".")[0] for name in machines}
    found = [(name, "<user>") for name in users] + [(name, "<machine>") for name in machines]
    return sorted(
        ((name, word) for name, word in found if len(name) > 2 and name.lower() not in _COMMON),
        key=lambda item: -len(item[0]),
    )
