# SPDX-License-Identifier: GPL-3.0-or-later
"""The mesh of a rig plan: triangles, texture coordinates, materials, vertex groups and shape keys, all in bulk."""

from __future__ import annotations

import bmesh
import bpy
import numpy as np

from ..wire.frames import B_BLENDER_BODY
from ..wire.take import RigPlan
from .errors import DrawError

SLIDER_RANGE = 10.0
BODY_FROM_BLENDER = B_BLENDER_BODY.T
"""(3, 3) turns Blender's axes (z up) into the body frame's (y up)."""
_MATERIAL_TAG = "recover_body_material"
_LOOKS = {  # name -> base colour (linear), roughness
    "skin": ((0.74, 0.47, 0.36), 0.55),
    "eyes": ((0.85, 0.85, 0.82), 0.15),
    "iris": ((0.09, 0.05, 0.03), 0.15),
    "teeth": ((0.82, 0.78, 0.68), 0.25),
    "tongue": ((0.55, 0.20, 0.19), 0.40),
}


def make_mesh_object(rig: RigPlan, lift_m: float) -> bpy.types.Object:
    """The skinned mesh, standing `lift_m` higher than in the plan; not yet in any collection, without its modifier."""
    _check(rig)
    vertices = to_blender(rig.vertices, lift_m)
    mesh = bpy.data.meshes.new(f"{rig.name} body")
    mesh.vertices.add(len(vertices))
    mesh.vertices.foreach_set("co", vertices.ravel())
    # Weights before faces, because bmesh copies the whole mesh twice: now it is small.
    _write_weights(mesh, rig)
    _write_faces(mesh, rig)
    body = bpy.data.objects.new(mesh.name, mesh)
    for name in rig.bone_names:
        body.vertex_groups.new(name=name)
    _write_shape_keys(body, rig, vertices)
    return body


def to_blender(points_body: np.ndarray, lift_m: float) -> np.ndarray:
    """(N, 3) points of the body frame (y up) -> Blender's (z up), `lift_m` higher, float32."""
    return np.ascontiguousarray(points_body @ B_BLENDER_BODY.T + [0, 0, lift_m], np.float32)


def shaped_vertices(rig: RigPlan) -> np.ndarray:
    """(V, 3) rest vertices of this person, body frame."""
    return rig.vertices + np.tensordot(rig.shape_values, rig.shape_offsets, 1)


def _check(rig: RigPlan) -> None:
    """Blender does not survive indices that point outside, so they are refused here."""
    limits = {
        "faces": (rig.faces, len(rig.vertices)),
        "face_materials": (rig.face_materials, len(rig.material_names)),
        "face_uvs": (rig.face_uvs, len(rig.uvs)),
        "weight_bones": (rig.weight_bones, len(rig.bone_names)),
    }
    for name, (indices, count) in limits.items():
        if indices.size and not 0 <= indices.min() <= indices.max() < count:
            raise DrawError(f"The rig of {rig.name} is damaged: {name} points outside.")
    if not all(np.isfinite(a).all() for a in (rig.vertices, rig.bone_heads, rig.bone_tails, rig.shape_offsets)):
        raise DrawError(f"The rig of {rig.name} is damaged: it has coordinates that are not numbers.")


def _write_faces(mesh: bpy.types.Mesh, rig: RigPlan) -> None:
    corners = rig.faces.size
    mesh.loops.add(corners)
    mesh.loops.foreach_set("vertex_index", rig.faces.ravel().astype(np.int32))
    mesh.polygons.add(len(rig.faces))
    mesh.polygons.foreach_set("loop_start", np.arange(0, corners, 3, dtype=np.int32))
    for name in rig.material_names:
        mesh.materials.append(_material(name))
    mesh.polygons.foreach_set("material_index", rig.face_materials.astype(np.int32))
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    if len(rig.uvs):
        layer = mesh.uv_layers.new(name="UVMap")
        layer.uv.foreach_set("vector", rig.uvs[rig.face_uvs.ravel()].astype(np.float32).ravel())


def _write_weights(mesh: bpy.types.Mesh, rig: RigPlan) -> None:
    """bmesh writes a vertex's groups as a small mapping: half the time of `VertexGroup.add`, and exact."""
    work = bmesh.new()
    work.from_mesh(mesh)
    deform = work.verts.layers.deform.verify()
    for vertex, bones, weights in zip(work.verts, rig.weight_bones.tolist(), rig.weights.tolist(), strict=True):
        groups = vertex[deform]
        for bone, weight in zip(bones, weights, strict=True):
            if weight > 0:
                groups[bone] = weight
    work.to_mesh(mesh)
    work.free()


def _write_shape_keys(body: bpy.types.Object, rig: RigPlan, vertices: np.ndarray) -> None:
    names = [*rig.shape_names, *(c.name for c in rig.correctives)]
    if not names:
        return
    offsets = rig.shape_offsets
    if rig.corrective_offsets is not None:
        offsets = np.concatenate([offsets, rig.corrective_offsets])
    body.shape_key_add(name="Basis")
    body.data.shape_keys.name = f"{rig.name} shapes"
    for name, offset in zip(names, offsets, strict=True):
        key = body.shape_key_add(name=name, from_mix=False)
        key.points.foreach_set("co", (vertices + to_blender(offset, 0.0)).ravel())
    for name, value in zip(rig.shape_names, rig.shape_values.tolist(), strict=True):
        key = body.data.shape_keys.key_blocks[name]
        key.slider_min, key.slider_max = -SLIDER_RANGE, SLIDER_RANGE
        key.value = value


def _material(name: str) -> bpy.types.Material:
    """The file's material of that name: made once, then shared, so that changes an artist makes to it stay."""
    for material in bpy.data.materials:
        if material.get(_MATERIAL_TAG) == name and material.library is None:
            return material
    colour, roughness = _LOOKS.get(name, ((0.5, 0.5, 0.5), 0.5))
    material = bpy.data.materials.new(f"Recover Body {name}")
    material[_MATERIAL_TAG] = name
    material.diffuse_color, material.roughness = (*colour, 1.0), roughness
    if material.node_tree is None:
        material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.inputs["Roughness"].default_value = roughness
    return material
