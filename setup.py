"""The compiled kernel, and nothing else: the rest of the build is in ``pyproject.toml``.

It is optional. Where there is no compiler, or one that refuses, the package is built without it and works all the same.
"""

from __future__ import annotations

from setuptools import Extension, setup

setup(
    ext_modules=[
        Extension(
            "hangar._kernel",
            ["src/hangar/_kernel.c"],
            depends=["src/hangar/_kernel_lanes.h"],
            extra_compile_args=["-O3", "-pthread"],
            extra_link_args=["-pthread"],
            optional=True,
        )
    ]
)
