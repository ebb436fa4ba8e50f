# SPDX-License-Identifier: GPL-3.0-or-later
"""`recover-body models list | get | import | verify | export | remove`: files that this user has brought."""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import textwrap
from functools import partial
from pathlib import Path

from ..models import weights
from ..models.errors import ModelsError
from ..wire.errors import ExpectedFailure
from . import packaged
from .importer import import_files
from .streams import end_with_stdin

EXAMPLES = """\
examples:
  recover-body models list
  recover-body models get pose-heavy
  recover-body models import tokenhmr_model_latest.zip tokenizer.pth SMPL_NEUTRAL.pkl
  recover-body models import DOWNLOADS_FOLDER
  recover-body models verify tokenhmr
  recover-body models export tokenhmr --onnx --int8
  recover-body models remove tokenhmr
"""


def add_parser(subparsers) -> argparse.ArgumentParser:
    """Add `models` to the engine's command line."""
    parser = subparsers.add_parser(
        "models",
        help="list, get, import, verify, export or remove weights and body files",
        description="Weights and body models that their authors license to you, and Recover Body may not contain.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="models_action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="what there is, what is imported, its licence and where to get it")
    listing.add_argument("--commercial", action="store_true", help="only what may be used in commercial work")
    getting = actions.add_parser("get", help="fetch what may be fetched for you, and import it")
    getting.add_argument("network", choices=tuple(packaged.PACKAGES), metavar="ID", help=", ".join(packaged.PACKAGES))
    importing = actions.add_parser("import", help="bring in downloaded files, archives or whole folders")
    importing.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    # What Blender uses: the child of a Blender that has gone must stop too.
    importing.add_argument("--watch-stdin", action="store_true", help="cancel when stdin ends")
    for name, text in (("verify", "compare imported files with their checksums"), ("remove", "delete an import")):
        action = actions.add_parser(name, help=text)
        action.add_argument("ids", nargs="*" if name == "verify" else "+", metavar="ID", help="as `models list` says")
    exporting = actions.add_parser("export", help="write an imported network as ONNX, for onnxruntime")
    exporting.add_argument("network", choices=("tokenhmr", "hmr2"), metavar="NETWORK", help="tokenhmr or hmr2")
    exporting.add_argument(
        "--onnx",
        nargs="?",
        type=Path,
        required=True,
        metavar="OUT",
        help="the file to write; without OUT it goes where RECOVER_BODY_RUNTIME=onnx (or onnx-int8) finds it",
    )
    exporting.add_argument("--int8", action="store_true", help="the backbone's products in 8 bits: a third of the size")
    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="one JSON object per line")
        action.set_defaults(run=run)
    return parser


def run(args: argparse.Namespace) -> int:
    """Do what the parsed arguments say. Returns the exit status: 0 done, 1 failed, 2 unusable file, 3 not imported."""
    actions = {"list": _list, "get": _get, "import": _import, "verify": _verify, "export": _export, "remove": _remove}
    try:
        return actions[args.models_action](args)
    except ExpectedFailure as error:
        if args.json:
            _say_json(event="failure", code=error.code, message=error.sentence, remedy=error.remedy)
        else:
            print(f"{error.sentence}\n{error.remedy}", file=sys.stderr)
        return error.exit_code


def _list(args: argparse.Namespace) -> int:
    shown = weights.entries(commercial_only=args.commercial)
    if not shown and not args.json:
        print("Nothing of this kind may be used commercially. The built-in backend needs none of it.")
    width = shutil.get_terminal_size((100, 24)).columns
    for entry in shown:
        state, found = _state(entry)
        if args.json:
            _say_json(
                event="model",
                id=entry.id,
                title=entry.title,
                state=state,
                path=str(found.path) if found else None,
                files=entry.files,
                where=entry.where,
                pages=_pages(entry.where),
                licence=entry.licence,
                commercial=entry.commercial,
            )
            continue
        commercial = "commercial use allowed" if entry.commercial else "no commercial use"
        print(f"{entry.id:20} {state:12} {entry.title}")
        details = [f"{commercial}. {entry.licence}."]
        if state != "imported":
            details.append(f"Get {' or '.join(entry.files)} from {entry.where}.")
        for detail in details:
            print(textwrap.fill(detail, width, initial_indent=" " * 33, subsequent_indent=" " * 33))
    if not args.json:
        print(f"imported files live in {weights.models_folder()}")
    return 0


