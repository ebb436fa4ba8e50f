# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body convert-labels`: SMPL's labels become SMPL-X's, or the other way round.

Only the options live here; `engine/training/data/conversion.py` does the work, and is imported when it is asked for.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..models.body_files import BodyFileError
from .errors import BadRequest, Missing

_EXAMPLES = """\
examples:
  recover-body convert-labels pdhuman.npz --to smplx --out pdhuman_smplx.npz --transfer smpl2smplx_deftrafo_setup.pkl
  recover-body convert-labels spec_mtp.npz --to smpl --out spec_mtp_smpl.npz --workers 8
  recover-body train blade-pose --data pdhuman_smplx.npz --pictures PDHUMAN --depth runs/depth/best.safetensors …

SMPL's and SMPL-X's neutral bodies must be imported. A person takes seconds; --by measures carries pose, bones, stature
and volume over at once, without looking at the posed surface.
"""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the engine's command line."""
    parser = verbs.add_parser(
        "convert-labels",
        help="change labels between SMPL and SMPL-X",
        description="Add SMPL-X's labels to a HumanData file that has SMPL's, or SMPL's to one that has SMPL-X's.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("labels", type=Path, metavar="FILE", help="HumanData .npz, or BLADE's chunks")
    add("--to", required=True, choices=("smplx", "smpl"))
    add("--out", type=Path, required=True, metavar="FILE", help="the new .npz")
    add("--transfer", type=Path, metavar="FILE", help="smpl2smplx_deftrafo_setup.pkl or smplx2smpl_deftrafo_setup.pkl")
    add("--by", choices=("surface", "measures"), default="surface", help="fit the surface (default), or the measures")
    add("--workers", type=int, default=1, metavar="N", help="processes")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Convert. 0 done; 2 usage or labels that are wrong; 3 a body or a package is missing."""
    try:
        from .training.data.conversion import Way, convert
    except ModuleNotFoundError as error:
        raise Missing(
            f"Converting labels needs the Python package {error.name}.",
            "Run `python dev.py setup`, or `pip install recover-body[train]`.",
        ) from error
    if options.workers < 1:
        raise BadRequest("--workers must be at least 1.")
    for path in filter(None, (options.labels, options.transfer)):
        if not path.is_file():
            raise BadRequest(f"There is no file {path}.", "Name a file that is there.")
    if options.out.exists():
        raise BadRequest(f"{options.out} exists already.", "Name another file, or remove this one.")
    source = "smpl" if options.to == "smplx" else "smplx"
    way = Way(source, options.to, options.transfer, options.by == "surface")

    def tell(done: int, count: int) -> None:
        if done % 100 == 0 or done == count:
            print(f"{done} of {count} people", file=sys.stderr, flush=True)

    try:
        made = convert(options.labels, options.out, way, options.workers, tell)
    except BodyFileError as error:
        raise BadRequest(str(error), error.remedy) from error
    print(f"{options.out}: {made.people} people, surfaces {made.mean_error_mm:.1f} mm apart")
    print(f"  at worst {made.worst_error_mm:.1f} mm, {made.worst}")
    return 0
