"""Hangar beside its floors and its peers, on the same data in one run: ``python -m benchmarks``.

It judges nothing and no test waits for its figures: it prints one table, and says of each goal whether it is met on this machine. What
a workload is says ``workloads``, what a peer has to do ``contract``, how it is timed ``measure``, and ``peers`` has one file for each.
"""
