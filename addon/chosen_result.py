# SPDX-License-Identifier: GPL-3.0-or-later
"""Which recovery, and which of its characters, a button of the Result panel is about."""

from __future__ import annotations

import bpy

from .errors import AddonError
from .identity import SOURCE
from .scene_replace import ROLE, objects_by_role


class NothingChosen(AddonError):
    """The button does not know whom it is about."""

    remedy = "Select a rig that Recover Body made."
    exit_code = 2


def shown_recovery(context: bpy.types.Context) -> bpy.types.Collection | None:
    """The recovery that the active object belongs to, else the newest of the scene."""
    active = context.view_layer.objects.active
    if active is not None and ROLE in active:
        for collection in active.users_collection:
            if SOURCE in collection:
                return collection
    found = [c for c in context.scene.collection.children_recursive if SOURCE in c]
    return found[-1] if found else None


def rig_named(context: bpy.types.Context, name: str = "") -> bpy.types.Object:
    """The recovered rig called `name`; else the active one (or the active body's). Raises NothingChosen."""
    owner = context.scene.objects.get(name) if name else context.view_layer.objects.active
    if owner is not None and str(owner.get(ROLE, "")).startswith("mesh") and owner.parent is not None:
        owner = owner.parent
    if owner is None or not is_rig(owner):
        raise NothingChosen(f"{name} is not a recovered character." if name else "No recovered character is selected.")
    return owner


def rigs_in(collection: bpy.types.Collection) -> dict[int, bpy.types.Object]:
    """Person's id -> rig, for everybody who is still there, in order."""
    roles = objects_by_role(collection).items()
    return dict(sorted((int(role.split()[1]), rig) for role, rig in roles if is_rig(rig)))


def is_rig(owner: bpy.types.Object) -> bool:
    """Whether this is the armature of a recovered person."""
    return owner.type == "ARMATURE" and str(owner.get(ROLE, "")).startswith("rig ")


def body_of(rig: bpy.types.Object) -> bpy.types.Object | None:
    """The mesh that the rig moves."""
    return next((child for child in rig.children if str(child.get(ROLE, "")).startswith("mesh")), None)
