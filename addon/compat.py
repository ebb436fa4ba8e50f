# SPDX-License-Identifier: GPL-3.0-or-later
"""Every difference between Blender versions that the add-on meets, found by looking for the feature, not the number.

4.2 and 4.3 have one flat action per datablock. From 4.4 an action has slots, one for each datablock that shares it, and
5.0 dropped the old door. 5.0 also moved the selection of bones from the bone to the pose bone. A sequence editor has
`sequences` up to 4.3 and `strips` from 4.4, and from 5.0 it may show another scene than the window. From 5.1 the times
of a strip have other names.
"""

from __future__ import annotations

from dataclasses import dataclass

import bpy

HAS_SLOTS = "slots" in bpy.types.Action.bl_rna.properties
_SELECT_ON_POSE_BONE = "select" in bpy.types.PoseBone.bl_rna.properties


def action_curves(action: bpy.types.Action, owner: bpy.types.ID) -> tuple:
    """Let `action` animate `owner`; returns the (F-curves, groups) in which the keys of `owner` go.

    Without slots an action belongs to one owner only: give each owner an action of its own (see `HAS_SLOTS`).
    """
    animation = owner.animation_data or owner.animation_data_create()
    animation.action = action
    if not HAS_SLOTS:
        return action.fcurves, action.groups
    slot = action.slots.new(id_type=owner.id_type, name=owner.name)
    animation.action_slot = slot
    layer = action.layers[0] if action.layers else action.layers.new("Layer")
    strip = layer.strips[0] if layer.strips else layer.strips.new(type="KEYFRAME")
    bag = strip.channelbag(slot, ensure=True)
    return bag.fcurves, bag.groups


def curves_of(owner: bpy.types.ID) -> list[bpy.types.FCurve]:
    """The F-curves that animate `owner` now."""
    found = own_curves(owner)
    return list(found[0]) if found else []


def own_curves(owner: bpy.types.ID) -> tuple | None:
    """(F-curves, groups) of the action that animates `owner` now, to change them; None where there is none."""
    animation = owner.animation_data
    if animation is None or animation.action is None:
        return None
    if not HAS_SLOTS:
        return animation.action.fcurves, animation.action.groups
    bag = _bag(animation.action, animation.action_slot)
    return (bag.fcurves, bag.groups) if bag is not None else None


def curves_of_action(action: bpy.types.Action, slot) -> list[bpy.types.FCurve]:
    """The F-curves that `action` has for the user of `slot` (see `slot_of`)."""
    if not HAS_SLOTS:
        return list(action.fcurves)
    bag = _bag(action, slot)
    return list(bag.fcurves) if bag is not None else []


def _bag(action: bpy.types.Action, slot):
    """The channel bag of a slot; None where nothing is animated."""
    bags = (s.channelbag(slot) for layer in action.layers for s in layer.strips) if slot is not None else ()
    return next((bag for bag in bags if bag is not None), None)


def slot_of(animation: bpy.types.AnimData | bpy.types.NlaStrip):
    """The slot of its action that is used; None in versions without slots."""
    return animation.action_slot if HAS_SLOTS else None


def has_operator(name: str) -> bool:
    """Whether this build of Blender has the operator `name`, e.g. wm.usd_export. Quick: panels ask as they draw."""
    area, verb = name.split(".")
    try:
        getattr(getattr(bpy.ops, area), verb).get_rna_type()
    except (KeyError, AttributeError):
        return False
    return True


def select_pose_bone(pose_bone: bpy.types.PoseBone, selected: bool) -> None:
    """Select or deselect a bone in pose mode."""
    if _SELECT_ON_POSE_BONE:
        pose_bone.select = selected
    else:
        pose_bone.bone.select = selected


def is_pose_bone_selected(pose_bone: bpy.types.PoseBone) -> bool:
    """The inverse."""
    return pose_bone.select if _SELECT_ON_POSE_BONE else pose_bone.bone.select


def is_artist_busy(waited_s: float) -> bool:
    """Whether a modal operator runs in some window (a drag, a knife cut): objects must not be exchanged under it.

    Blender's own end when the artist lets go. Other add-ons have some that never end (shown keys, asset bars): after
    `waited_s` of more than seconds they do not count.
    """
    return any(
        operator.bl_idname not in _HARMLESS and (waited_s < _PATIENCE_S or not _is_of_an_addon(operator))
        for window in bpy.context.window_manager.windows
        for operator in window.modal_operators
    )


_PATIENCE_S = 5.0


def _is_of_an_addon(operator: bpy.types.Operator) -> bool:
    return bpy.types.Operator.bl_rna_get_subclass_py(operator.bl_idname) is not None


_HARMLESS = {"SCREEN_OT_animation_step"}


def push_undo(name: str) -> None:
    """End an undo step here. Without a window (app timers, background) an operator needs to be told one, if any."""
    windows = bpy.context.window_manager.windows
    if bpy.context.window is None and windows:
        with bpy.context.temp_override(window=windows[0]):
            bpy.ops.ed.undo_push(message=name)
    else:
        bpy.ops.ed.undo_push(message=name)


def sequencer_scene(context: bpy.types.Context) -> bpy.types.Scene:
    """The scene whose strips the Sequencer shows: from 5.0 it may be another than the window's."""
    return getattr(context, "sequencer_scene", None) or context.scene


def active_strip(context: bpy.types.Context) -> bpy.types.ID | None:
    """The active strip of the Sequencer, if any."""
    editor = sequencer_scene(context).sequence_editor
    return editor.active_strip if editor else None


def strips_of(editor: bpy.types.SequenceEditor) -> bpy.types.bpy_prop_collection:
    """The strips of a sequence editor: `sequences` up to 4.3, `strips` from 4.4."""
    return editor.strips if "strips" in editor.bl_rna.properties else editor.sequences


def all_strips_of(editor: bpy.types.SequenceEditor) -> bpy.types.bpy_prop_collection:
    """The same, with those inside meta strips."""
    return editor.strips_all if "strips_all" in editor.bl_rna.properties else editor.sequences_all


@dataclass(frozen=True)
class StripTimes:
    """When a strip shows what, in frames of the timeline."""

    content_start: float
    """Where its footage begins, whether that is shown or lies before the left handle."""
    content_end: int
    """The first frame after its footage, likewise."""
    trim_start: int
    """Frames of the file that are left out at its beginning."""
    trim_end: int
    """The same at its end."""
    left: int
    """The first frame that is shown."""
    right: int
    """The first that is not shown any more."""


def times_of_strip(strip: bpy.types.ID) -> StripTimes:
    """When a movie, image or clip strip shows what."""
    if "left_handle" in strip.bl_rna.properties:
        names = ("content_start", "content_trim_start", "content_trim_end", "left_handle", "right_handle")
        names += ("right_handle_offset",)
    else:
        names = ("frame_start", "animation_offset_start", "animation_offset_end", "frame_final_start")
        names += ("frame_final_end", "frame_offset_end")
    # Clip strips have no trims of their own.
    start, trim_start, trim_end, left, right, hidden = (getattr(strip, name, 0) for name in names)
    # Not by the strip's own length: in 4.2 that one does not know of retiming.
    return StripTimes(start, round(right + hidden), trim_start, trim_end, left, right)


def is_online_access_overridden() -> bool:
    """Whether the command line decided about online access, so that the preference changes nothing."""
    # Some versions spell it with one d less.
    return bool(getattr(bpy.app, "online_access_override", getattr(bpy.app, "online_access_overriden", False)))
