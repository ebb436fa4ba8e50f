# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface in other languages. One module per language, English text -> its own.

Blender translates labels of classes, properties and fixed texts by itself once the tables are registered. A text with
something in it is written with a name in braces and goes through `tr`.
"""

from __future__ import annotations

import bpy

from . import es, ja_JP, ko_KR, zh_HANS

TABLES = {"es": es.MESSAGES, "ja_JP": ja_JP.MESSAGES, "ko_KR": ko_KR.MESSAGES, "zh_HANS": zh_HANS.MESSAGES}
"""Blender's name of each language -> its messages."""
_CONTEXTS = (bpy.app.translations.contexts.default, bpy.app.translations.contexts.operator_default)
"""Blender looks a button's text up among operators, and all else in the default context."""
_NAME = __package__


def tr(text: str, **values: object) -> str:
    """The text in the language of the interface, with the values put in."""
    translated = bpy.app.translations.pgettext_iface(text)
    return translated.format(**values) if values else translated


def register() -> None:
    tables = {
        language: {(context, text): translated for context in _CONTEXTS for text, translated in messages.items()}
        for language, messages in TABLES.items()
    }
    bpy.app.translations.register(_NAME, tables)


def unregister() -> None:
    bpy.app.translations.unregister(_NAME)
