# SPDX-License-Identifier: GPL-3.0-or-later
"""Deterministic stand-in weights and stand-in body models for parity tests.

Nothing here is a trained weight.  Every tensor is a pure function of
(seed, tensor name, tensor shape), so two independent implementations that use
the same tensor names and shapes obtain bit-identical float32 values.

    value(seed, name, shape) = post( Generator(PCG64(key)).standard_normal(shape, float32) )
    key = first 8 bytes, little endian unsigned, of sha256(f"{seed}:{name}" in UTF-8)

`post` is chosen from the name alone by RULES (first match wins) so that a
network filled this way stays well conditioned: norm gains near 1, small biases,
matrices scaled by gain/sqrt(fan_in), running variances positive.

Only numpy is needed.  `fill_module` additionally accepts any object with
torch's `state_dict()`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))


def normal(seed: int, name: str, shape: Iterable[int]) -> np.ndarray:
    return stream(seed, name).standard_normal(tuple(shape), dtype=np.float32)


def uniform(seed: int, name: str, shape: Iterable[int]) -> np.ndarray:
    return stream(seed, name).random(tuple(shape), dtype=np.float32)


def _mat(gain: float) -> Callable[[np.ndarray], np.ndarray]:
    def post(z: np.ndarray) -> np.ndarray:
        fan_in = int(np.prod(z.shape[1:])) if z.ndim > 1 else z.shape[0]
        return z * np.float32(gain / np.sqrt(fan_in))

    return post


def _affine(offset: float, scale: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda z: np.float32(offset) + np.float32(scale) * z


def _vec(values, scale: float) -> Callable[[np.ndarray], np.ndarray]:
    base = np.asarray(values, dtype=np.float32)
    return lambda z: np.tile(base, z.shape[-1] // base.size)[None, :] + np.float32(scale) * z


# (regular expression searched in the full tensor name, minimum ndim, post function)
RULES: tuple[tuple[str, int, Callable[[np.ndarray], np.ndarray]], ...] = (
    (r"running_var$", 0, lambda z: np.float32(1) + np.float32(0.1) * np.abs(z)),
    (r"running_mean$", 0, _affine(0.0, 0.05)),
    (r"init_body_pose$", 0, _vec([1, 0, 0, 0, 1, 0], 0.1)),
    (r"init_betas$", 0, _affine(0.0, 0.3)),
    (r"init_cam$", 0, _vec([0.9, 0, 0], 0.02)),
    (r"codebook$", 0, _affine(0.0, 0.5)),
    (r"pos_embedding$", 0, _affine(0.0, 1.0)),
    (r"pos_embed$", 0, _affine(0.0, 0.2)),
    (r"class_pred_layer\.weight$", 2, _mat(4.0)),
    (r"deccam\.weight$", 2, _mat(0.05)),
    (r"decshape\.weight$", 2, _mat(0.3)),
    (r"decpose_grot\.weight$", 2, _mat(0.3)),
    (r"decpose_hands\.weight$", 2, _mat(0.1)),
    (r"(qkv|to_qkv|to_kv|to_q)\.weight$", 2, _mat(1.5)),
    (r"(encoder|decoder)\..*weight$", 3, _mat(1.3)),
    (r"weight$", 2, _mat(1.0)),
    (r"weight$", 0, _affine(1.0, 0.1)),
    (r"bias$", 0, _affine(0.0, 0.05)),
    (r"", 0, _mat(1.0)),
)


def value(seed: int, name: str, shape: Iterable[int]) -> np.ndarray:
    shape = tuple(int(s) for s in shape)
    z = normal(seed, name, shape)
    for pattern, min_ndim, post in RULES:
        if len(shape) >= min_ndim and re.search(pattern, name):
            return np.ascontiguousarray(post(z), dtype=np.float32)
    raise AssertionError(name)


def fill(seed: int, shapes: Mapping[str, Iterable[int]], prefix: str = "") -> dict[str, np.ndarray]:
    """{name: shape} -> {name: float32 array}; `prefix` is prepended only for keying."""
    return {n: value(seed, prefix + n, s) for n, s in shapes.items()}


def fill_module(seed: int, module, prefix: str = "", skip: str = r"^$") -> None:
    """Overwrite every floating tensor of module.state_dict() in place, one at a time.

    Integer and boolean tensors, and names matching `skip`, are left alone.
    """
    import torch

    with torch.no_grad():
        for name, t in module.state_dict().items():
            if not t.is_floating_point() or re.search(skip, name):
                continue
            t.copy_(torch.from_numpy(value(seed, prefix + name, tuple(t.shape))).to(t.dtype))


# --------------------------------------------------------------------------
# Stand-in inputs
# --------------------------------------------------------------------------


def standin_image(seed: int, name: str, height: int, width: int) -> np.ndarray:
    """uint8 [H, W, 3] test picture: smooth blobs plus texture (channel order as stored)."""
    r = stream(seed, name)
    yy, xx = np.meshgrid(np.arange(height, dtype=np.float64), np.arange(width, dtype=np.float64), indexing="ij")
    img = np.zeros((height, width, 3), np.float64)
    for c in range(3):
        acc = np.full((height, width), 96.0 + 32.0 * r.random())
        for _ in range(12):
            cy, cx = r.random() * height, r.random() * width
            s = (0.03 + 0.12 * r.random()) * max(height, width)
            acc += (r.random() - 0.4) * 180.0 * np.exp(-((yy - cy) ** 2 + (xx - cx) ** 2) / (2 * s * s))
        for _ in range(4):
            fy, fx, ph = r.random() * 0.9, r.random() * 0.9, r.random() * 6.28
            acc += 14.0 * np.sin(fy * yy + fx * xx + ph)
        img[..., c] = acc
    return np.clip(np.rint(img), 0, 255).astype(np.uint8)


def random_rotations(seed: int, name: str, shape: Iterable[int], max_angle: float) -> np.ndarray:
    """float32 axis-angle vectors shape+(3,), angle uniform in [0, max_angle], axis isotropic."""
    shape = tuple(shape)
    axis = normal(seed, name + "/axis", (*shape, 3)).astype(np.float64)
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    ang = uniform(seed, name + "/angle", (*shape, 1)).astype(np.float64) * max_angle
    return (axis * ang).astype(np.float32)


def rodrigues(aa: np.ndarray) -> np.ndarray:
    """float64 rotation matrices from axis-angle vectors [..., 3]."""
    aa = np.asarray(aa, np.float64)
    th = np.linalg.norm(aa, axis=-1)[..., None, None]
    k = np.zeros((*aa.shape[:-1], 3, 3))
    k[..., 0, 1], k[..., 0, 2], k[..., 1, 2] = -aa[..., 2], aa[..., 1], -aa[..., 0]
    k[..., 1, 0], k[..., 2, 0], k[..., 2, 1] = aa[..., 2], -aa[..., 1], aa[..., 0]
    safe = np.where(th < 1e-12, 1.0, th)
    return np.eye(3) + np.sin(th) / safe * k + (1 - np.cos(th)) / (safe * safe) * (k @ k)


# --------------------------------------------------------------------------
# Stand-in SMPL / SMPL-H format body models (random, not a human body)
# --------------------------------------------------------------------------

SMPL_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
SMPLH_PARENTS = [
    *SMPL_PARENTS[:22],
    20,
    22,
    23,
    20,
    25,
    26,
    20,
    28,
    29,
    20,
    31,
    32,
    20,
    34,
    35,
    21,
    37,
    38,
    21,
    40,
    41,
    21,
    43,
    44,
    21,
    46,
    47,
    21,
    49,
    50,
]


def standin_body(seed: int, kind: str = "smpl", n_verts: int = 6890, tag: str = "") -> dict[str, np.ndarray]:
    """Dict with the field names of the SMPL ('smpl', 24 joints) / SMPL-H ('smplh', 52 joints) pickles.

    Joints sit on a random tree; vertices are scattered around joints; skinning
    weights are 4-sparse and sum to 1; the joint regressor rows are 16-sparse and
    sum to 1.  Use a different `tag` for a second gender.
    """
    parents = SMPL_PARENTS if kind == "smpl" else SMPLH_PARENTS
    nj = len(parents)
    r = stream(seed, f"standin/{kind}/{tag}")
    joints = np.zeros((nj, 3))
    for j in range(1, nj):
        step = r.standard_normal(3)
        joints[j] = joints[parents[j]] + step / np.linalg.norm(step) * (0.12 + 0.18 * r.random())
    owner = np.arange(n_verts) % nj
    v = joints[owner] + 0.06 * r.standard_normal((n_verts, 3))
    shapedirs = 0.02 * r.standard_normal((n_verts, 3, 10))
    posedirs = 0.002 * r.standard_normal((n_verts, 3, 9 * (nj - 1)))
    weights = np.zeros((n_verts, nj))
    rows = np.arange(n_verts)
    weights[rows, owner] += 1.0
    for _ in range(3):
        weights[rows, r.integers(0, nj, n_verts)] += r.random(n_verts) * 0.5
    weights /= weights.sum(1, keepdims=True)
    reg = np.zeros((nj, n_verts))
    for j in range(nj):
        idx = np.flatnonzero(owner == j)[:16]
        w = r.random(len(idx)) + 0.1
        reg[j, idx] = w / w.sum()
    faces = r.integers(0, n_verts, (2 * n_verts - 4, 3)).astype(np.uint32)
    table = np.stack([np.array([4294967295, *parents[1:]], np.uint32), np.arange(nj, dtype=np.uint32)])
    out = dict(
        v_template=v,
        shapedirs=shapedirs,
        posedirs=posedirs,
        weights=weights,
        J_regressor=reg,
        f=faces,
        kintree_table=table,
    )
    if kind == "smplh":
        for side in "lr":
            out["hands_components" + side] = r.standard_normal((45, 45)) * 0.1
            out["hands_mean" + side] = r.standard_normal(45) * 0.1
    return out


def standin_extra_regressor(seed: int, n_rows: int = 19, n_verts: int = 6890) -> np.ndarray:
    """float64 [19, n_verts], rows 24-sparse and summing to 1 (shape of the extra-joint regressor)."""
    r = stream(seed, "standin/extra_regressor")
    out = np.zeros((n_rows, n_verts))
    for k in range(n_rows):
        idx = r.choice(n_verts, 24, replace=False)
        w = r.random(24) + 0.1
        out[k, idx] = w / w.sum()
    return out
