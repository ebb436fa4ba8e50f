# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for Blender's layout, which exists only while a window draws: remembers every text that would be shown."""

import bpy


class Shown:
    """Everything that a draw function put on screen."""

    def __init__(self):
        self.texts = []
        """(text, whether Blender would translate it)."""
        self.operators = []
        """(identifier, its properties, whether the row was enabled)."""
        self.properties = []
        """(owner, name)."""

    def all_text(self):
        return " ".join(text for text, _ in self.texts)


class RecordingLayout:
    """Rows, columns and boxes; `shown` is shared by all of them."""

    def __init__(self, shown=None, enabled=True):
        self.__dict__.update(shown=shown or Shown(), enabled=enabled, active=True)

    def _inner(self, *_, heading="", **__):
        if heading:
            self.shown.texts.append((heading, True))
        return RecordingLayout(self.shown, self.enabled)

    row = column = box = split = grid_flow = column_flow = menu_pie = _inner

    def label(self, text="", translate=True, **_):
        self.shown.texts.append((text, translate))

    def progress(self, text="", factor=0.0, translate=True, **_):
        assert 0.0 <= factor <= 1.0
        self.shown.texts.append((text, translate))

    def prop(self, owner, name, text=None, translate=True, **_):
        assert name in owner.bl_rna.properties, f"{owner} has no property {name}"
        self.shown.properties.append((owner, name))
        self.shown.texts.append((owner.bl_rna.properties[name].name if text is None else text, translate))

    def operator(self, identifier, text=None, translate=True, **_):
        area, verb = identifier.split(".")
        kind = getattr(bpy.types, f"{area.upper()}_OT_{verb}")
        given = type("Given", (), {})()
        self.shown.operators.append((identifier, given, self.enabled))
        self.shown.texts.append((kind.bl_rna.name if text is None else text, translate))
        return given

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: None
