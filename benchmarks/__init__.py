"""Compares Hangar with a baseline and with its peers, on the same data in one run: ``python -m benchmarks``.

It prints tables, and for each goal whether this machine meets it. No test depends on the figures. ``workloads`` defines the data,
``contract`` the interface of a peer, ``measure`` the timing, and ``peers`` has one file for each peer.
"""
