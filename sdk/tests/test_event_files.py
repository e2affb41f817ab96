"""Event files as they are written: checksums and bytes that TensorFlow's own writer gives. Their readers test the rest."""

import pytest

from runyard.event_files import EventFile, checksum, is_event_file, record


def test_the_checksum_is_the_masked_crc_32c():
    # RFC 3720 gives the CRC-32C of these bytes; event files have it turned by 15 bits, and a number added.
    def masked(crc):
        return ((crc >> 15 | crc << 17) & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF

    assert checksum(b"123456789") == masked(0xE3069283)
    assert checksum(bytes(32)) == masked(0x8A9136AA)
    assert checksum(b"\xff" * 32) == masked(0x62A8AB43)


def test_a_file_has_the_bytes_that_tensorflow_writes(tmp_path):
    path = tmp_path / "events"
    with EventFile(str(path), 1.5) as file:
        file.scalar("loss", 0.25, 300, 2.5)
    first = bytes.fromhex("09000000000000f83f1a0d") + b"brain.Event:2"
    second = bytes.fromhex("09000000000000044010ac022a0d0a0b0a046c6f7373150000803e")
    assert path.read_bytes() == record(first) + record(second)
    assert record(first)[:12] == bytes.fromhex("1800000000000000a37f4b22")


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("logs/train/events.out.tfevents.1571.node", True),
        ("events.out.tfevents.1571.node.7.0.v2", True),
        ("logs/tfevents/checkpoint", False),
        ("outputs/model.h5", False),
    ],
)
def test_an_event_file_is_known_by_its_name(path, is_one):
    assert is_event_file(path) is is_one
