"""The node shapes that Azure's size names stand for."""

from difflib import get_close_matches
from typing import NamedTuple

from runyard.errors import ComputeTargetException


class VmSize(NamedTuple):
    """A node's shape. ``memory_gb`` in units of 10^9 bytes, as Azure lists it."""

    name: str
    cpus: int
    memory_gb: float
    gpus: int = 0


_TABLE = """
A1_V2 1 2       A2_V2 2 4       A4_V2 4 8       A8_V2 8 16      A2m_V2 2 16     A4m_V2 4 32     A8m_V2 8 64
D1 1 3.5        D2 2 7          D3 4 14         D4 8 28         D11 2 14        D12 4 28        D13 8 56
D14 16 112      D1_V2 1 3.5     D2_V2 2 7       D3_V2 4 14      D4_V2 8 28      D5_V2 16 56     D11_V2 2 14
D12_V2 4 28     D13_V2 8 56     D14_V2 16 112   D15_V2 20 140   DS1_V2 1 3.5    DS2_V2 2 7      DS3_V2 4 14
DS4_V2 8 28     DS5_V2 16 56    DS11_V2 2 14    DS12_V2 4 28    DS13_V2 8 56    DS14_V2 16 112  DS15_V2 20 140
D2_V3 2 8       D4_V3 4 16      D8_V3 8 32      D16_V3 16 64    D32_V3 32 128   D48_V3 48 192   D64_V3 64 256
D2s_V3 2 8      D4s_V3 4 16     D8s_V3 8 32     D16s_V3 16 64   D32s_V3 32 128  D48s_V3 48 192  D64s_V3 64 256
D2s_V4 2 8      D4s_V4 4 16     D8s_V4 8 32     D16s_V4 16 64   D32s_V4 32 128  D48s_V4 48 192  D64s_V4 64 256
D2s_V5 2 8      D4s_V5 4 16     D8s_V5 8 32     D16s_V5 16 64   D32s_V5 32 128  D48s_V5 48 192  D64s_V5 64 256
E2s_V3 2 16     E4s_V3 4 32     E8s_V3 8 64     E16s_V3 16 128  E32s_V3 32 256  E48s_V3 48 384  E64s_V3 64 432
E4ds_V4 4 32    E8ds_V4 8 64    E16ds_V4 16 128 E32ds_V4 32 256 E64ds_V4 64 504
F2s_V2 2 4      F4s_V2 4 8      F8s_V2 8 16     F16s_V2 16 32   F32s_V2 32 64   F64s_V2 64 128  F72s_V2 72 144
H8 8 56         H16 16 112      HB60rs 60 228   HC44rs 44 352   HB120rs_V2 120 456
NC6 6 56 1      NC12 12 112 2   NC24 24 224 4   NC24r 24 224 4
NC6s_V2 6 112 1 NC12s_V2 12 224 2               NC24s_V2 24 448 4               NC24rs_V2 24 448 4
NC6s_V3 6 112 1 NC12s_V3 12 224 2               NC24s_V3 24 448 4               NC24rs_V3 24 448 4
NC4as_T4_V3 4 28 1              NC8as_T4_V3 8 56 1              NC16as_T4_V3 16 110 1           NC64as_T4_V3 64 440 4
NC24ads_A100_V4 24 220 1        NC48ads_A100_V4 48 440 2        NC96ads_A100_V4 96 880 4
NC40ads_H100_V5 40 320 1        NC80adis_H100_V5 80 640 2
ND6s 6 112 1    ND12s 12 224 2  ND24s 24 448 4  ND24rs 24 448 4 ND40rs_V2 40 672 8
ND96asr_V4 96 900 8             ND96amsr_A100_V4 96 1900 8      ND96isr_H100_V5 96 1900 8
NV6 6 56 1      NV12 12 112 2   NV24 24 224 4   NV12s_V3 12 112 1               NV24s_V3 24 224 2  NV48s_V3 48 448 4
"""


def _parse(table: str) -> dict[str, VmSize]:
    found: list[list[str]] = []
    for word in table.split():
        if word[0].isalpha():
            found.append([word])
        else:
            found[-1].append(word)
    sizes = [
        VmSize(f"STANDARD_{name.upper()}", int(cpus), float(memory), int(gpus[0]) if gpus else 0)
        for name, cpus, memory, *gpus in found
    ]
    return {size.name: size for size in sizes}


VM_SIZES: dict[str, VmSize] = _parse(_TABLE)


def vm_size(name: str) -> VmSize | None:
    """The shape that ``name`` stands for, in any case; None for "" (a node of this host as it is).

    Raises:
        ComputeTargetException: no such size; the message has those that resemble it.
    """
    if not name:
        return None
    found = VM_SIZES.get(name.upper())
    if found is None:
        near = get_close_matches(name.upper(), VM_SIZES, n=5, cutoff=0.6) or ["STANDARD_D2_V2", "STANDARD_NC6"]
        raise ComputeTargetException(
            f"There is no vm_size {name!r}. Sizes like it: {', '.join(near)}. "
            f"AmlCompute.supported_vmsizes(workspace) lists all {len(VM_SIZES)}; "
            "vm_size='' takes the host's nodes as they are."
        )
    return found
