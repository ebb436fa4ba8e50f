# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's camera images exactly as the pinhole does, and the rendered body covers the pixels the pinhole says."""

import numpy as np
import pytest

from recover_body.wire.frames import project

from .sample import camera, sample

SHAPES = {
    "landscape": dict(width=640, height=480),
    "portrait": dict(width=480, height=640),
    "square": dict(width=500, height=500),
    "off-centre": dict(width=640, height=480, offset_px=(37.5, -81.0)),
    "off-centre portrait": dict(width=360, height=640, offset_px=(-55.0, 120.0)),
    "oblong pixels": dict(width=720, height=480, aspect=0.9, offset_px=(20.0, 30.0)),
    "oblong pixels, portrait": dict(width=480, height=720, aspect=1.15, offset_px=(20.0, 30.0)),
}


def draw(made, image=None):
    from recover_body.addon.scene import draw_recovery

    return draw_recovery(made.recovery, image)


def project_with_blender(scene, camera_object, points_world):
    """(N, 3) world points -> (N, 2) pixels from the top left corner, as Blender itself sees them."""
    from bpy_extras.object_utils import world_to_camera_view
    from mathutils import Vector

    render = scene.render
    views = np.array([world_to_camera_view(scene, camera_object, Vector(p)) for p in points_world], np.float64)
    return np.stack([views[:, 0] * render.resolution_x, (1 - views[:, 1]) * render.resolution_y], -1)


@pytest.mark.parametrize("shape", SHAPES)
def test_known_points_land_on_the_pinholes_pixels(bpy, shape):
    made = sample(1, track=camera(**SHAPES[shape]))
    drawing = draw(made)
    track = made.recovery.take.camera
    rng = np.random.default_rng(0)
    points_cam = np.stack([rng.uniform(-1, 1, 50), rng.uniform(-1, 1, 50), rng.uniform(3, 6, 50)], -1)
    points_world = points_cam @ track.pose()[:3, :3].T + track.pose()[:3, 3]
    scene = bpy.context.scene
    assert scene.camera == drawing.camera
    assert (scene.render.resolution_x, scene.render.resolution_y) == (track.width, track.height)
    found = project_with_blender(scene, drawing.camera, points_world)
    # 32-bit floats hold a coordinate of 640 pixels to 4e-5; a few operations on it stay well below 1e-3.
    assert np.abs(found - project(points_cam, track.intrinsics())).max() < 1e-3


def test_a_moving_zooming_camera(bpy):
    made = sample(2, frames=4, track=camera(frames=4))
    drawing = draw(made)
    track, scene = made.recovery.take.camera, bpy.context.scene
    for frame in range(4):
        scene.frame_set(frame + 1)
        points_world = made.joints_world[0, frame]
        pose = track.pose(frame)
        points_cam = (points_world - pose[:3, 3]) @ pose[:3, :3]
        found = project_with_blender(scene, drawing.camera, points_world)
        assert np.abs(found - project(points_cam, track.intrinsics(frame))).max() < 2e-3


def silhouette(triangles_px, width, height):
    """(T, 3, 2) pixels -> (height, width) bool: a pixel is in when its centre lies in a triangle."""
    mask = np.zeros((height, width), bool)
    low = np.clip(np.floor(triangles_px.min(1) - 0.5).astype(int), 0, [width, height])
    high = np.clip(np.ceil(triangles_px.max(1) + 0.5).astype(int), 0, [width, height])
    for (a, b, c), (x0, y0), (x1, y1) in zip(triangles_px, low, high, strict=True):
        if x1 <= x0 or y1 <= y0:
            continue
        x, y = np.meshgrid(np.arange(x0, x1) + 0.5, np.arange(y0, y1) + 0.5)
        edges = [(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        mask[y0:y1, x0:x1] |= (np.minimum.reduce(edges) >= 0) | (np.maximum.reduce(edges) <= 0)
    return mask


def rendered_mask(bpy, path):
    """Render the scene's people with Workbench on nothing, and read which pixels they cover."""
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.film_transparent = True
    scene.display.shading.color_type = "MATERIAL"
    scene.render.filepath = str(path)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(str(path))
    width, height = image.size
    pixels = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, 4)[::-1, :, 3] > 0.5


@pytest.mark.parametrize("shape", ["landscape", "off-centre portrait", "oblong pixels"])
def test_the_render_covers_the_pixels_of_the_body(bpy, tmp_path, shape):
    made = sample(3, people=1, spread_rad=0.3, track=camera(**SHAPES[shape], focal_px=500))
    draw(made)
    track = made.recovery.take.camera
    pose = track.pose()
    vertices_cam = (made.vertices_world[0, 0] - pose[:3, 3]) @ pose[:3, :3]
    vertices_px = project(vertices_cam, track.intrinsics())
    expected = silhouette(vertices_px[made.recovery.rigs[0].faces], track.width, track.height)
    found = rendered_mask(bpy, tmp_path / "mask.png")
    assert expected.sum() > 2000
    assert (expected & found).sum() / (expected | found).sum() > 0.97


def test_the_picture_lies_behind_the_camera(bpy):
    image = bpy.data.images.new("photo", 640, 480)
    drawing = draw(sample(4), image)
    (background,) = drawing.camera.data.background_images
    assert background.image == image
    assert background.frame_method == "STRETCH"
    assert drawing.camera.data.show_background_images
