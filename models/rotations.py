# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations in numpy: rotation vectors, matrices and quaternions, batched over any leading shape.

Rotation vectors are axis times angle in radians, matrices act on column vectors, quaternions are (w, x, y, z).
Every conversion is called `<from>_to_<to>`, keeps the floating type of its input, and is stable at angle 0 and pi.
"""

import numpy as np


def cross_matrix(vectors: np.ndarray) -> np.ndarray:
    """(..., 3) -> (..., 3, 3): the matrix K with K @ x = cross(vector, x)."""
    x, y, z = vectors[..., 0], vectors[..., 1], vectors[..., 2]
    matrices = np.zeros((*x.shape, 3, 3), vectors.dtype)
    # Written in place: stacking nine arrays takes many times longer, and fits call this thousands of times.
    matrices[..., 0, 1], matrices[..., 0, 2] = -z, y
    matrices[..., 1, 0], matrices[..., 1, 2] = z, -x
    matrices[..., 2, 0], matrices[..., 2, 1] = -y, x
    return matrices


def rotvec_to_matrix(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 3) rotation vectors in radians -> (..., 3, 3) matrices, by Rodrigues' formula."""
    rotvecs = _floating(rotvecs)
    half_turns = (np.linalg.norm(rotvecs, axis=-1) / np.pi)[..., None, None]
    # np.sinc(t / pi) is sin(t) / t with its limit at zero built in; (1 - cos t) / t^2 is half of sinc(t / 2) squared.
    sine_term = np.sinc(half_turns).astype(rotvecs.dtype)
    cosine_term = (0.5 * np.sinc(half_turns / 2) ** 2).astype(rotvecs.dtype)
    cross = cross_matrix(rotvecs)
    return np.eye(3, dtype=rotvecs.dtype) + sine_term * cross + cosine_term * (cross @ cross)


def matrix_to_rotvec(matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 3) rotation vectors of length at most pi."""
    m = _floating(matrices)
    twice_sine = np.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    cosine = (m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2] - 1) / 2
    sine = np.sqrt(np.square(twice_sine).sum(-1)) / 2
    angle = np.arctan2(sine, cosine)
    tiny = sine < np.finfo(m.dtype).eps
    scale = np.where(tiny, 0.5, angle / np.where(tiny, 1, 2 * sine))
    rotvecs = (twice_sine * scale[..., None]).astype(m.dtype)
    far = cosine < -0.5  # beyond 120 degrees the sine says too little about the axis
    if far.any():
        rotvecs[far] = quaternion_to_rotvec(matrix_to_quaternion(m[far]))
    return rotvecs


def rotvec_to_quaternion(rotvecs: np.ndarray) -> np.ndarray:
    """(..., 3) rotation vectors in radians -> (..., 4) unit quaternions (w, x, y, z)."""
    rotvecs = _floating(rotvecs)
    angle = np.linalg.norm(rotvecs, axis=-1, keepdims=True)
    xyz = rotvecs * (0.5 * np.sinc(angle / (2 * np.pi))).astype(rotvecs.dtype)
    return np.concatenate([np.cos(angle / 2), xyz], -1)


def quaternion_to_rotvec(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) unit quaternions -> (..., 3) rotation vectors of length at most pi."""
    q = _floating(quaternions)
    q = np.where(q[..., :1] < 0, -q, q)  # q and -q are one rotation; w >= 0 gives the shorter way round
    w, xyz = q[..., :1], q[..., 1:]
    length = np.linalg.norm(xyz, axis=-1, keepdims=True)
    tiny = length < np.finfo(q.dtype).eps
    scale = np.where(tiny, 2.0, 2 * np.arctan2(length, w) / np.where(tiny, 1.0, length))
    return xyz * scale.astype(q.dtype)


