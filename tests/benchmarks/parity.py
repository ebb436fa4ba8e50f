# SPDX-License-Identifier: GPL-3.0-or-later
"""Do our networks compute what the published ones compute? One row per fixture file.

    python dev.py parity                                  # tests/fixtures and ../shared/fixtures
    python tests/benchmarks/parity.py FOLDER… [--all]     # others; --all prints every quantity

A folder holds `tokenhmr/`, `hmr2/` or `blade/` with files of the layouts that the committed ones have; sizes and seeds
are read from each file. Exits with 1 when a number is off or a file cannot be read.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path

from recover_body.tests.benchmarks import parity_blade
from recover_body.tests.parity import networks, training
from recover_body.tests.parity.report import Finding, Fixture

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_FOLDERS = (ROOT / "tests" / "fixtures", ROOT.parent / "shared" / "fixtures")

CHECKS: dict[str, Callable[[Fixture], None]] = {
    "tokenhmr/crop*.npz": networks.check_crops,
    "tokenhmr/augment*.npz": training.check_augmentation,
    "tokenhmr/metrics*.npz": training.check_scores,
    "tokenhmr/quantizer*.npz": training.check_vocabulary,
    "tokenhmr/tals*.npz": training.check_tals,
    "tokenhmr/vq_losses*.npz": training.check_tokenizer_losses,
    "tokenhmr/model_*.npz": networks.check_tokenhmr,
    "tokenhmr/rotations*.npz": networks.check_rotations,
    "tokenhmr/tokenizer_*.npz": networks.check_tokenizer,
    "hmr2/head_options_*.npz": networks.check_hmr2_options,
    "hmr2/model_*.npz": networks.check_hmr2,
    "hmr2/rotations*.npz": networks.check_rotations_and_camera,
    **parity_blade.CHECKS,
}


def fixture_files(folders: list[Path]) -> Iterator[tuple[Path, Callable[[Fixture], None]]]:
    """Every file that has a check, in `FOLDER/tokenhmr/…` or, when the folder itself has such a name, in it."""
    for folder in folders:
        for path in sorted([*folder.glob("*/*.npz"), *folder.glob("*.npz")]):
            name = f"{path.resolve().parent.name}/{path.name}"
            for pattern, check in CHECKS.items():
                if fnmatch(name, pattern):
                    yield path, check


def findings_of(path: Path, check: Callable[[Fixture], None]) -> list[Finding]:
    fixture = Fixture(path)
    check(fixture)
    if not fixture.findings:
        raise ValueError("there is nothing in it to compare")
    return fixture.findings


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="default: tests/fixtures and ../shared/fixtures")
    parser.add_argument("--all", action="store_true", help="print every quantity, not only the worst of each file")
    options = parser.parse_args(arguments)
    folders = options.folders or [folder for folder in DEFAULT_FOLDERS if folder.exists()]
    files = list(fixture_files(folders))
    if not files:
        print(
            f"no fixture files under {', '.join(map(str, folders))}: "
            "they lie in folders called tokenhmr, hmr2 or blade",
            file=sys.stderr,
        )
        return 1
    misses, known = 0, {}
    print(f"{'file':48} {'worst quantity':20} {'max error':>10} {'tolerance':>10}")
    for path, check in files:
        title, started = "/".join(path.parts[-3:]), time.perf_counter()
        try:
            content = path.read_bytes()
            if content not in known:  # the committed fixtures are copies; nobody needs to wait for them twice
                known[content] = findings_of(path, check)
            findings = known[content]
        except Exception as error:  # a damaged file is a row of its own, not the end of the table
            print(f"{title:48} cannot be checked: {type(error).__name__}: {error}")
            misses += 1
            continue
        seconds = time.perf_counter() - started
        by_severity = sorted(findings, key=lambda finding: finding.severity, reverse=True)
        misses += not all(finding.ok for finding in findings)
        for finding in by_severity if options.all else by_severity[:1]:
            numbers = f"{finding.quantity:20} {finding.error:10.2g} {finding.tolerance:10.2g}"
            verdict = "ok  " if finding.ok else "MISS"
            print(f"{title:48} {numbers}  {verdict} {len(findings):4} quantities, {seconds:.1f} s", flush=True)
    print(f"{len(files)} files, {misses} off" if misses else f"{len(files)} files, all within tolerance")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
