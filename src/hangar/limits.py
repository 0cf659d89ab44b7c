"""Every hard bound of Hangar, in one place.

Bounds marked *format* are part of the bytes on disk: another value would make another tree from the same content.
"""

from __future__ import annotations

from typing import Final

MAX_NAME_CHARACTERS: Final = 64
"""A column or remote name, and each part of a branch or tag name."""
MAX_PATH_NAME_CHARACTERS: Final = 255
"""A branch or tag name, all parts together."""
MAX_KEY_CHARACTERS: Final = 255
"""One sample or subsample key, when a user writes it."""
MAX_KEY_BYTES: Final = 2_100
"""*Format.* One encoded key in a tree node (255 characters of four bytes, twice, and their tags)."""
MAX_INTEGER_KEY: Final = 2**64 - 1
MAX_RANK: Final = 31
"""Dimensions of one array."""
MAX_ARRAY_BYTES: Final = 2**40
IMAGE_PIXELS: Final = 2**28
"""Pixels of an image that is decoded where no column's shape bounds it."""
MAX_TEXT_BYTES: Final = 2 * 10**9
"""One str (encoded) or bytes value."""
MAX_ATTRIBUTES_BYTES: Final = 2**20
"""One encoded attributes record."""
MAX_MESSAGE_BYTES: Final = 2**20
"""One commit message (encoded)."""
MAX_COLUMNS: Final = 2**16
MAX_PARENTS: Final = 256

INLINE_FIXED_BYTES: Final = 32
"""*Format.* A fixed-shape array of at most this many bytes lies in the tree."""
INLINE_TEXT_BYTES: Final = 64
"""*Format.* A str or bytes value of at most this many bytes lies in the tree."""

NODE_MIN_ENTRIES: Final = 16
"""*Format.* See ``objects/split.py``."""
NODE_MAX_ENTRIES: Final = 256
NODE_MAX_KEY_BYTES: Final = 32 * 1024
NODE_MAX_BYTES: Final = 2**20
"""A stored node longer than this is refused unread."""

NODE_CACHE_BYTES: Final = 64 * 2**20
"""Decoded nodes that one repository keeps in memory."""
STAGED_ROWS: Final = 4_096
"""Rows of a column's staging overlay above which they are folded into its tree."""
BATCH_BUFFER_BYTES: Final = 8 * 2**20
"""Blob bytes that a batch of single writes gathers before it hands them to a backend."""
BATCH_SPILL_BYTES: Final = 64 * 2**20
"""Bookkeeping that a batch keeps in memory before it is folded into trees."""
STAGED_NODE_BYTES: Final = 16 * 2**20
"""Nodes of trees folded in between that a writer keeps in memory."""
RUN_BLOBS: Final = 1_024
"""A batch of at least this many new blobs becomes a run; a smaller one goes into the locations table."""
MAX_RUNS: Final = 8
BLOB_FILE_BYTES: Final = 2**30
"""A blob file is rolled over when it has grown beyond this."""
OPEN_BLOB_FILES: Final = 256
"""Blob files that one repository keeps open, where the system allows so many."""

DATABASE_INITIAL_BYTES: Final = 2**24
DATABASE_MAX_READERS: Final = 512
DATABASE_MAX_TABLES: Final = 64
"""Named databases an environment can hold (room for tables of later formats)."""
DATABASE_MAX_KEY_BYTES: Final = 511
"""Longest key of a row; LMDB's own bound."""

CHUNK_CACHE_BYTES: Final = 64 * 2**20
"""Decoded chunks that one repository keeps in memory, unless ``cache.chunks`` says otherwise."""
TABLE_CACHE_BYTES: Final = 256 * 2**20
"""Offset tables in memory that one repository keeps for columns which are opened again."""
SAVED_TABLE_ENTRIES: Final = 16_384
"""An offset table of fewer entries is made faster than a file of it is read."""
MAPPED_TABLE_BYTES: Final = 64 * 2**20
"""A cache file from this size on is mapped and not read into memory."""
CACHE_DIRECTORY_BYTES: Final = 4 * 2**30
"""All cache files of one repository together."""
