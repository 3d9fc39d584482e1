"""PCI addresses in one spelling.

The kernel, NVML and NVIDIA's driver write the same address in five ways; here
it becomes `dddd:bb:dd.f` in lower case, as sysfs names its directories.
"""

from __future__ import annotations

import re
from typing import Optional

_ADDRESS = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.([0-9a-fA-F]))?\Z")


def normal_address(text: str) -> Optional[str]:
    """Return `0000:4e:00.0` for `00000000:4E:00.0`, `0000:4e:00`, `PCI:4e:00.0` ..., or None.

    A missing domain is 0000 and a missing function 0, as the NVIDIA driver
    leaves both out.  `0001:00`, the form of drivers before 2008 (bus and slot
    only), is read as bus 01.
    """
    text = text.strip()
    if text[:4].upper() == "PCI:":
        text = text[4:]
    match = _ADDRESS.match(text)
    if match:
        domain, bus, slot, function = match.groups()
        return f"{int(domain or '0', 16):04x}:{bus}:{slot}.{function or '0'}".lower()
    old = re.match(r"([0-9a-fA-F]{4}):([0-9a-fA-F]{2})\Z", text)
    if old:
        return f"0000:{int(old[1], 16) & 0xFF:02x}:{old[2]}.0".lower()
    return None


def without_address(index: int) -> str:
    """Return what stands for the address of a GPU that does not tell it: a place of its own, and no address."""
    return f"#{index} of unknown address"


def is_address(text: str) -> bool:
    """Whether this is an address, and not what stands for one."""
    return not text.startswith("#")


def same_device(one: Optional[str], other: Optional[str]) -> bool:
    """Whether two normalised addresses are functions of one device (a GPU and its audio function)."""
    return one is not None and other is not None and one[:-2] == other[:-2]
