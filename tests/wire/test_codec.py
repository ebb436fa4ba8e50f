# SPDX-License-Identifier: GPL-3.0-or-later
"""What goes through the codec comes back equal; what is not a whole message of this protocol is a named error."""

import inspect
import io
import json
import random

import numpy as np
import pytest
from samples import ALL_KINDS, any_message, assert_same

from recover_body.wire import codec, messages, take
from recover_body.wire.messages import CameraHint, Cancel, Hello, Progress, RecoverRequest, Recovery, Shutdown

SMALL = Cancel("写真 7")


def header_of(data):
    line, body = data.split(b"\n", 1)
    return json.loads(line), body


def changed(message, **fields):
    """The bytes of `message` with parts of its header replaced."""
    header, body = header_of(codec.encode(message))
    return json.dumps({**header, **fields}).encode() + b"\n" + body


# ---------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", range(5))
def test_round_trip(kind, seed):
    message = any_message(kind, seed)
    data = codec.encode(message)
    assert_same(codec.decode(data), message)
    assert_same(codec.read_message(io.BytesIO(data)), message)
    assert codec.encode(codec.decode(data)) == data


def test_every_message_and_every_field_explains_itself():
    defined = {k for _, k in inspect.getmembers(messages, inspect.isclass) if k.__module__ == messages.__name__}
    parts = {messages.BackendStatus, messages.CameraHint, messages.GivenCamera, messages.FrameRange}
    parts |= {messages.ChosenPerson}
    assert defined == set(ALL_KINDS) | parts, "a message that is not in KINDS cannot be read"
    for kind in defined:
        source = inspect.getsource(kind)
        assert kind.__doc__ and not kind.__doc__.startswith(kind.__name__ + "("), kind
        for name in kind.__dataclass_fields__:
            line = source.split(f"\n    {name}:", 1)[1].split("\n", 2)[1]
            assert line.strip().startswith('"""'), f"{kind.__name__}.{name} has no docstring"


def test_many_messages_in_pieces_of_any_size():
    sent = [any_message(kind, seed) for seed in range(2) for kind in ALL_KINDS]
    data = b"".join(codec.encode(message) for message in sent)
    for size in (1, 7, 1000, len(data)):
        decoder, received = codec.Decoder(), []
        for start in range(0, len(data), size):
            received += decoder.feed(data[start : start + size])
        decoder.close()
        assert_same(received, sent)


def test_a_stream_of_messages_ends_cleanly():
    stream = io.BytesIO()
    codec.write_message(stream, SMALL)
    codec.write_message(stream, Shutdown())
    stream.seek(0)
    assert codec.read_message(stream) == SMALL
    assert codec.read_message(stream) == Shutdown()
    assert codec.read_message(stream) is None


@pytest.mark.parametrize("array", [
    np.zeros((0, 3)), np.array(2.5, "f4"), np.arange(6).reshape(2, 3).T, np.arange(10)[::-2],
    np.array([1, 2], ">i4"), np.array([True, False]), np.array([np.nan, -0.0, np.inf]),
])  # fmt: skip
def test_arrays_of_all_sorts(array):
    header = codec._parse_header(codec.encode(Recovery("", any_message(Recovery).take)).split(b"\n", 1)[0])
    assert header.kind == "Recovery"
    arrays = []
    tree = codec.to_tree(array, arrays)
    back = codec.from_tree(np.ndarray, tree, arrays)
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("<")
    assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")


def test_decoded_arrays_are_writable_and_own_their_memory():
    recovery = codec.decode(codec.encode(any_message(Recovery, 1)))
    array = recovery.take.camera.fx_px
    assert array.flags.writeable and array.flags.owndata


def test_file_names_that_are_no_text():
    """Linux allows any byte in a name; Python shows such ones as lone surrogates."""
    request = RecoverRequest("1", b"caf\xe9.jpg".decode("utf-8", "surrogateescape"))
    assert codec.decode(codec.encode(request)) == request


def test_old_messages_without_newer_optional_fields_are_read():
    header, body = header_of(codec.encode(RecoverRequest("1", "a.jpg")))
    for name in ("height_m", "body", "want_rigs", "camera"):
        del header["fields"][name]
    assert codec.decode(json.dumps(header).encode() + b"\n" + body) == RecoverRequest("1", "a.jpg")


def test_an_engine_that_names_no_bodies_has_the_three_that_all_have():
    header, body = header_of(codec.encode(any_message(Hello)))
    del header["fields"]["bodies"]
    told = codec.decode(json.dumps(header).encode() + b"\n" + body)
    assert told.bodies == ("neutral", "female", "male")


@pytest.mark.parametrize("value", [np.array(["text"]), np.array([None]), np.array([1j]), {1, 2}, object(), 1 + 2j])
def test_what_may_not_travel(value):
    with pytest.raises(codec.WireError):
        codec.to_tree(value, [])


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_plain_numbers_are_finite(number):
    with pytest.raises(codec.WireError):
        codec.encode(Progress("1", "fit", number))


# ---------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("message", [SMALL, any_message(RecoverRequest, 3)], ids=["Cancel", "RecoverRequest"])
def test_truncated_at_every_byte(message):
    data = codec.encode(message)
    for length in range(1, len(data)):
        with pytest.raises(codec.Truncated):
            codec.read_message(io.BytesIO(data[:length]))
        with pytest.raises(codec.Truncated):
            codec.decode(data[:length])


