# SPDX-License-Identifier: GPL-3.0-or-later
"""Do our BLADE networks, metrics and camera solver compute what the published ones compute?

    python tests/benchmarks/parity_blade.py [FOLDER…]     # default: tests/fixtures and ../shared/fixtures

A folder holds `blade/` with files of the layouts that the committed ones have; seeds and sizes are read from each
file. Exits with 1 when a number is off.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

from recover_body.tests.parity import blade
from recover_body.tests.parity.report import Finding, Fixture

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_FOLDERS = (ROOT / "tests" / "fixtures", ROOT.parent / "shared" / "fixtures")

CHECKS: dict[str, Callable[[Fixture], None]] = {
    "blade/metrics*.npz": blade.check_metrics,
    "blade/msdeformattn*.npz": blade.check_deformable_attention,
    "blade/depthnet_*.npz": blade.check_depth_network,
    "blade/posenet_*.npz": blade.check_pose_network,
    "blade/camera_solver*.npz": blade.check_camera_solver,
}


def fixture_files(folders: Sequence[Path]) -> Iterator[tuple[Path, Callable[[Fixture], None]]]:
    for folder in folders:
        for path in sorted([*folder.glob("*/*.npz"), *folder.glob("*.npz")]):
            name = f"{path.resolve().parent.name}/{path.name}"
            yield from ((path, check) for pattern, check in CHECKS.items() if fnmatch(name, pattern))


def findings_of(path: Path, check: Callable[[Fixture], None]) -> list[Finding]:
    fixture = Fixture(path)
    check(fixture)
    return fixture.findings


def rows(folders: Sequence[Path] = DEFAULT_FOLDERS) -> list[tuple[str, float, float]]:
    """Name, error and tolerance of the worst quantity of each file."""
    worst = []
    for path, check in fixture_files(folders):
        finding = max(findings_of(path, check), key=lambda finding: finding.severity)
        worst.append((f"{path.parent.name}/{path.name}: {finding.quantity}", finding.error, finding.tolerance))
    return worst


def main() -> int:
    all_ok = True
    for name, error, tolerance in rows([Path(folder) for folder in sys.argv[1:]] or DEFAULT_FOLDERS):
        ok = error <= tolerance
        all_ok &= ok
        print(f"{name:64} {error:10.2g} {tolerance:10.2g}  {'ok' if ok else 'MISS'}", flush=True)
    return 0 if all_ok else 1


if __name__ == "__main__":
    sys.exit(main())
