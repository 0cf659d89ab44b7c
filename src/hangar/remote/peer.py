"""What two repositories say to each other: the messages of synchronization, and ``Peer``, which answers them.

The types are plain, and independent of any transport. ``service.Service`` is the peer of a repository in this process;
a gRPC client is the peer of one elsewhere, and a bundle file is one that can only be read. All of them raise the errors
of :mod:`hangar.errors`. Nothing that a peer sends is trusted: a receiver computes the digests of all objects and blobs
itself, so digests are sent only to ask for something.

A fetch takes four calls: ``hello``, ``refs``, ``history`` (the commits), ``objects`` (the nodes and records that they
name). Then ``blobs`` as wanted. A push takes four and one per stream of blobs: ``hello``, ``begin_push``,
``send_objects``, ``send_blobs``, ``finish_push``. A stream that was cut is continued by asking again for what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

from hangar.blobs.tombstones import Tombstone
from hangar.digest import DIGEST_BYTES
from hangar.refs import Annotation
from hangar.remote.states import BlobStates
from hangar.remote.welcome import PROTOCOL_VERSION, Hello, Limits, Welcome

__all__ = [
    "ABSENT",
    "ID_BYTES",
    "PROTOCOL_VERSION",
    "STORED_FRAMES",
    "BlobFrame",
    "BlobNames",
    "Hello",
    "HistoryRequest",
    "Limits",
    "Missing",
    "Names",
    "Objects",
    "ObjectsRequest",
    "Peer",
    "PushStart",
    "PushStarted",
    "Reader",
    "RefInfo",
    "RefPage",
    "RefResult",
    "RefUpdate",
    "TombstonePage",
    "Welcome",
    "ended_by",
]

ID_BYTES: Final = 16
"""Length of the id of a push, an operation or a repository: random bytes."""
STORED_FRAMES: Final = 8
"""A part of a blob that is sent as it is stored has at most so many times the logical bytes of another frame."""
ABSENT: Final = 2**64 - 1
"""Size of a blob that the peer does not have."""


@dataclass(frozen=True, slots=True)
class RefInfo:
    """A ref of the peer: full name (``heads/main``, ``tags/v1``), commit and its generation, annotation of a tag.

    The digest is None for a branch without a commit, and the generation is then 0.
    """

    name: str
    digest: bytes | None
    generation: int = 0
    annotation: Annotation | None = None


@dataclass(frozen=True, slots=True)
class RefPage:
    """Part of the refs of the peer, in ascending order of name, and the branch that a clone begins with."""

    refs: tuple[RefInfo, ...]
    head: str


@dataclass(frozen=True, slots=True)
class HistoryRequest:
    """A question for the commits that are reachable from ``wants`` and not from ``haves``.

    Attributes
    ----------
    wants
        Commits: digests, joined. One that the peer does not have is an error.
    haves
        Commits that the asker has, with all their ancestors: digests, joined. The peer ignores those that it does not
        have.
    """

    wants: bytes
    haves: bytes = b""


@dataclass(frozen=True, slots=True)
class Names:
    """Objects by name: their class (a :data:`hangar.digest.RecordClass` such as ``'node'``) and their digests, joined."""

    kind: str
    digests: bytes

    def __len__(self) -> int:
        return len(self.digests) // DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class Objects:
    """A frame of objects of one class, as their exact encodings. The receiver computes their digests."""

    kind: str
    items: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ObjectsRequest:
    """A question for objects.

    Attributes
    ----------
    wants
        The objects that the asker lacks.
    bases
        Commits that the asker has with all that they name (but perhaps not their blobs): digests, joined. The peer
        ignores those that it does not have.
    below
        Also send what the wanted objects name, at any depth, without what ``bases`` name. Else only the wanted ones,
        for an asker that goes down the trees level by level, because it may have much of them from elsewhere.
    """

    wants: tuple[Names, ...]
    bases: bytes = b""
    below: bool = True


@dataclass(frozen=True, slots=True)
class BlobNames:
    """Blobs by name: digests, joined.

    Attributes
    ----------
    digests
        The digests.
    group
        A number that the sender of the blobs repeats in their frames.
    start
        In a question for blobs: the first one is wanted from this byte on, because a stream of its parts was cut.
    stored
        Large ones may be sent as they are stored: see :attr:`BlobFrame.form`.
    nbytes
        In a question for blobs: the bytes of all of them, -1 where that is not known. It is not sent.
    """

    digests: bytes
    group: int = 0
    start: int = 0
    stored: bool = False
    nbytes: int = -1

    def __len__(self) -> int:
        return len(self.digests) // DIGEST_BYTES


@dataclass(frozen=True, slots=True)
class BlobFrame:
    """A frame of blobs, in any order, or a part of one large blob. The receiver computes their digests.

    Attributes
    ----------
    headers
        The different headers of the blobs in the frame, encoded.
    header_of
        Number of the header of each blob, u32 little-endian; empty if all have the first one.
    lengths
        Length of each whole blob in bytes, u64 little-endian.
    data
        The logical bytes of the blobs, without gaps. In a frame of one blob it may be a part of them; the parts of a
        blob follow each other, in order.
    start
        Where in its blob the part begins; 0 for whole blobs.
    group
        As in :class:`BlobNames`.
    places
        Place of each blob among the names that were asked for, u32 little-endian: of the question
        (:meth:`Reader.blobs`), or of the list of the group in :class:`Missing`. It serves to continue a stream that
        was cut; of what a client sends it is only a hint.
    form
        The data is a part of one blob as it is stored with the sender: whole pieces of this form. Empty: it is logical bytes.
    decoded
        The number of logical bytes of such a part.
    """

    headers: tuple[bytes, ...]
    header_of: bytes
    lengths: bytes
    data: bytes | memoryview
    start: int = 0
    group: int = 0
    places: bytes = b""
    form: bytes = b""
    decoded: int = 0

    def __len__(self) -> int:
        return len(self.lengths) // 8

    @property
    def nbytes(self) -> int:
        """Number of logical bytes."""
        return self.decoded if self.form else len(self.data)


def ended_by(frame: BlobFrame) -> int:
    """Number of the blobs that a frame completes."""
    if len(frame) != 1:
        return len(frame)
    return int(frame.start + frame.nbytes >= int.from_bytes(frame.lengths, "little"))


@dataclass(frozen=True, slots=True)
class TombstonePage:
    """Tombstones of the peer that are in effect: digest of the blob, and the tombstone."""

    items: tuple[tuple[bytes, Tombstone], ...]


@dataclass(frozen=True, slots=True)
class RefUpdate:
    """A move of a ref that a push asks for, by compare-and-swap.

    Attributes
    ----------
    name
        Full name: ``heads/BRANCH`` or ``tags/TAG``.
    old
        The commit that the ref must have; None: there is no such ref, or it is a branch without a commit.
    new
        The commit that it gets; None deletes it.
    operation
        Id of the operation, :data:`ID_BYTES` random bytes. Asking for an operation again does not repeat it.
    force
        Permit a branch to lose commits. The comparison with ``old`` stays.
    annotation
        The annotation of a new tag.
    """

    name: str
    old: bytes | None
    new: bytes | None
    operation: bytes
    force: bool = False
    annotation: Annotation | None = None


@dataclass(frozen=True, slots=True)
class PushStart:
    """Begins a push. The server refuses at once what it would refuse at the end.

    Attributes
    ----------
    push
        Id of the push, chosen by the client. The id of a push in progress continues it.
    updates
        The moves that :meth:`Peer.finish_push` will ask for.
    candidates
        Commits that the client has and that the server may have too: digests, joined.
    complete
        Also send the blobs of these commits that the server does not have because another repository has promised them
        to it.
    """

    push: bytes
    updates: tuple[RefUpdate, ...]
    candidates: bytes = b""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What a server still lacks for a push.

    Attributes
    ----------
    objects
        Objects that other objects of the push name. As long as there are any, ``blobs`` is empty.
    blobs
        Blobs, by group; not more than one message holds.
    more
        Whether more is missing than fits in this message: ask again when this was sent.
    promised
        How many blobs the server has not and does not ask for, because another repository has promised them to it.
    """

    objects: tuple[Names, ...] = ()
    blobs: tuple[BlobNames, ...] = ()
    more: bool = False
    promised: int = 0

    def __bool__(self) -> bool:
        return bool(self.objects or self.blobs or self.more)


