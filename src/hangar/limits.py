"""All fixed limits of Hangar.

Limits marked *format* are part of the on-disk format: another value would make a different tree from the same content.
"""

from __future__ import annotations

from typing import Final

MAX_NAME_CHARACTERS: Final = 64
"""Length of a column or remote name, and of each part of a branch or tag name."""
MAX_PATH_NAME_CHARACTERS: Final = 255
"""Length of a branch or tag name with all its parts."""
MAX_KEY_CHARACTERS: Final = 255
"""Length of a sample or subsample key that a user writes."""
MAX_KEY_BYTES: Final = 2_100
"""*Format.* Bytes of an encoded key in a tree node (twice 255 characters of four bytes, and tags)."""
MAX_INTEGER_KEY: Final = 2**64 - 1
MAX_RANK: Final = 31
"""Number of dimensions of an array."""
MAX_ARRAY_BYTES: Final = 2**40
MAX_EXTENT: Final = 2**63 - 1
"""Extent of one dimension of a chunked array. As a maximum in a schema it means that the dimension is not bounded."""
MAX_CHUNKED_BYTES: Final = 2**60
"""Bytes of a chunked array, whether its chunks are present or not."""
MAX_CHUNK_BYTES: Final = 2**31
"""Bytes of one chunk of a chunked array, exclusively."""
IMAGE_PIXELS: Final = 2**28
"""Pixels of a decoded image that is not bounded by the shape of a column."""
AUDIO_VALUES: Final = 2**28
"""Values of a decoded audio file (frames times channels)."""
VIDEO_BYTES: Final = 2**34
"""Bytes of the decoded frames of one read of a video."""
MAX_TEXT_BYTES: Final = 2 * 10**9
"""Bytes of one str (encoded) or bytes value."""
MAX_ATTRIBUTES_BYTES: Final = 2**20
"""Bytes of an encoded attributes record."""
MAX_MESSAGE_BYTES: Final = 2**20
"""Bytes of an encoded commit message."""
MAX_COLUMNS: Final = 2**16
MAX_PARENTS: Final = 256

INLINE_FIXED_BYTES: Final = 32
"""*Format.* An array of fixed shape with at most this many bytes is stored inline in the tree."""
INLINE_TEXT_BYTES: Final = 64
"""*Format.* A str or bytes value of at most this many bytes is stored inline in the tree."""

NODE_MIN_ENTRIES: Final = 16
"""*Format.* See ``objects/split.py``."""
NODE_MAX_ENTRIES: Final = 256
NODE_MAX_KEY_BYTES: Final = 32 * 1024
NODE_MAX_BYTES: Final = 2**20
"""A stored node longer than this is refused without decoding it."""

NODE_CACHE_BYTES: Final = 64 * 2**20
"""Cache size for decoded nodes, per repository."""
STAGED_ROWS: Final = 4_096
"""Maximum rows of a column's staging overlay; a larger overlay is merged into its tree."""
BATCH_BUFFER_BYTES: Final = 8 * 2**20
"""Blob bytes of single writes that a batch buffers before it passes them to a backend."""
CHUNK_BUFFER_BYTES: Final = 64 * 2**20
"""Changed chunks of chunked arrays that a writer keeps in memory before they are written to a backend."""
BATCH_SPILL_BYTES: Final = 64 * 2**20
"""Metadata that a batch keeps in memory before it is merged into trees."""
STAGED_NODE_BYTES: Final = 16 * 2**20
"""Nodes of intermediate merged trees that a writer keeps in memory."""
RUN_BLOBS: Final = 1_024
"""The locations of at least this many new blobs are written as a run; fewer go into the locations table."""
MAX_RUNS: Final = 8
BLOB_FILE_BYTES: Final = 2**30
"""A blob file larger than this is not appended to any more; a new file is begun."""
OPEN_BLOB_FILES: Final = 256
"""Maximum number of blob files that one repository keeps open (fewer if the system limit is lower)."""

DATABASE_INITIAL_BYTES: Final = 2**24
DATABASE_MAX_READERS: Final = 512
DATABASE_MAX_TABLES: Final = 64
"""Maximum number of named databases in an LMDB environment (with reserve for later formats)."""
DATABASE_MAX_KEY_BYTES: Final = 511
"""Maximum length of a row key; the limit of LMDB."""

CHUNK_CACHE_BYTES: Final = 64 * 2**20
"""Default cache size for decoded chunks, per repository; set by ``cache.chunks``."""
TABLE_CACHE_BYTES: Final = 256 * 2**20
"""Cache size for offset tables of columns, per repository."""
LEAF_CACHE_BYTES: Final = 64 * 2**20
"""Cache size for the leaves of a column of texts that a data set reads."""
SAVED_TABLE_ENTRIES: Final = 16_384
"""Minimum entries of an offset table that is saved to a cache file; a smaller one is faster to rebuild than to load."""
MAPPED_TABLE_BYTES: Final = 64 * 2**20
"""Cache files of at least this size are memory-mapped instead of loaded."""
CACHE_DIRECTORY_BYTES: Final = 4 * 2**30
"""Maximum total size of the cache files of one repository."""
