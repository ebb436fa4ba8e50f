# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body evaluate`: a backend on a labelled data set, its errors beside the published ones.

Only the options live here; `engine/evaluation` does the work, and is imported when it is asked for.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..models.body_files import BodyFileError
from .errors import BadRequest, Missing

DATASET_NAMES = ("3dpw", "emdb", "spec-mtp", "pdhuman", "humman", "bedlam-cc", "synth")

_EXAMPLES = """\
examples:
  recover-body synth --out data/synth --count 50
  recover-body evaluate --dataset synth --data data/synth --backend landmarks --out results
  recover-body evaluate --dataset 3dpw --data 3dpw_test.npz --pictures 3DPW --backend tokenhmr \\
                        --regressor SMPL_to_J19.pkl --out results
  recover-body evaluate --dataset emdb --data emdb.npz --pictures EMDB --backend hmr2 --crops 0,30,50
  recover-body evaluate --dataset spec-mtp --data spec_mtp.npz --pictures SPEC --backend blade --body smplx-neutral \\
                        --h36m J_regressor_h36m.npy --transfer smplx2smpl_deftrafo_setup.pkl

layouts:
  3dpw, emdb     the .npz files that HMR2.0 and TokenHMR evaluate on; SMPL's bodies must be imported
  spec-mtp, pdhuman, humman, bedlam-cc
                 HumanData .npz or BLADE's chunks (with K and bbox_xywh or keypoints2d); SMPL-X's (or SMPL's)
                 neutral body must be imported
  synth          a folder of .tar in our layout; every other data set may be given in this layout too

docs/evaluation.md tells what is measured how, and what of it can be laid beside published figures.
"""


def add_parser(verbs: argparse._SubParsersAction) -> None:
    """Add the verb to the engine's command line."""
    parser = verbs.add_parser(
        "evaluate",
        help="measure a backend on a labelled data set",
        description="Measure a backend on a labelled data set, beside what was published.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--dataset", required=True, choices=DATASET_NAMES)
    add("--data", type=Path, required=True, metavar="PATH", help="the annotation file, or a folder of .tar")
    add("--pictures", type=Path, metavar="DIR", help="the pictures that an annotation file names (default: beside it)")
    add("--backend", default="auto", metavar="NAME", help="auto (default) or one that `recover-body doctor` lists")
    add("--body", default="neutral", help="the body that is recovered: neutral (default), smplx-neutral, …")
    add("--limit", type=int, metavar="N", help="only the first N pictures")
    add("--crops", default="0", metavar="P,P", help="robustness: percents cropped from the boxes, such as 0,30,50")
    add(
        "--ask",
        choices=("auto", "whole", "boxes"),
        default="auto",
        help="whole: as users do, from the picture alone; boxes: the network alone in labelled boxes, as published; "
        "auto: boxes for tokenhmr and hmr2 on the files of 3dpw and emdb, else whole",
    )
    add("--camera", choices=("find", "given"), default="find", help="whether the backend is told the labelled camera")
    add("--regressor", type=Path, metavar="FILE", help="SMPL_to_J19.pkl, for 3dpw box by box")
    add(
        "--h36m",
        type=Path,
        metavar="FILE",
        help="J_regressor_h36m.npy: everybody is fitted by SMPL, as in BLADE's tables",
    )
    add("--transfer", type=Path, metavar="FILE", help="smplx2smpl_deftrafo_setup.pkl, for --h36m with SMPL-X's bodies")
    add("--bad-data", choices=("skip", "stop"), default="skip", help="unreadable samples (default: count them)")
    add("--out", type=Path, metavar="DIR", help="write evaluation.md, .json, .csv (every person) and .png there")
    add("--json", action="store_true", help="print the figures as JSON rather than as a table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure and print. 0 done; 1 nobody found; 2 usage; 3 data, body or backend missing."""
    if options.limit is not None and options.limit < 1:
        raise BadRequest("--limit must be at least 1.")
    try:
        from .evaluation import command, tables
    except ModuleNotFoundError as error:
        raise Missing(
            f"Evaluation needs the Python package {error.name}.",
            "Run `python dev.py setup`, or `pip install recover-body[train]`.",
        ) from error
    from .report import to_json

    try:
        evaluation = command.evaluate(options)
    except BodyFileError as error:
        raise BadRequest(str(error), error.remedy) from error
    print(to_json(evaluation.summary) if options.json else tables.markdown(evaluation.summary), end="")
    for path in () if options.json else evaluation.files:
        print(path)
    return 0
