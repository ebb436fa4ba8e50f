# SPDX-License-Identifier: GPL-3.0-or-later
"""What other programs read from our files: exported, imported into an empty file, and compared with the take."""

import json
import struct

import numpy as np
import pytest

from .sample import camera, sample
from .test_scene import draw, inventory

FRAMES = 10  # all of which are compared
KINDS = ("FBX", "GLTF", "USD", "BVH", "ALEMBIC", "AMASS")
CLOSE_M = 1e-3


@pytest.fixture
def made(bpy):
    return sample(5, frames=FRAMES, track=camera(frames=FRAMES), expression=0.4)


def exported(bpy, made, folder, kind, people=None):
    from recover_body.addon.export import export_people

    drawing = draw(made)
    return export_people([b.rig for b in drawing.bodies[:people]], folder / "anna", kind, bpy.context.scene)


def emptied(bpy, fps=25):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.context.scene.render.fps = fps
    return bpy.context.scene


def joints(bpy, scene, owner, names, frame):
    scene.frame_set(frame)
    return np.array([owner.matrix_world @ owner.pose.bones[name].head for name in names])


def assert_joints_are_the_takes(bpy, made, first_frame=1, names=lambda name: name):
    """In all frames, every joint, within a millimetre, in metres, z up."""
    scene = bpy.context.scene
    owner = next(o for o in bpy.data.objects if o.type == "ARMATURE")
    wanted = [names(name) for name in made.recovery.rigs[0].bone_names]
    for index in range(FRAMES):
        found = joints(bpy, scene, owner, wanted, first_frame + index)
        worst = np.linalg.norm(found - made.joints_world[0, index], axis=-1).max()
        assert worst < CLOSE_M, f"frame {index}: {1000 * worst:.2f} mm"
    return owner


def surface(bpy, frame):
    """(V, 3) the visible surface in the world."""
    bpy.context.scene.frame_set(frame)
    owner = next(o for o in bpy.data.objects if o.type == "MESH" and len(o.data.vertices) > 1000)
    seen = owner.evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = seen.to_mesh()
    points = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", points.ravel())
    to_world = np.array(seen.matrix_world)
    seen.to_mesh_clear()
    return points @ to_world[:3, :3].T + to_world[:3, 3]


def assert_skin_is_the_takes(bpy, made, frame=6, first_frame=1, close_m=2e-3):
    """The visible surface is the body model's; `close_m` leaves room for the pose correctives."""
    found, wanted = surface(bpy, first_frame + frame), made.vertices_world[0, frame]
    if len(found) == len(wanted):
        assert np.linalg.norm(found - wanted, axis=-1).max() < close_m
    else:  # glTF splits vertices along seams
        near = np.abs(found[:, None] - wanted[None, ::50]).sum(-1).min(0)
        assert near.max() < 3 * close_m


def assert_no_scale(path):
    """Game engines carry a node's scale into bones and physics: the file is in centimetres, and every scale is 1."""
    from io_scene_fbx import parse_fbx

    root, _ = parse_fbx.parse(str(path))
    elements = {e.id: e for e in root.elems}
    settings = {p.props[0]: p.props[-1] for p in elements[b"GlobalSettings"].elems[1].elems}
    assert settings[b"UnitScaleFactor"] == 1.0
    models = [e for e in elements[b"Objects"].elems if e.id == b"Model"]
    scales = [p.props[-3:] for m in models for part in m.elems if part.id == b"Properties70" for p in part.elems
              if p.props[0] == b"Lcl Scaling"]  # fmt: skip
    assert len(models) > 55 and np.allclose(scales, 1.0, atol=1e-5)


def test_fbx_comes_back(bpy, made, tmp_path):
    (path,) = exported(bpy, made, tmp_path, "FBX")
    assert_no_scale(path)
    emptied(bpy)
    bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0)
    owner = assert_joints_are_the_takes(bpy, made)
    keys = owner.children[0].data.shape_keys.key_blocks
    assert "beta_01" not in keys and "expression_01" in keys, "the shape is part of the mesh"
    assert owner.name == "Armature" and owner.data.bones["pelvis"].parent.name == "root"
    assert_skin_is_the_takes(bpy, made)


def assert_engines_can_read(path):
    """Each vertex has at most four bones, and the keys lie at the frames' times."""
    data = path.read_bytes()
    length = struct.unpack_from("<I", data, 12)[0]
    tree = json.loads(data[20 : 20 + length])
    assert len(tree["skins"]) == 1 and len(tree["skins"][0]["joints"]) == 56
    assert "JOINTS_1" not in tree["meshes"][0]["primitives"][0]["attributes"]
    times = {(a["min"][0], a["max"][0]) for a in tree["accessors"] if a["type"] == "SCALAR" and "max" in a}
    assert any(np.allclose(span, (1 / 25, FRAMES / 25)) for span in times), times


def test_gltf_comes_back(bpy, made, tmp_path):
    (path,) = exported(bpy, made, tmp_path, "GLTF")
    assert_engines_can_read(path)
    emptied(bpy)
    bpy.ops.import_scene.gltf(filepath=str(path))
    assert_joints_are_the_takes(bpy, made)
    assert_skin_is_the_takes(bpy, made)


