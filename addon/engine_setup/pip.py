# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs pip, says in MB how far it is, and turns its complaints into sentences.

pip rather than a downloader of our own: whatever somebody has configured for it (indexes, proxies, certificates, keys)
works here too. What it downloaded completely stays in our cache until the installation is complete, so that an
interrupted one does not download it again.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..redact import without_secrets
from .errors import NoNetwork, NoSpace, NotInSources, SetupError
from .options import Layer, SetupOptions
from .places import Places, python_of, remove_tree, site_packages, tree_bytes
from .process import clean_environment, module_command, run_watched
from .report import Report

_ALWAYS = ("--no-input", "--disable-pip-version-check", "--progress-bar", "off", "--no-color", "--only-binary", ":all:")
_NOT_FOUND = re.compile(r"No matching distribution found for (\S+)")
_UNREACHABLE = ("Name or service not known", "Connection", "ProxyError", "SSLError", "timed out", "ReadTimeout")
_FULL = ("No space left on device", "not enough space on the disk", "Disk quota exceeded")


def source_options(options: SetupOptions) -> list[str]:
    """Where pip looks, as its options."""
    if options.bundle or options.offline:
        links = [options.bundle or options.find_links]
        return ["--no-index", *(part for link in links if link for part in ("--find-links", link))]
    told = {
        "--index-url": options.index_url,
        "--extra-index-url": options.extra_index_url,
        "--find-links": options.find_links,
        "--proxy": options.proxy,
    }
    return [part for name, value in told.items() if value for part in (name, value)]


def install(
    environment: Path,
    arguments: list[str],
    title: str,
    expected_mb: tuple[int, int],
    options: SetupOptions,
    places: Places,
    report: Report,
) -> None:
    """`pip install arguments` into an environment. Raises a SetupError."""
    growth = _Growth(environment, places, title, expected_mb, report)
    # Not compiled here: most of it is never imported, and what is, is compiled then (see verify.serve_command).
    run_pip(python_of(environment), ["install", "--no-compile", *arguments], options, places, report, growth)


def run_pip(python: Path, arguments: list[str], options: SetupOptions, places: Places, report: Report, on_look) -> None:
    """One pip command with our options. Raises a SetupError."""
    verb, *rest = arguments
    remove_tree(places.incoming)
    places.incoming.mkdir(parents=True)
    folder = str(places.incoming)
    command = module_command(
        python, "pip", verb, *_ALWAYS, "--cache-dir", str(places.cache), *source_options(options), *rest
    )
    environment = clean_environment(TMPDIR=folder, TEMP=folder, TMP=folder)
    try:
        status, words = run_watched(command, report, on_look, environment)
    finally:
        remove_tree(places.incoming)
    if status != 0:
        raise _complaint(words, report)


def layer_arguments(layer: Layer, options: SetupOptions) -> list[str]:
    """The packages of a layer."""
    return [*([] if layer.resolves else ["--no-deps"]), "-r", str(options.requirements / f"{layer.name}.txt")]


class _Growth:
    """How far pip is: what lies in its temporary folder, and then what has grown in the environment."""

    def __init__(
        self, environment: Path, places: Places, title: str, expected_mb: tuple[int, int], report: Report
    ) -> None:
        self._packages, self._incoming = site_packages(environment), places.incoming
        self._title, self._expected, self._report = title, expected_mb, report
        self._before = tree_bytes(self._packages)
        self._installing = False

    def __call__(self, last_line: str) -> None:
        download_mb, installed_mb = self._expected
        self._installing = self._installing or last_line.startswith("Installing collected packages")
        if self._installing:
            done = (tree_bytes(self._packages) - self._before) / 1e6
            self._report.progress(
                0.6 + 0.4 * done / installed_mb, f"{self._title}: unpacked {done:.0f} of about {installed_mb} MB"
            )
        else:
            done = tree_bytes(self._incoming) / 1e6
            self._report.progress(
                0.6 * done / download_mb, f"{self._title}: downloaded {done:.0f} of about {download_mb} MB"
            )


def _complaint(words: str, report: Report) -> SetupError:
    """What pip's last words mean."""
    last = next((line for line in reversed(words.splitlines()) if line.startswith("ERROR")), words[-300:])
    if any(sign in words for sign in _FULL):
        return NoSpace("The disk became full while packages were being installed.")
    if any(sign in words for sign in _UNREACHABLE):
        return NoNetwork(f"The package sources could not be reached ({without_secrets(last)}).")
    if found := _NOT_FOUND.search(words):
        return NotInSources(f"The package sources have no {found.group(1)} for this machine.")
    return SetupError(
        f"Installing packages failed ({without_secrets(last)}).",
        f"{SetupError.remedy} The log is {report.log_path}.",
    )
