# SPDX-License-Identifier: GPL-3.0-or-later
"""What the papers and the released programs reached, to be printed beside what was measured here."""

from __future__ import annotations

from dataclasses import dataclass

_TOKENHMR = "TokenHMR (Dwivedi et al., CVPR 2024)"
_BLADE = "BLADE (Wang et al., CVPR 2025)"
_HMR2 = "HMR2.0 (Goel et al., ICCV 2023)"


@dataclass(frozen=True)
class Row:
    dataset: str
    method: str
    source: str
    figures: dict[str, float]
    """By the names of `scores.MEASURES`."""
    crop_percent: int = 0


def _body(mve: float, mpjpe: float, pa: float) -> dict[str, float]:
    return {"mve_mm": mve, "mpjpe_mm": mpjpe, "pa_mpjpe_mm": pa}


def _blade(tz, inverse_tz, txy, focal, pa, mpjpe, pve, miou, part_miou) -> dict[str, float]:
    camera = {"tz_m": tz, "inverse_tz": inverse_tz, "txy_m": txy, "focal_percent": focal}
    return _body(pve, mpjpe, pa) | camera | {"miou_percent": miou, "part_miou_percent": part_miou}


ROWS = (
    Row("3dpw", "TokenHMR, paper", f"{_TOKENHMR}", _body(84.3, 70.9, 44.8)),
    Row("3dpw", "TokenHMR, release", f"{_TOKENHMR}, released weights", _body(84.8, 72.0, 45.5)),
    Row("3dpw", "TokenHMR, demo", f"{_TOKENHMR}, demo weights", _body(85.0, 72.8, 47.1)),
    Row("3dpw", "TokenHMR, BEDLAM alone", f"{_TOKENHMR}, trained on BEDLAM alone", _body(85.7, 71.6, 44.0)),
    Row("3dpw", "HMR2.0a", f"{_HMR2}, quoted", {"mpjpe_mm": 70.0, "pa_mpjpe_mm": 44.5}),
    Row("3dpw", "HMR2.0b", f"{_HMR2}, quoted", {"mpjpe_mm": 81.3, "pa_mpjpe_mm": 54.3}),
    Row("emdb", "TokenHMR, paper", f"{_TOKENHMR}", _body(108.5, 89.5, 55.6)),
    Row("emdb", "TokenHMR, release", f"{_TOKENHMR}, released weights", _body(110.0, 91.9, 56.4)),
    Row("emdb", "TokenHMR, demo", f"{_TOKENHMR}, demo weights", _body(112.2, 93.7, 58.9)),
    Row("emdb", "TokenHMR, BEDLAM alone", f"{_TOKENHMR}, trained on BEDLAM alone", _body(106.2, 89.6, 49.8)),
    Row("emdb", "TokenHMR, paper", f"{_TOKENHMR}, table 2", _body(124.1, 104.7, 62.1), 30),
    Row("emdb", "TokenHMR, paper", f"{_TOKENHMR}, table 2", _body(150.3, 126.0, 78.9), 50),
    Row(
        "spec-mtp", "BLADE, paper", f"{_BLADE}, SPEC-MTP",
        _blade(0.127, 0.112, 0.044, 15.9, 56.7, 94.1, 99.6, 69.9, 41.5),
    ),
    Row(
        "spec-mtp", "BLADE, release", f"{_BLADE}, released weights",
        _blade(0.135, 0.122, 0.054, 18.0, 56.8, 93.9, 102.0, 67.9, 39.4),
    ),
    Row(
        "humman", "BLADE, release", f"{_BLADE}, released weights",
        _blade(0.149, 0.045, 0.059, 5.6, 27.8, 44.4, 52.1, 71.0, 41.9),
    ),
    Row(
        "pdhuman", "BLADE, release", f"{_BLADE}, released weights",
        _blade(0.110, 0.185, 0.109, 21.5, 67.0, 101.9, 116.2, 62.3, 38.6),
    ),
)  # fmt: skip
"""3DPW and EMDB: whole test set; SPEC-MTP, HuMMan, PDHuman: H36M's joints regressed from SMPL's surface."""


def rows_for(dataset: str, crop_percent: int) -> tuple[Row, ...]:
    """All methods on a data set."""
    return tuple(row for row in ROWS if row.dataset == dataset and row.crop_percent == crop_percent)
