# SPDX-License-Identifier: GPL-3.0-or-later
"""Every fixed text that the interface shows: labels of registered classes, what their draw functions write, and what is
told about the panels' buttons when the pointer rests on them.

Lower-case property names are not shown: they hold what the add-on remembers.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ADDON = Path(__file__).resolve().parents[2] / "addon"
_DRAWING = {
    "label",
    "operator",
    "prop",
    "progress",
    "row",
    "column",
    "menu",
    "popover",
    "operator_menu_enum",
    "draw_text",
}


def messages(bpy) -> dict[str, str]:
    """Message -> where it stands. The add-on must be registered."""
    found: dict[str, str] = {}
    for text, where in (*_of_classes(bpy), *_of_drawing(), *_tooltips(bpy)):
        if re.search(r"[A-Z{]|[a-z] ", text):
            found.setdefault(text, where)
    return found


def _of_classes(bpy) -> Iterator[tuple[str, str]]:
    from recover_body.addon import registration

    for kind in registration.CLASSES:
        is_operator = issubclass(kind, bpy.types.Operator)
        if is_operator or issubclass(kind, bpy.types.Panel | bpy.types.Menu):
            yield kind.bl_label, kind.__name__
        if is_operator:
            area, verb = kind.bl_idname.split(".")
            rna = getattr(getattr(bpy.ops, area), verb).get_rna_type()
        else:
            rna = kind.bl_rna
        inherited = set(rna.base.properties.keys()) if rna.base else set()
        for prop in rna.properties:
            if prop.identifier in inherited or prop.identifier == "rna_type" or prop.is_hidden:
                continue
            if prop.identifier.startswith("bl_") or not _is_own(kind, prop.identifier):
                continue
            yield prop.name, f"{kind.__name__}.{prop.identifier}"
            if prop.type == "ENUM":
                for item in prop.enum_items_static:
                    yield item.name, f"{kind.__name__}.{prop.identifier}"


def _tooltips(bpy) -> Iterator[tuple[str, str]]:
    """What is told about the panels' buttons and fields when the pointer rests on them."""
    for kind in (kind for module in _of_panels() for kind in module.CLASSES):
        if issubclass(kind, bpy.types.Operator):
            rna = getattr(bpy.ops.recover_body, kind.bl_idname.split(".")[1]).get_rna_type()
            yield rna.description, kind.__name__
        elif issubclass(kind, bpy.types.PropertyGroup):
            rna = kind.bl_rna
        else:
            continue
        inherited = set(rna.base.properties.keys()) if rna.base else set()
        for prop in (each for each in rna.properties if each.identifier not in inherited):
            if prop.is_hidden or not re.search("[A-Z]", prop.name) or not _is_own(kind, prop.identifier):
                continue
            yield prop.description, f"{kind.__name__}.{prop.identifier}"
            for item in prop.enum_items_static if prop.type == "ENUM" else ():
                yield item.description, f"{kind.__name__}.{prop.identifier}"


def _of_panels() -> tuple:
    from recover_body.addon import (
        dropping,
        export_operators,
        motion_operators,
        operators,
        people_operators,
        properties,
        result_operators,
        result_properties,
        view_operators,
    )

    return (
        *(dropping, export_operators, motion_operators, operators, people_operators, properties),
        *(result_operators, result_properties, view_operators),
    )


def _is_own(kind, identifier: str) -> bool:
    return any(identifier in vars(base).get("__annotations__", {}) for base in kind.__mro__)


def _of_drawing() -> Iterator[tuple[str, str]]:
    """Whole texts only: one that is put together from parts cannot be looked up."""
    for path in sorted(ADDON.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for text in _texts_of(node):
                for part in _whole_texts(text):
                    yield part, f"{path.name}:{node.lineno}"
    for node in ast.walk(ast.parse((ADDON / "engine_setup" / "state.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2 and "State." in ast.unparse(node.elts[0]):
            for part in _whole_texts(node.elts[1]):
                yield part, "the state of the engine"


def _texts_of(node: ast.AST) -> list[ast.expr]:
    """The expressions in it that become visible text."""
    if isinstance(node, ast.FunctionDef) and node.name in ("_button_text", "why_not"):
        values = [value for inner in ast.walk(node) if isinstance(inner, ast.Dict) for value in inner.values]
        return values + [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value]
    if not isinstance(node, ast.Call):
        return []
    name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if name == "tr":
        return node.args[:1]
    if name not in _DRAWING:
        return []
    texts = [word.value for word in node.keywords if word.arg in ("text", "heading")]
    return texts + (node.args[2:3] if name == "draw_text" else [])


def _whole_texts(node: ast.expr) -> Iterator[str]:
    """Fixed texts; one that is put together from parts cannot be looked up, and goes through `tr`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.IfExp):
        yield from _whole_texts(node.body)
        yield from _whole_texts(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _whole_texts(value)
