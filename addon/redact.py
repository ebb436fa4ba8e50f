# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes out of texts what is nobody else's business, before they go into logs and bug reports."""

from __future__ import annotations

import re

_USER_INFO = re.compile(r"(?<=://)[^/\s@]+@")
_SECRETS = re.compile(
    r"(?i)\b((?:[\w.-]*[_-])?(?:token|password|passwd|secret|api[_-]?key|authorization|auth))(\s*[=:]\s*)(\S+)"
)


def without_secrets(text: str) -> str:
    """The text without user names and passwords in addresses, and without values called token, password and so on."""
    return _SECRETS.sub(r"\1\2<secret>", _USER_INFO.sub("<secret>@", text))
