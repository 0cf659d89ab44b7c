"""The compiled modules, and nothing else: the rest of the build is in ``pyproject.toml``.

They are optional. Where there is no compiler, or one that refuses, the package is built without them and works all the same.
"""

from __future__ import annotations

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "hangar._kernel",
            ["src/hangar/_kernel.c"],
            depends=["src/hangar/_kernel_lanes.h", "src/hangar/_widths.h"],
            extra_compile_args=["-O3", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        ),
        Extension(
            "hangar._gather",
            ["src/hangar/_gather.c"],
            depends=["src/hangar/_gather_lanes.h", "src/hangar/_widths.h"],
            extra_compile_args=["-O3"],
            optional=True,
        ),
    ]
)
