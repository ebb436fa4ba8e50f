# SPDX-License-Identifier: GPL-3.0-or-later
"""Boxes and names of the people that were found, drawn over the image or clip."""

from __future__ import annotations

import blf
import bpy
import gpu
from gpu_extras.batch import batch_for_shader

from .editors import shown_in
from .properties import settings_of

_CHOSEN, _LEFT_OUT, _ACTIVE = (1.0, 0.55, 0.1, 1.0), (0.85, 0.85, 0.85, 0.9), (1.0, 0.8, 0.3, 1.0)
_SHADE = (0.0, 0.0, 0.0, 0.75)
_LINE_PX, _TEXT_PX = 2.0, 13

_handles: list[tuple[type, object]] = []


def register() -> None:
    for space in (bpy.types.SpaceImageEditor, bpy.types.SpaceClipEditor):
        _handles.append((space, space.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")))


def unregister() -> None:
    while _handles:
        space, handle = _handles.pop()
        space.draw_handler_remove(handle, "WINDOW")


def to_region(region: bpy.types.Region, person: bpy.types.PropertyGroup) -> tuple[float, float, float, float]:
    """Left, bottom, right, top of a person's box in pixels of the region."""
    left, top, right, bottom = person.box_px
    low = region.view2d.view_to_region(left / person.width, 1 - bottom / person.height, clip=False)
    high = region.view2d.view_to_region(right / person.width, 1 - top / person.height, clip=False)
    return (*low, *high)


def _draw() -> None:
    context = bpy.context
    settings = settings_of(context.scene)
    if settings.people != "CHOSEN" or not len(settings.found):
        return
    shown = shown_in(context)
    for index, person in enumerate(settings.found):
        if (person.source, person.frame) == shown:
            _draw_person(context.region, person, index == settings.active_person)


def _draw_person(region: bpy.types.Region, person: bpy.types.PropertyGroup, is_active: bool) -> None:
    left, bottom, right, top = to_region(region, person)
    colour = _LEFT_OUT if not person.use else _ACTIVE if is_active else _CHOSEN
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    gpu.state.blend_set("ALPHA")
    lines = gpu.shader.from_builtin("POLYLINE_UNIFORM_COLOR")
    lines.uniform_float("viewportSize", (region.width, region.height))
    lines.uniform_float("lineWidth", _LINE_PX + is_active)
    lines.uniform_float("color", colour)
    batch_for_shader(lines, "LINE_STRIP", {"pos": [(*corner, 0.0) for corner in corners]}).draw(lines)

    scale = bpy.context.preferences.system.ui_scale
    blf.size(0, _TEXT_PX * scale)
    text = person.name if person.use else f"{person.name} (left out)"
    width, height = blf.dimensions(0, text)
    pad = 4 * scale
    plate = [(left, top), (left + width + 2 * pad, top), (left, top + height + 2 * pad)]
    plate += [(plate[1][0], plate[2][1])]
    fill = gpu.shader.from_builtin("UNIFORM_COLOR")
    fill.uniform_float("color", _SHADE)
    batch_for_shader(fill, "TRI_STRIP", {"pos": plate}).draw(fill)
    gpu.state.blend_set("NONE")
    blf.color(0, *colour)
    blf.position(0, left + pad, top + pad, 0)
    blf.draw(0, text)
