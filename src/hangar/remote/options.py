"""Channel options and deadlines of the gRPC transport, and the methods of the service.

Messages are bounded, dead connections are found by pings, and a channel that lost its connection tries again quickly.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from grpc import experimental

from hangar.remote.v1 import remote_pb2 as pb
from hangar.remote.wire import MAX_WIRE_BYTES

__all__ = ["METHODS", "SERVICE", "Method", "Timeouts", "client_options", "server_options"]

SERVICE: Final = "hangar.remote.v1.Remote"
MAX_METADATA_BYTES: Final = 16 * 1024


class Method(NamedTuple):
    """One method of the service: its messages, and whether the request or the answer is a stream."""

    request: Any
    reply: Any
    request_streaming: bool
    response_streaming: bool


def _methods() -> dict[str, Method]:
    service = pb.DESCRIPTOR.services_by_name["Remote"]
    found = {}
    for method in service.methods:
        request, reply = getattr(pb, method.input_type.name), getattr(pb, method.output_type.name)
        found[method.name] = Method(request, reply, bool(method.client_streaming), bool(method.server_streaming))
    return found


METHODS: Final[dict[str, Method]] = _methods()
"""Every method of the service, by name."""


class Timeouts(NamedTuple):
    """Deadlines of a client, in seconds.

    Attributes
    ----------
    connect
        Of the first call.
    idle
        Of a stream in which nothing moves.
    call
        Of a single answer. A dead connection is found by pings much earlier.
    stream
        Of a whole stream.
    again
        How long a cut stream is tried again without any progress.
    """

    connect: float = 5.0
    idle: float = 30.0
    call: float = 600.0
    stream: float = 86_400.0
    again: float = 10.0


def _common() -> list[tuple[str, Any]]:
    return [
        ("grpc.max_receive_message_length", MAX_WIRE_BYTES),
        ("grpc.max_send_message_length", MAX_WIRE_BYTES),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.http2.max_pings_without_data", 0),
    ]


def client_options(near: bool = False) -> list[tuple[str, Any]]:
    """Options of a channel.

    Parameters
    ----------
    near
        The server is on this machine. Then there is nothing to gain by large windows: what is received is in the cache of the
        processor if it is taken at once, which halves the processor time of receiving.
    """
    return [
        *_common(),
        *([("grpc.http2.bdp_probe", 0)] if near else []),
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 20),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        ("grpc.enable_retries", 0),
        # Whoever takes the messages of a stream also waits for them: no thread is started for each call.
        (experimental.ChannelOptions.SingleThreadedUnaryStream, 1),
        # Channels of one process to one server do not share a connection: parallel streams and users stay apart.
        ("grpc.use_local_subchannel_pool", 1),
    ]


def server_options() -> list[tuple[str, Any]]:
    """Options of a server."""
    return [
        *_common(),
        # A port that another server has is an error, and not shared with it.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.keepalive_permit_without_calls", 0),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.max_concurrent_streams", 16),
        # What has arrived and was not asked for is held in windows of this size.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 64 * 1024),
    ]