def matrix_to_quaternion(matrices: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 4) unit quaternions with w >= 0.

    Each row of the symmetric matrix below is the quaternion times one of its own components; the row with the largest
    component is divided by that component, so that nothing is ever divided by something small.
    """
    m = _floating(matrices)
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (np.moveaxis(row, -1, 0) for row in np.moveaxis(m, -2, 0))
    rows = np.stack(
        [
            np.stack([1 + xx + yy + zz, zy - yz, xz - zx, yx - xy], -1),
            np.stack([zy - yz, 1 + xx - yy - zz, yx + xy, zx + xz], -1),
            np.stack([xz - zx, yx + xy, 1 - xx + yy - zz, zy + yz], -1),
            np.stack([yx - xy, zx + xz, zy + yz, 1 - xx - yy + zz], -1),
        ],
        -2,
    )
    largest = np.diagonal(rows, axis1=-2, axis2=-1).argmax(-1)
    q = np.take_along_axis(rows, largest[..., None, None], -2)[..., 0, :]
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    return np.where(q[..., :1] < 0, -q, q)


def quaternion_to_matrix(quaternions: np.ndarray) -> np.ndarray:
    """(..., 4) quaternions of any non-zero length -> (..., 3, 3)."""
    q = _floating(quaternions)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    cross = cross_matrix(q[..., 1:])
    return np.eye(3, dtype=q.dtype) + 2 * q[..., :1, None] * cross + 2 * (cross @ cross)


def quaternion_multiply(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 4) x (..., 4) -> (..., 4): the rotation `b` followed by the rotation `a`."""
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    return np.concatenate([aw * bw - (av * bv).sum(-1, keepdims=True), aw * bv + bw * av + np.cross(av, bv)], -1)


def slerp(start: np.ndarray, end: np.ndarray, fraction: np.ndarray | float) -> np.ndarray:
    """Unit quaternions (..., 4) on the shorter arc from `start` (fraction 0) to `end` (fraction 1)."""
    start, end = _floating(start), _floating(end)
    fraction = np.asarray(fraction, start.dtype)[..., None]
    cosine = (start * end).sum(-1, keepdims=True)
    end = np.where(cosine < 0, -end, end)
    # Half the angle between the ends, from their difference: arccos would lose half the digits for close quaternions.
    difference, total = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (end - start, end + start))
    angle = 2 * np.arctan2(difference, total)
    # sin(t x) / sin(x), written with sinc so that equal ends need no special case; the common factor cancels below.
    from_start = (1 - fraction) * np.sinc((1 - fraction) * angle / np.pi)
    from_end = fraction * np.sinc(fraction * angle / np.pi)
    mixed = from_start * start + from_end * end
    return (mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)).astype(start.dtype)


def rotation_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(..., 3) x (..., 3) directions of any length -> (..., 3, 3): the smallest rotation taking source to target."""
    a, b = np.broadcast_arrays(_unit(_floating(source)), _unit(_floating(target)))
    # The half-way quaternion is (1 + a.b, a x b). For opposite directions it vanishes: turn about any normal instead.
    w, xyz = 1 + (a * b).sum(-1, keepdims=True), _cross(a, b)
    opposite = w < 4 * np.finfo(a.dtype).eps
    least_axis = np.eye(3, dtype=a.dtype)[np.abs(a).argmin(-1)]
    w, xyz = np.where(opposite, 0, w), np.where(opposite, _cross(a, least_axis), xyz)
    return quaternion_to_matrix(np.concatenate([w, xyz], -1))


def twist_angle_rad(matrices: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """How far (..., 3, 3) rotations turn about unit axes (..., 3), swing taken away: (...), radians in [-pi, pi].

    It is 2 atan(q_xyz . axis / q_w) of the rotation's quaternion q, written with the matrix itself.
    """
    m = _floating(matrices)
    sine = np.stack([m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1)
    return 2 * np.arctan2((sine * np.asarray(axis, m.dtype)).sum(-1), 1 + np.trace(m, axis1=-2, axis2=-1))


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """np.cross for (..., 3) of one shape, without its many checks."""
    return (cross_matrix(a) @ b[..., None])[..., 0]


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _floating(array: np.ndarray) -> np.ndarray:
    array = np.asarray(array)
    return array if np.issubdtype(array.dtype, np.floating) else array.astype(np.float64)
