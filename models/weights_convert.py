# SPDX-License-Identifier: GPL-3.0-or-later
"""Recognises what a user brought by its content, checks it completely, and writes it in a form that holds only numbers.

Runs in the importer's locked-down child process (`engine/import_child.py`): whatever is wrong with a file stays there.
"""

from __future__ import annotations

import datetime
import importlib
import json
import re
import shutil
import tempfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from . import detector_files, safe_pickle, tensor_file
from .body_files import BodyFileError, read_body_file
from .body_pickle import load_arrays
from .errors import DamagedFile, ModelsError, UnknownFile, UnusableFile, WrongTensors
from .safe_pickle import StoredTensor
from .weights import FORMAT, MANIFEST, Entry, all_entries, find
from .weights_sources import Brought, everything

Progress = Callable[[str, float], None]
"""progress(what is being done, fraction 0..1)"""

ARRAYS_OF_A_BODY = (
    *("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table"),
    *("hands_meanl", "hands_meanr", "vt", "ft"),
)
# Settings of a model whose other values the networks here do not implement, or only on request.
EXPECTED_SETTINGS = {"IMAGE_SIZE": "256", "JOINT_REP": "6d", "TRANSFORMER_INPUT": "zero", "IEF_ITERS": "1"}


def convert(sources: list[Path], staging: Path, progress: Progress) -> list[str]:
    """Turn everything useful in `sources` (files, archives, folders) into folders `staging`/<entry id>.

    Returns the entries' ids. Raises a `ModelsError`; then nothing in `staging` is to be used.
    """
    made: dict[str, str] = {}
    skipped: list[ModelsError] = []
    for brought in everything(sources, staging, skipped):
        progress(f"reading {brought.name}", 0.0)
        try:
            entry_id = _convert_one(brought, staging, made, progress)
        except (UnknownFile, DamagedFile) as error:
            if brought.asked_for:
                raise
            skipped.append(error)  # one of many files in a folder; it matters only if none is of use
            continue
        if entry_id:
            made.setdefault(entry_id, brought.name)
    if not made:
        raise skipped[0] if len(skipped) == 1 else UnknownFile("Nothing that Recover Body can use was found in there.")
    return list(made)


# ---- one file ----


def _convert_one(brought: Brought, staging: Path, made: dict[str, str], progress: Progress) -> str | None:
    """Recognise and convert a file; the id of its entry, or None for a settings file that was found to be fine."""
    suffix = brought.path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        _check_settings(brought)
        return None
    if suffix == ".onnx":
        return _convert_detector(brought, staging, made)
    if suffix == ".tflite":
        return _keep_known(brought, staging, made)
    if zipfile.is_zipfile(brought.path):
        with zipfile.ZipFile(brought.path) as archive:
            if safe_pickle.is_torch_file(archive):
                return _convert_network(brought, archive, staging, made, progress)
        return _convert_body(brought, staging, made)
    if suffix in (".pkl", ".ckpt", ".pth", ".pt"):
        content = _naming(brought, lambda: safe_pickle.load_file(brought.path))
        if isinstance(content, dict) and "v_template" in content:
            return _convert_body(brought, staging, made)
    raise UnknownFile(f"{brought.name} is none of the files that Recover Body knows.")


def _convert_network(
    brought: Brought, archive: zipfile.ZipFile, staging: Path, made: dict[str, str], progress: Progress
) -> str:
    content = _naming(brought, lambda: safe_pickle.load_torch(archive))
    state = _state_of(content)
    entry = next((e for e in all_entries() if e.marks and all(mark in state for mark in e.marks)), None)
    if entry is None:
        raise UnknownFile(f"{brought.name} holds {len(state)} tensors, but of no network that Recover Body knows.")
    _refuse_second(entry, brought, made)
    tensors = _tensors_of(entry, state, brought)
    _naming(brought, lambda: _check_shapes(entry, {name: tensor.shape for name, tensor in tensors.items()}))

    def values(name: str) -> np.ndarray:
        read = tensors[name].read()
        if not np.isfinite(read).all():
            raise DamagedFile(f"{brought.name}: {name} holds values that are no numbers.")
        return read

    folder = staging / entry.id
    folder.mkdir()
    title = f"importing {brought.name}"
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    digest = _naming(
        brought,
        lambda: tensor_file.write(
            folder / "weights.safetensors", shapes, values, progress=lambda fraction: progress(title, fraction)
        ),
    )
    _write_manifest(entry, folder / "weights.safetensors", digest, len(tensors), brought)
    return entry.id


def _state_of(content: object) -> dict:
    """The state dictionary in a checkpoint, under the names in use for it."""
    state = content if isinstance(content, dict) else {}
    for key in ("state_dict", "net", "model"):
        if isinstance(state.get(key), dict):
            state = state[key]
            break
    # A network that was trained on several machines lies in a wrapper, and so may its parts.
    return {re.sub(r"(^|\.)module\.", r"\1", str(name)): value for name, value in state.items()}


def _tensors_of(entry: Entry, state: dict, brought: Brought) -> dict[str, StoredTensor]:
    """The network's own tensors. A name that is neither its own nor known to lie beside it is an error."""

    def known(name: str) -> bool:
        return name.startswith(entry.prefixes) or any(part in name for part in entry.ignored)

    strangers = [name for name in state if not known(str(name))]
    if strangers:
        raise WrongTensors(f"{brought.name} has {len(strangers)} tensors too many for {entry.id}: {_few(strangers)}.")
    is_used = getattr(_network(entry), "is_used", lambda name: True)
    chosen = {str(n): value for n, value in state.items() if str(n).startswith(entry.prefixes) and is_used(n)}
    odd = [name for name, value in chosen.items() if not isinstance(value, StoredTensor)]
    odd += [name for name, value in chosen.items() if name not in odd and not _floating(value)]
    if odd:
        raise WrongTensors(f"{brought.name} has no numbers with a fraction under {_few(odd)}.")
    return chosen