@dataclass(frozen=True, slots=True)
class PushStarted:
    """The answer to :class:`PushStart`.

    Attributes
    ----------
    known
        Those of the candidates that the server has, with all that they name, and the present commits of the refs to
        move: digests, joined.
    missing
        What the push lacks, as far as the server knows.
    """

    known: bytes
    missing: Missing = field(default_factory=Missing)


@dataclass(frozen=True, slots=True)
class RefResult:
    """A move that was done. ``repeated``: by an earlier call with the same operation id, whose answer was lost."""

    name: str
    repeated: bool = False


class Reader(Protocol):
    """The reading half of a peer: a fetch needs no more, and a bundle file has no more.

    Methods may be called from several threads. An iterator that is returned may be closed early. Every method may raise ``UnreachableError``.
    """

    def hello(self, hello: Hello) -> Welcome:
        """Agree on a version of the protocol.

        Raises
        ------
        UnsupportedVersionError
            There is none that both know.
        """

    def refs(self, prefixes: tuple[str, ...] = ("heads/", "tags/")) -> Iterator[RefPage]:
        """The refs whose full names begin with one of ``prefixes``; at least one page."""

    def history(self, request: HistoryRequest) -> Iterator[Objects]:
        """Commits, children before their parents.

        Raises
        ------
        RevisionNotFoundError
            The peer does not have a wanted commit (any more).
        """

    def objects(self, request: ObjectsRequest) -> Iterator[Objects]:
        """Objects, those that name others before these. Objects that the peer does not have are left out."""

    def blob_sizes(self, names: BlobNames) -> bytes:
        """Size of each blob in bytes: u64 little-endian; :data:`ABSENT` for one that the peer does not have."""

    def blobs(self, names: BlobNames) -> Iterator[BlobFrame]:
        """Blobs, in the order that is fastest to read. Blobs that the peer does not have are left out."""

    def check_blobs(self, names: BlobNames, *, read: bool) -> Iterator[BlobStates]:
        """Which of some blobs the peer has.

        Parameters
        ----------
        read
            The peer reads every byte of them, and verifies it, before it answers.
        """

    def reachable(self, commits: bytes) -> bytes:
        """Which of some commits (digests, joined) the refs of the peer reach, so that it keeps what they name: u8, 1 or 0."""

    def tombstones(self) -> Iterator[TombstonePage]:
        """The tombstones that are in effect at the peer."""