def test_usd_comes_back(bpy, made, tmp_path):
    (path,) = exported(bpy, made, tmp_path, "USD")
    emptied(bpy)
    bpy.ops.wm.usd_import(filepath=str(path))
    body = next(o for o in bpy.data.objects if o.type == "MESH")
    for key in body.data.shape_keys.key_blocks[1:]:
        key.slider_min = -10  # Blender's importer clamps what the file says to 0..1
    assert_joints_are_the_takes(bpy, made)
    assert_skin_is_the_takes(bpy, made)


def test_bvh_comes_back(bpy, made, tmp_path):
    (path,) = exported(bpy, made, tmp_path, "BVH")
    emptied(bpy)
    bpy.ops.import_anim.bvh(filepath=str(path), axis_forward="Y", axis_up="Z", frame_start=1)
    assert_joints_are_the_takes(bpy, made)


def test_alembic_comes_back(bpy, made, tmp_path):
    (path,) = exported(bpy, made, tmp_path, "ALEMBIC")
    emptied(bpy)
    bpy.ops.wm.alembic_import(filepath=str(path), as_background_job=False)
    off_m = [np.linalg.norm(surface(bpy, 1 + n) - made.vertices_world[0, n], axis=-1).max() for n in range(FRAMES)]
    assert max(off_m) < CLOSE_M, off_m


def test_amass_has_the_takes_numbers(bpy, made, tmp_path):
    from recover_body.models.body_model import load_body
    from recover_body.wire.amass import read_amass

    (path,) = exported(bpy, made, tmp_path, "AMASS")
    motion, notes = read_amass(path)
    person = made.recovery.take.people[0]
    assert motion.fps == pytest.approx(25) and motion.body == "neutral" and not notes
    assert np.allclose(motion.betas, person.betas, atol=1e-5)
    assert np.allclose(motion.expression, person.expression, atol=1e-5)
    out = load_body("neutral").forward(motion.pose, motion.betas[None], motion.expression, motion.translation)
    assert np.abs(out.joints - made.joints_world[0]).max() < 2e-4  # the jaw's joint follows the expression


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_in_the_file_changes(bpy, tmp_path, kind):
    from recover_body.addon.export import export_people

    drawing = draw(sample(1, frames=2, track=camera(frames=2)))
    other = bpy.data.objects.new("Armature", None)
    bpy.context.scene.collection.objects.link(other)
    other.select_set(True)
    bpy.context.view_layer.objects.active = other
    rig = drawing.bodies[0].rig
    rig.hide_set(True)
    bpy.context.scene.frame_set(2)
    before = inventory(bpy), rig.name, bpy.context.scene.frame_end, [b.matrix.copy() for b in rig.pose.bones]
    export_people([rig], tmp_path / "x", kind, bpy.context.scene)
    after = inventory(bpy), rig.name, bpy.context.scene.frame_end, [b.matrix.copy() for b in rig.pose.bones]
    assert after == before
    assert bpy.context.selected_objects == [other] and bpy.context.view_layer.objects.active == other
    assert rig.hide_get() and bpy.context.scene.frame_current == 2 and bpy.context.scene.unit_settings.scale_length == 1
    assert len(list(tmp_path.iterdir())) == 1, "nothing half-written lies about"


@pytest.mark.parametrize("kind", ["FBX", "GLTF"])
def test_what_lies_in_the_nla_editor_is_exported_too(bpy, made, tmp_path, kind):
    from recover_body.addon.export import export_people
    from recover_body.addon.nla import push_down

    drawing = draw(made)
    push_down([drawing.bodies[0].rig, drawing.bodies[0].mesh.data.shape_keys])
    (path,) = export_people([drawing.bodies[0].rig], tmp_path / "x", kind, bpy.context.scene)
    emptied(bpy)
    if kind == "FBX":
        bpy.ops.import_scene.fbx(filepath=str(path), anim_offset=0)
    else:
        bpy.ops.import_scene.gltf(filepath=str(path))
    assert_joints_are_the_takes(bpy, made)


def test_several_people(bpy, tmp_path):
    made = sample(2, people=2, frames=2, track=camera(frames=2))
    assert [p.name for p in exported(bpy, made, tmp_path, "BVH")] == ["anna_Person_1_rig.bvh", "anna_Person_2_rig.bvh"]
    (path,) = exported(bpy, made, tmp_path, "USD")
    emptied(bpy)
    bpy.ops.wm.usd_import(filepath=str(path))
    assert sum(o.type == "ARMATURE" for o in bpy.data.objects) == 2


def test_what_cannot_be_written_is_told_and_the_old_file_stays(bpy, made, tmp_path):
    from recover_body.addon.errors import ExportError
    from recover_body.addon.export import export_people

    with pytest.raises(ExportError, match="nobody"):
        export_people([], tmp_path / "x", "FBX", bpy.context.scene)
    wall = tmp_path / "wall"
    wall.write_text("a file, not a folder")
    rig = draw(made).bodies[0].rig
    with pytest.raises(ExportError, match="cannot be written"):
        export_people([rig], wall / "x", "AMASS", bpy.context.scene)
    plain = bpy.data.objects.new("plain", bpy.data.armatures.new("plain"))
    bpy.context.scene.collection.objects.link(plain)
    good = tmp_path / "good.npz"
    good.write_bytes(b"precious")
    with pytest.raises(ExportError, match="not a recovered"):
        export_people([plain], good, "AMASS", bpy.context.scene)
    rig["recover_body_joints"] += " tail"
    with pytest.raises(ExportError, match="no bone tail"):
        export_people([rig], good, "AMASS", bpy.context.scene)
    assert good.read_bytes() == b"precious"
