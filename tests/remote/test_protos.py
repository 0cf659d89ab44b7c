"""The protocol: generated code is up to date, and no change of the protos is incompatible with a released one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet
from protos.generate import RELEASED, run

from hangar.remote.v1 import remote_pb2


def test_the_generated_code_is_what_the_protos_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--check"]) == 0, capsys.readouterr().err


def released() -> FileDescriptorProto:
    found = FileDescriptorSet.FromString(RELEASED.read_bytes())
    return found.file[0]


def present() -> FileDescriptorProto:
    found = FileDescriptorProto()
    remote_pb2.DESCRIPTOR.CopyToProto(found)
    return found


def changes(old: FileDescriptorProto, new: FileDescriptorProto) -> Iterator[str]:
    """What of the old protocol is not in the new one as it was: methods, messages, fields, values."""
    if old.package != new.package:
        yield "package"
    methods = {(service.name, one.name): one for service in new.service for one in service.method}
    for service in old.service:
        for method in service.method:
            found = methods.get((service.name, method.name))
            if found is None or found.SerializeToString() != method.SerializeToString():
                yield f"method {method.name}"
    messages = {one.name: one for one in new.message_type}
    for message in old.message_type:
        if message.name in messages:
            yield from changed_fields(message, messages[message.name])
        else:
            yield f"message {message.name}"
    values = {(kind.name, one.name): one.number for kind in new.enum_type for one in kind.value}
    for kind in old.enum_type:
        yield from (
            f"value {one.name}" for one in kind.value if values.get((kind.name, one.name), one.number) != one.number
        )


def changed_fields(old: DescriptorProto, new: DescriptorProto) -> Iterator[str]:
    fields = {one.number: one for one in new.field}
    reserved = [range(one.start, one.end) for one in new.reserved_range]
    for field in old.field:
        found = fields.get(field.number)
        if found is None:
            if not any(field.number in numbers for numbers in reserved):
                yield f"{old.name}.{field.name}: removed, and its number is not reserved"
        elif (found.type, found.label, found.type_name) != (field.type, field.label, field.type_name):
            yield f"{old.name}.{field.name}: another type"


def test_nothing_of_the_released_protocol_has_changed() -> None:
    assert list(changes(released(), present())) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.service[0].method.pop(),
        lambda file: setattr(file.service[0].method[1], "server_streaming", False),
        lambda file: file.message_type.pop(),
        lambda file: file.message_type[0].field.pop(),
        lambda file: setattr(file.message_type[0].field[0], "number", 77),
        lambda file: setattr(file.message_type[0].field[0], "type", 9),
        lambda file: setattr(file.enum_type[0].value[1], "number", 5),
        lambda file: setattr(file, "package", "hangar.remote.v2"),
    ],
    ids=["method", "stream", "message", "field", "number", "type", "value", "package"],
)
def test_incompatible_changes_are_found(change: object) -> None:
    assert callable(change)
    file = present()
    change(file)
    assert list(changes(released(), file)) != []