def test_nothing_and_too_much():
    for data in (b"", codec.encode(SMALL) * 2):
        with pytest.raises(codec.WireError):
            codec.decode(data)


def test_oversized_header():
    endless = io.BytesIO(b"x" * (codec.MAX_HEADER_BYTES + 2))
    with pytest.raises(codec.Oversize):
        codec.read_message(endless)
    with pytest.raises(codec.Oversize):
        list(codec.Decoder().feed(b"x" * (codec.MAX_HEADER_BYTES + 2)))
    with pytest.raises(codec.Oversize):
        codec.encode(Cancel("x" * codec.MAX_HEADER_BYTES))


@pytest.mark.parametrize("shape", [[1 << 40], [1 << 62, 1 << 62], [codec.MAX_BODY_BYTES // 8 + 1]])
def test_oversized_body_is_refused_before_memory_is_taken(shape):
    data = changed(SMALL, arrays=[{"dtype": "<f8", "shape": shape}])
    with pytest.raises(codec.Oversize):
        codec.decode(data)
    with pytest.raises(codec.Oversize):
        codec.read_message(io.BytesIO(data))


@pytest.mark.parametrize("protocol", [codec.PROTOCOL + 1, 0, None, "1", 1.5])
def test_another_protocol_is_named_as_such(protocol):
    with pytest.raises(codec.ProtocolMismatch, match=f"speaks {codec.PROTOCOL}"):
        codec.decode(changed(any_message(Hello), protocol=protocol))


@pytest.mark.parametrize("array", [
    {"dtype": "|O", "shape": [1]}, {"dtype": "<U8", "shape": [1]}, {"dtype": "<f8", "shape": [-1]},
    {"dtype": "<f8"}, {"shape": [1]}, {"dtype": "nonsense", "shape": [1]}, {"dtype": "<f8", "shape": "12"},
    {"dtype": "f8,f8", "shape": [1]}, 7, None, {"dtype": "<c16", "shape": [1]},
])  # fmt: skip
def test_bad_array_descriptions(array):
    with pytest.raises(codec.WireError):
        codec.decode(changed(SMALL, arrays=[array]) + b"\0" * 64)


@pytest.mark.parametrize("header", [
    {"kind": "Nonsense"}, {"kind": "Take"}, {"kind": "__class__"}, {"kind": None}, {"fields": None}, {"fields": []},
    {"fields": {}}, {"fields": {"request_id": 7}}, {"fields": {"request_id": "a", "more": 1}}, {"arrays": None},
    {"fields": {"request_id": {"$array": 0}}},
])  # fmt: skip
def test_bad_headers(header):
    with pytest.raises(codec.WireError):
        codec.decode(changed(SMALL, **header))


@pytest.mark.parametrize("reference", [
    {"$array": 10_000}, {"$array": -1}, {"$array": True}, {"$array": "0"}, {"$bytes": 0}, [], None,
])  # fmt: skip
def test_bad_references_to_arrays(reference):
    header, body = header_of(codec.encode(any_message(Recovery, 2)))
    header["fields"]["take"]["frame_numbers"] = reference
    with pytest.raises(codec.WireError):
        codec.decode(json.dumps(header).encode() + b"\n" + body)


def test_values_that_a_dataclass_refuses_are_wire_errors():
    header, body = header_of(codec.encode(RecoverRequest("1", "a", camera=CameraHint(focal_mm=50.0))))
    header["fields"]["camera"]["focal_mm"] = -50.0
    with pytest.raises(codec.WireError, match="focal_mm"):
        codec.decode(json.dumps(header).encode() + b"\n" + body)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_is_a_wire_error_and_nothing_else(seed):
    """Noise, damaged messages, and headers nested beyond reason: only WireError comes out, or a message."""
    chosen = random.Random(seed)
    originals = [codec.encode(any_message(kind, seed)) for kind in ALL_KINDS]
    cases = [chosen.randbytes(chosen.randrange(1, 300)) for _ in range(30)]
    cases += [b"[" * 100_000 + b"\n", b'{"kind":' * 50_000 + b"\n", b"\n", b"null\n", b"{}\n", b"\xff\xfe\n"]
    for data in originals:
        for _ in range(15):
            damaged = bytearray(data)
            for _ in range(chosen.choice((1, 3, 10))):
                damaged[chosen.randrange(min(len(damaged), 2000))] = chosen.randrange(256)
            cases.append(bytes(damaged))
    for data in cases:
        for read in (codec.decode, lambda data: codec.read_message(io.BytesIO(data))):
            try:
                read(data)
            except codec.WireError as error:
                assert str(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame_numbers": np.array([2, 1])},
        {"frame_numbers": np.array([1, 2, 3])},
        {"fx_px": np.array([900.0, -1])},
        {"cx_px": np.array([900.0, np.nan])},
        {"T_world_camera": np.stack([np.eye(4), np.diag([2.0, 1, 1, 1])])},
        {"T_world_camera": np.stack([np.eye(4), np.diag([-1.0, 1, 1, 1])])},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_given_camera_that_cannot_be_one_is_refused(wrong):
    two = {name: np.array([900.0, 901.0]) for name in ("fx_px", "fy_px", "cx_px", "cy_px")}
    two["T_world_camera"] = np.tile(np.eye(4), (2, 1, 1))
    two |= {name: value for name, value in wrong.items() if name in two}
    track = take.CameraTrack(**two, width=1920, height=1080)
    with pytest.raises(ValueError):
        messages.GivenCamera(wrong.get("frame_numbers", np.array([1, 2])), track)
