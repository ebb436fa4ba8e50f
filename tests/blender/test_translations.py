# SPDX-License-Identifier: GPL-3.0-or-later
"""The interface's other languages: complete, about texts that exist, and really shown by Blender."""

import re

import pytest

from .test_addon import Enabled
from .ui_messages import messages

LANGUAGES = ("es", "ja_JP", "ko_KR", "zh_HANS")


@pytest.fixture
def shown(bpy):
    with Enabled():
        yield messages(bpy)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_table_has_every_text_and_no_other(shown, language):
    from recover_body.addon.translations import TABLES

    table = TABLES[language]
    missing = {text: where for text, where in shown.items() if text not in table}
    assert not missing, f"add these to addon/translations/{language}.py"
    assert not set(table) - set(shown), "these texts are not in the interface any more"


@pytest.mark.parametrize("language", LANGUAGES)
def test_placeholders_are_kept(bpy, language):
    from recover_body.addon.translations import TABLES

    for text, translated in TABLES[language].items():
        assert sorted(re.findall(r"{\w*}", text)) == sorted(re.findall(r"{\w*}", translated)), text
        assert translated.strip() == translated != ""


def test_blender_shows_them_and_forgets_them(bpy):
    from recover_body.addon.translations import tr

    view = bpy.context.preferences.view
    before, translates = view.language, view.use_translate_interface
    with Enabled():
        try:
            view.language = "ja_JP"
        except TypeError:
            pytest.skip("This build of Blender has no languages.")
        view.use_translate_interface = True
        assert tr("Recover Body") == "体を復元" and tr("Inferred: {count}", count=3) == "推測: 3"
        operator = bpy.app.translations.contexts.operator_default
        assert bpy.app.translations.pgettext_iface("Find People", operator) == "人物を検出"
    assert tr("Recover Body") == "Recover Body"
    view.language, view.use_translate_interface = before, translates
