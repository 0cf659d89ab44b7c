"""Chunked arrays: lazy slices of arrays that are larger than memory, or grow.

``selection`` parses an index as numpy does, ``grid`` divides a selection among the chunks, ``table`` finds the chunks of
one array record and reads them. ``array`` is what a reader's column returns, ``writer`` what a writer's column returns.
``buffer`` keeps the chunks that a batch changed, and ``store`` writes them and makes the new array record.
"""
