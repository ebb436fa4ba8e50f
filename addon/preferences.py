# SPDX-License-Identifier: GPL-3.0-or-later
"""The add-on's preferences: the engine and its set-up, the models, and help when something is wrong."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

ADDON = __package__.rpartition(".")[0]
"""The package's full name, which Blender chooses: bl_ext.<repository>.recover_body."""


ACCELERATORS = [
    ("auto", "What Is There", "An NVIDIA card where one answers, Apple's chip on a Mac, else the processor"),
    ("cuda", "NVIDIA Card (CUDA)", "Torch with CUDA: gigabytes to download, and many times faster"),
    ("mps", "Apple Chip (MPS)", "Torch for Macs with Apple's own chips"),
    ("cpu", "Processor", "Torch for the processor alone"),
    ("none", "No Networks", "Without torch: only the built-in backend, which needs none. The smallest"),
]


def _tab_opened(_self, _context) -> None:
    from . import models_panel

    models_panel.refresh_if_shown()


class RECOVER_BODY_preferences(bpy.types.AddonPreferences):
    bl_idname = ADDON

    tab: EnumProperty(
        name="Section",
        items=[
            ("ENGINE", "Engine", "Where the engine runs, and its installation"),
            ("MODELS", "Models", "Weights and body files that you bring yourself"),
            ("HELP", "Help", "What is wrong, and a report for those who can help"),
        ],
        update=_tab_opened,
        options={"SKIP_SAVE"},
    )
    engine: StringProperty(
        name="Engine Command",
        description=(
            "Start this engine instead of the installed one: the Python of its environment, or a whole command such "
            "as: ssh gpu-box recover-body serve"
        ),
    )
    send_pictures: BoolProperty(
        name="Engine on Another Machine",
        description="Send the picture itself with the request, because the engine cannot read files of this machine",
    )
    accelerator: EnumProperty(
        name="Networks Run On",
        description="What torch is installed for",
        items=ACCELERATORS,
    )
    show_sources: BoolProperty(name="Package Sources", description="Where packages come from, and what they go into")
    bundle: StringProperty(
        name="Offline Bundle",
        description="A zip or folder made by make-bundle: with it, nothing is downloaded",
        subtype="FILE_PATH",
    )
    python: StringProperty(
        name="Python 3.11", description="Python to build the engine on; empty looks for one", subtype="FILE_PATH"
    )
    index_url: StringProperty(name="Package Index", description="Address of a package index instead of pip's own")
    extra_index_url: StringProperty(
        name="Extra Package Index",
        description="Address of an index beside it, such as the one with torch for your CUDA",
    )
    find_links: StringProperty(
        name="Wheels", description="Folder or page with wheels to use besides the index", subtype="FILE_PATH"
    )
    proxy: StringProperty(name="Proxy", description="Address of a proxy, such as http://proxy.example:3128")

    def draw(self, context) -> None:
        from . import help_panel, models_panel, setup_panel  # they ask jobs, and jobs ask the preferences

        layout = self.layout
        layout.row().prop(self, "tab", expand=True)
        sections = {"ENGINE": setup_panel.draw, "MODELS": models_panel.draw, "HELP": help_panel.draw}
        sections[self.tab](layout, context, self)


def preferences() -> RECOVER_BODY_preferences | None:
    """The preferences; None when the add-on is used as a plain package."""
    addon = bpy.context.preferences.addons.get(ADDON)
    return addon.preferences if addon else None


def told_engine() -> str:
    """What the preferences say about the engine; "" also when the add-on is used as a plain package."""
    found = preferences()
    return found.engine if found else ""


def sends_pictures() -> bool:
    """Whether pictures travel with the request."""
    found = preferences()
    return found.send_pictures if found else False


CLASSES = (RECOVER_BODY_preferences,)
