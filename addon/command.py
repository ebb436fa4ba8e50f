# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --command recover_body IMAGE... --out DIR`: the same as blender_scripts/recover_batch.py.

`blender --command recover_body setup VERB` is the engine's set-up, the same as blender_scripts/setup_engine.py.
"""

from __future__ import annotations

import bpy

NAME = "recover_body"
_handle = None


def register() -> None:
    global _handle
    _handle = bpy.utils.register_cli_command(NAME, _run)


def unregister() -> None:
    global _handle
    bpy.utils.unregister_cli_command(_handle)
    _handle = None


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["setup"]:
        from .engine_setup import cli

        return cli.main(arguments[1:], program=f"blender --command {NAME} setup")
    from . import batch

    return batch.main(arguments, program=f"blender --command {NAME}")