def _pages(where: str) -> list[str]:
    """The addresses in a text that tells where a file is to be had."""
    return [address.rstrip(".,;)") for address in re.findall(r"https?://\S+", where)]


def _state(entry: weights.Entry) -> tuple[str, weights.Installed | None]:
    try:
        found = weights.installed(entry)
        return ("imported", weights.require(entry)) if found else ("-", None)
    except ModelsError:
        return "damaged", None


def _get(args: argparse.Namespace) -> int:
    with packaged.fetched(args.network) as path:
        return _bring([path], args)


def _import(args: argparse.Namespace) -> int:
    if args.watch_stdin:
        end_with_stdin()
    return _bring(args.paths, args)


def _bring(paths: list[Path], args: argparse.Namespace) -> int:
    bar = _Progress(args.json)
    try:
        imported = import_files(paths, bar.show)
    finally:
        bar.close()
    for found in imported:
        if args.json:
            _say_json(event="imported", id=found.entry.id, path=str(found.path), sha256=found.sha256)
        else:
            print(f"imported {found.entry.id} from {found.source} ({found.tensors} arrays, {found.bytes / 1e6:.0f} MB)")
            print(f"  licence: {found.entry.licence}")
    return 0


def _verify(args: argparse.Namespace) -> int:
    chosen = [weights.find(entry_id) for entry_id in args.ids]
    if not chosen:
        chosen = [entry for entry in weights.entries() if _state(entry)[0] != "-"]
    status = 0
    for entry in chosen:
        bar = _Progress(args.json)
        try:
            weights.verify(entry, partial(bar.show, f"verifying {entry.id}"))
        except ModelsError as error:
            status = max(status, error.exit_code)
            outcome = {"ok": False, "message": error.sentence, "remedy": error.remedy}
        else:
            outcome = {"ok": True, "message": f"{entry.id} is as it was imported.", "remedy": ""}
        finally:
            bar.close()
        if args.json:
            _say_json(event="verified", id=entry.id, **outcome)
        else:
            print(f"{outcome['message']} {outcome['remedy']}".strip())
    if not chosen and not args.json:
        print("Nothing has been imported.")
    return status


def _export(args: argparse.Namespace) -> int:
    from .backends import registry
    from .backends.neural import CropNetworkBackend
    from .onnx_export import export
    from .onnx_runner import usual_path

    backend = next(each for each in registry.all_backends() if each.name == args.network)
    assert isinstance(backend, CropNetworkBackend)
    path = args.onnx or usual_path(args.network, args.int8)
    bar = _Progress(args.json)
    try:
        export(backend, path, args.int8, partial(bar.show, fraction=0.0))
    finally:
        bar.close()
    size = sum(each.stat().st_size for each in (path, path.with_name(f"{path.name}.data")))
    if args.json:
        _say_json(event="exported", id=args.network, path=str(path), bytes=size)
    else:
        print(f"exported {args.network} to {path} and {path.name}.data ({size / 1e6:.0f} MB)")
        print(f"  licence: {weights.find(args.network).licence}")
    return 0


def _remove(args: argparse.Namespace) -> int:
    for entry in [weights.find(entry_id) for entry_id in args.ids]:
        removed = weights.remove(entry)
        if args.json:
            _say_json(event="removed", id=entry.id, was_there=removed)
        else:
            print(f"removed {entry.id}" if removed else f"{entry.id} was not imported")
    return 0


class _Progress:
    """A bar on a terminal, single lines in a pipe, objects with --json."""

    def __init__(self, as_json: bool) -> None:
        self._json, self._terminal = as_json, sys.stderr.isatty()
        self._title, self._open = "", False

    def show(self, what: str, fraction: float) -> None:
        if self._json:
            _say_json(event="progress", stage=what, fraction=round(fraction, 3))
        elif self._terminal:
            filled = round(30 * fraction)
            print(f"\r{'█' * filled}{'·' * (30 - filled)} {what:40.40}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif what != self._title:
            print(what, file=sys.stderr, flush=True)
        self._title = what

    def close(self) -> None:
        if self._open:
            print(f"\r{' ' * 72}\r", end="", file=sys.stderr, flush=True)


def _say_json(**event: object) -> None:
    print(json.dumps(event), flush=True)
