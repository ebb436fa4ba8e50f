# SPDX-License-Identifier: GPL-3.0-or-later
"""People in the panel: found by the real engine in a real photograph, ticked, named, dropped; then recovered so."""

import os
import sys

import numpy as np
import pytest

from .test_addon import Enabled


@pytest.fixture
def addon(bpy, monkeypatch):
    monkeypatch.setenv("RECOVER_BODY_ENGINE_PYTHON", os.environ.get("RECOVER_BODY_ENGINE_PYTHON", sys.executable))
    with Enabled() as package:
        bpy.context.scene.recover_body.backend = "fake"
        yield package


@pytest.fixture
def two_people(bpy, shared, tmp_path):
    """The fixture's person, and the same one mirrored beside; a picture that Blender itself joins."""
    photo = bpy.data.images.load(str(shared("fixtures/images/barbell_lunge.jpg")))
    width, height = photo.size
    photo.scale(width * 400 // height, 400)
    width, height = photo.size
    pixels = np.empty(width * height * 4, np.float32)
    photo.pixels.foreach_get(pixels)
    pixels = pixels.reshape(height, width, 4)
    both = bpy.data.images.new("both", 2 * width, height)
    both.pixels.foreach_set(np.hstack([pixels, pixels[:, ::-1]]).ravel())
    both.file_format, both.filepath_raw = "PNG", str(tmp_path / "two.png")
    both.save()
    for image in (photo, both):
        bpy.data.images.remove(image)
    return str(tmp_path / "two.png")


def test_found_named_ticked_recovered_and_recovered_again(bpy, addon, two_people):
    from recover_body.addon import people

    scene, settings = bpy.context.scene, bpy.context.scene.recover_body
    settings.filepath = two_people
    assert bpy.ops.recover_body.find_people() == {"FINISHED"}
    assert settings.people == "CHOSEN" and [p.name for p in settings.found] == ["Person 1", "Person 2"]
    left = min(settings.found, key=lambda p: p.box_px[0])
    right = max(settings.found, key=lambda p: p.box_px[0])
    left.name, right.use = "Änne", False
    middle = (left.box_px[0] + left.box_px[2]) / 2, (left.box_px[1] + left.box_px[3]) / 2
    assert people.person_at(scene, two_people, 1, *middle) == left
    assert people.person_at(scene, two_people, 2, *middle) is None, "boxes belong to their frame"
    assert people.person_at(scene, two_people, 1, -5, -5) is None

    for _ in range(2):
        assert bpy.ops.recover_body.recover() == {"FINISHED"}
        (rig,) = (o for o in scene.objects if o.type == "ARMATURE")
        assert rig.name == "Änne rig"
    assert bpy.ops.recover_body.find_people() == {"FINISHED"}
    assert {(p.name, p.use) for p in settings.found} == {("Änne", True), (right.name, False)}, "names and ticks stay"
    settings.active_person = next(i for i, p in enumerate(settings.found) if p.name == "Änne")
    assert bpy.ops.recover_body.drop_person() == {"FINISHED"} and len(settings.found) == 1
    with pytest.raises(RuntimeError, match=r"Nobody is chosen.*Find People"):
        bpy.ops.recover_body.recover()
    settings.people = "ALL"
    assert bpy.ops.recover_body.recover() == {"FINISHED"}


def test_finding_is_one_undo_step_and_finds_nobody_where_nobody_is(bpy, addon, tmp_path):
    from recover_body.addon import jobs

    from ..addon.test_client import write_picture

    settings = bpy.context.scene.recover_body
    settings.filepath = str(write_picture(tmp_path / "grey.png"))
    assert bpy.ops.recover_body.find_people() == {"FINISHED"}
    assert not len(settings.found) and settings.people == "ALL"
    assert any("Nobody was found" in note for note in jobs.last_done().notes)


def test_people_belong_to_their_source(bpy, addon):
    settings = bpy.context.scene.recover_body
    for source, name in (("a.png", "Anna"), ("b.png", "Ben"), ("a.png", "Cho")):
        person = settings.found.add()
        person.source, person.name, person.box_px = source, name, (1, 2, 3, 4)
    settings.people = "CHOSEN"
    assert [c.name for c in settings.request_fields("a.png")["chosen"]] == ["Anna", "Cho"]
    assert [c.name for c in settings.chosen("b.png")] == ["Ben"]