class Peer(Reader, Protocol):
    """A repository to fetch from and to push to."""

    def begin_push(self, start: PushStart) -> PushStarted:
        """Begin a push, or continue one whose connection was lost.

        Raises
        ------
        AccessError
            The repository or the ref is protected, or a writer or staged changes are on the branch.
        StaleRefError
            A ref is not at its old commit, or would lose commits without ``force``.
        InvalidInputError
            A name is not valid.
        """

    def send_objects(self, push: bytes, frames: Iterator[Objects]) -> Missing:
        """Send commits, records and nodes, and learn what is missing.

        Raises
        ------
        InvalidInputError
            An object is not valid, or was not expected. Nothing of the push is kept.
        InvalidStateError
            There is no such push (any more): begin it again.
        """

    def missing(self, push: bytes) -> Missing:
        """What the push still lacks. Raises the errors of :meth:`send_objects`."""

    def send_blobs(self, push: bytes, frames: Iterator[BlobFrame]) -> int:
        """Send blobs; returns how many were new. Several streams of one push may run at the same time.

        Raises
        ------
        InvalidInputError
            A blob was not asked for, or its bytes are not those of its digest. Nothing of the push is kept.
        PurgedError
            A blob was purged at the server.
        """

    def send_tombstones(self, push: bytes, pages: Iterator[TombstonePage]) -> int:
        """Send tombstones; returns how many were new.

        The server records them when the push is finished. They have no effect until somebody accepts them there.
        """

    def finish_push(self, push: bytes, updates: tuple[RefUpdate, ...], who: tuple[str, str]) -> tuple[RefResult, ...]:
        """Check all that was sent, and publish it together with the moves of the refs: all of it or nothing.

        Parameters
        ----------
        who
            Name and email of the user, for the reflog.

        Raises
        ------
        StaleRefError
            A ref has moved meanwhile. The push may be finished with other updates.
        InvalidStateError
            Something is missing: see :meth:`missing`.
        OutcomeUnknownError
            The connection was lost: ask again, with the same operation ids.
        """

    def abort_push(self, push: bytes) -> None:
        """Give up a push, and drop what was sent. No error if there is none."""