def _floating(tensor: StoredTensor) -> bool:
    return tensor.dtype == "bfloat16" or np.dtype(tensor.dtype).kind == "f"


def _check_shapes(entry: Entry, shapes: dict[str, tuple[int, ...]]) -> None:
    """Compare with the network that has these sizes. Raises `IncompleteWeights`."""
    import torch

    from .state import compare_shapes

    network = _network(entry)
    state = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
    compare_shapes(network.expected_shapes(state), shapes, network.NETWORK)


def _network(entry: Entry) -> types.ModuleType:
    """The module that knows what a complete file holds."""
    name = {"tokenhmr-tokenizer": "pose_tokens", "depth-anything": "depth_anything"}.get(entry.id, entry.id)
    return importlib.import_module(f".{name}", __package__)


def _convert_detector(brought: Brought, staging: Path, made: dict[str, str]) -> str:
    """An exported network stays as it is; it is opened where it will lie, so that nothing beside it is missed later."""
    path = Path(tempfile.mkdtemp(dir=staging)) / "network.onnx"
    shutil.copyfile(brought.path, path)
    entry_id = detector_files.recognised(path, brought.name)
    if entry_id is None:
        raise UnknownFile(f"{brought.name} is none of the files that Recover Body knows.")
    entry = find(entry_id)
    _refuse_second(entry, brought, made)
    folder = staging / entry.id
    folder.mkdir()
    shutil.copyfile(path, folder / path.name)
    _write_manifest(entry, folder / path.name, tensor_file.sha256_of(folder / path.name), 0, brought)
    return entry.id


def _keep_known(brought: Brought, staging: Path, made: dict[str, str]) -> str:
    """A file of which only one is known, to the last bit."""
    digest = tensor_file.sha256_of(brought.path)
    entry = next((e for e in all_entries() if e.sha256 == digest), None)
    if entry is None:
        raise UnknownFile(f"{brought.name} is none of the files that Recover Body knows.")
    _refuse_second(entry, brought, made)
    folder = staging / entry.id
    folder.mkdir()
    path = folder / f"network{brought.path.suffix.lower()}"
    shutil.copyfile(brought.path, path)
    _write_manifest(entry, path, digest, 0, brought)
    return entry.id


def _convert_body(brought: Brought, staging: Path, made: dict[str, str]) -> str:
    try:
        body = read_body_file(brought.path)
    except BodyFileError as error:
        raise UnknownFile(f"{brought.name} is no body model that can be read ({error}).") from error
    gender = _gender_in(brought.name)
    entry = next((e for e in all_entries() if e.joints == body.joint_count and e.gender == gender), None)
    if entry is None:
        raise UnknownFile(f"{brought.name} is a body with {body.joint_count} joints, which no part of this needs.")
    if entry.id in made and not brought.asked_for:
        return entry.id  # SMPL-X's archive holds every body twice, as .npz and as .pkl
    _refuse_second(entry, brought, made)
    arrays = _body_arrays(brought.path)
    bad = [name for name, values in arrays.items() if values.dtype.kind == "f" and not np.isfinite(values).all()]
    if bad:
        raise DamagedFile(f"{brought.name}: {_few(bad)} hold values that are no numbers.")
    folder = staging / entry.id
    folder.mkdir()
    path = folder / f"{entry.id.split('-')[0].upper()}_{gender.upper()}.npz"
    np.savez(path, **arrays)
    _write_manifest(entry, path, tensor_file.sha256_of(path), len(arrays), brought)
    return entry.id


def _body_arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() != ".npz":
        arrays = load_arrays(path)
        return {name: arrays[name] for name in ARRAYS_OF_A_BODY if name in arrays}
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in ARRAYS_OF_A_BODY if name in archive.files}


def _gender_in(name: str) -> str:
    """The files say their gender only in their names: SMPL_FEMALE.pkl, basicmodel_f_lbs_10_207_0_v1.1.0.pkl."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((gender for gender in ("female", "male") if gender in words or gender[0] in words), "neutral")


def _check_settings(brought: Brought) -> None:
    """Refuse a model whose settings ask for another network than the released one."""
    text = brought.path.read_text("utf-8", errors="replace")
    for key, value in re.findall(r"^\s*([A-Z_]+):\s*['\"]?([\w.]+)['\"]?\s*$", text, re.MULTILINE):
        if key in EXPECTED_SETTINGS and value != EXPECTED_SETTINGS[key]:
            raise UnusableFile(
                f"{brought.name} describes a model with {key} {value}; only {EXPECTED_SETTINGS[key]} is supported.",
                "Use the published model, or leave its settings file out if you know that it does not apply.",
            )


def _refuse_second(entry: Entry, brought: Brought, made: dict[str, str]) -> None:
    if entry.id in made:
        raise UnusableFile(
            f"{made[entry.id]} and {brought.name} are both {entry.id}.", "Name the one you want to import."
        )


def _write_manifest(entry: Entry, path: Path, digest: str, tensors: int, brought: Brought) -> None:
    manifest = {
        "format": FORMAT,
        "entry": entry.id,
        "file": path.name,
        "sha256": digest,
        "bytes": path.stat().st_size,
        "tensors": tensors,
        "source": brought.name,
        "imported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "licence": entry.licence,
    }
    (path.parent / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def _naming(brought: Brought, work: Callable):
    """Do `work`, and let its errors begin with the name of the file."""
    try:
        return work()
    except ModelsError as error:
        if brought.name not in error.sentence:
            error.sentence = f"{brought.name}: {error.sentence}"
        raise


def _few(names: list[str]) -> str:
    return ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")
