"""The digest that names a content, 64 hex digits: SHA-256 of a small one; a large one is hashed in pieces.

SHA-256 goes through its bytes one after the other, on one core, which takes longer than copying them. Pieces are
hashed on all cores. What makes one name of them is another function than SHA-256 on purpose: else a small content
could be made whose name is that of a large one. All of this is part of the names that lie in homes: it never changes.
"""

import hashlib
import struct
from typing import Iterable

LARGE = 8 << 20  # bytes from which a content is hashed in pieces; a smaller one is named as `sha256sum` says
PIECE = 1 << 20  # bytes of each piece but the last

# What a client says in every request if it knows this. Others are told no digest of a large file: they would take it
# for that of other bytes.
HEADER, KNOWN = "Runyard-Digests", "pieces"

_PERSON = b"runyard pieces 1"
_SIZE = struct.Struct("<Q")


def of_pieces(size: int, pieces: Iterable[bytes]) -> str:
    """The name of a content of ``size`` bytes, ``LARGE`` or more, from the SHA-256 of each of its pieces in order."""
    root = hashlib.blake2b(_SIZE.pack(size), digest_size=32, person=_PERSON)
    for piece in pieces:
        root.update(piece)
    return root.hexdigest()
