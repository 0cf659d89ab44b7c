"""``hangar column create --chunks``."""

from __future__ import annotations

from tests.cli.shell import Shell


def test_columns_of_chunked_arrays(shell: Shell) -> None:
    shell.ok("init", "--name", "Ada", "--email", "ada@example.com")
    assert "chunked float32 any x 512 x 512 at most, chunks of 16 x 128 x 128" in shell.ok(
        "column", "create", "volumes", "FLOAT32", "none,512,512", "--chunks", "16,128,128", "--fill-value", "-1.5"
    )
    record = shell.json(
        "column", "create", "any", "INT8", "--chunks", "4x4", "--contains-subsamples", "--backend", "01"
    )
    assert (record["type"], record["shape"], record["layout"], record["backend"]) == (
        "chunked",
        [None] * 2,
        "nested",
        "01",
    )
    shell.fails(2, "column", "create", "x", "UINT8", "none", text="--chunks")
    shell.fails(2, "column", "create", "x", "UINT8", "--fill-value", "1", text="--chunks")
    shell.fails(2, "column", "create", "x", "UINT8", "--chunks", "a", text="shape")
    shell.fails(2, "column", "create", "x", "UINT8", "--chunks", "none", text="chunks")
    shell.fails(2, "column", "create", "x", "UINT8", "4", "--chunks", "4", "--variable-shape", text="combined")
    shell.fails(2, "column", "create", "x", "STR", "--chunks", "4", text="STR columns have no shape")
    shell.fails(2, "column", "create", "x", "UINT8", "--chunks", "4", "--fill-value", "q", text="number")
    shell.fails(1, "column", "create", "x", "UINT8", "--chunks", "4", "--fill-value", "256", text="256")
