# SPDX-License-Identifier: GPL-3.0-or-later
"""The editors on screen: drawing them anew, looking through the camera, and what an editor shows."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

from .errors import AddonError
from .source_image import key_of_image
from .sources import chosen_source, frame_shown

WITH_PANEL = ("VIEW_3D", "IMAGE_EDITOR", "SEQUENCE_EDITOR", "CLIP_EDITOR")
WITH_BOXES = ("IMAGE_EDITOR", "CLIP_EDITOR")


def areas(*kinds: str) -> Iterator[bpy.types.Area]:
    """All areas of these kinds, in all windows."""
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.type in kinds)


def redraw_sidebars() -> None:
    """Draw the panels again, not the views: those may be heavy."""
    for area in areas(*WITH_PANEL):
        for region in area.regions:
            if region.type == "UI":
                region.tag_redraw()


def redraw_pictures() -> None:
    """Draw the editors that show boxes around people once more."""
    for area in areas(*WITH_BOXES):
        area.tag_redraw()


def look_through_camera(screen: bpy.types.Screen) -> None:
    """Let every 3D view of `screen` look through the scene's camera."""
    for area in screen.areas:
        if area.type == "VIEW_3D":
            area.spaces.active.region_3d.view_perspective = "CAMERA"


def fit_camera_views(screen: bpy.types.Screen) -> None:
    """Let the camera's frame fill the 3D views that look through it. Needs a window."""
    for window in bpy.context.window_manager.windows:
        for area in screen.areas if window.screen == screen else ():
            region = next((r for r in area.regions if r.type == "WINDOW"), None)
            if area.type == "VIEW_3D" and region is not None:
                with bpy.context.temp_override(window=window, area=area, region=region):
                    bpy.ops.view3d.view_center_camera()


def shown_in(context: bpy.types.Context) -> tuple[str, int] | None:
    """(path of a `Source`, frame of it) that an Image or Clip Editor shows; None where it shows none. Quick."""
    space = context.space_data
    if space.type == "IMAGE_EDITOR" and space.image is not None and space.image.source not in ("MOVIE", "SEQUENCE"):
        return key_of_image(space.image), 1
    try:
        source = chosen_source(context)
    except AddonError:
        return None
    return source.path, frame_shown(source, context.scene)
