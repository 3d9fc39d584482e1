"""Whether a folder is one node's or several nodes': by what its files say, else by how they are called."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from triage.fleet.sweep import Folder
from triage.fleet.whose import captures_of_several, host_of, logs_of_several

XID = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, GPU has fallen off the bus."


def syslog(host: str) -> str:
    return f"Nov 07 18:17:15 {host} kernel: {XID}\n"


def folder(tmp_path: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = tmp_path / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(tmp_path / "logs")


DMESG = f"[ 12.000001] {XID}\n"
CASES = {
    "hosts that differ": ({"a.log": syslog("gpu1"), "b.log.gz": syslog("gpu2")}, True),
    "one host in all": ({"a.log": syslog("gpu1"), "b.log": syslog("gpu1")}, False),
    "one host, once with its domain": ({"a.log": syslog("gpu1"), "b.log": syslog("gpu1.example.org")}, False),
    "a host that had no name yet": ({"a.log": syslog("localhost"), "b.log": syslog("gpu1")}, False),
    "hosts that differ under the names of one machine's logs": (
        {"kern.log": syslog("gpu1"), "messages": syslog("gpu2")}, True
    ),
    "no host, files of any name": ({"gpu1.txt": DMESG, "gpu2.txt": DMESG}, True),
    "no host, files that one machine has": ({"dmesg.txt": DMESG, "other.txt": DMESG}, False),
    "a single file": ({"gpu1.txt": DMESG}, False),
    "a folder for each host": ({"gpu1/kern.log": syslog("gpu1"), "gpu2/kern.log": syslog("gpu2")}, True),
    "folders of one host's crashes": ({"1/vmcore-dmesg.txt": DMESG, "2/vmcore-dmesg.txt": DMESG}, False),
    "a sosreport": ({"sos_commands/kernel/dmesg": DMESG, "x": DMESG, "y": DMESG}, False),
    "garbage": ({"a": "\x00\xff" * 99, "dmesg": "\x1f\x8b\x08"}, False),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_folder_of_logs_is_several_nodes_if_they_say_so_or_say_nothing_and_look_so(name: str, tmp_path: Path) -> None:
    files, several = CASES[name]

    assert several == logs_of_several(folder(tmp_path, files))


def test_a_folder_that_is_not_there_is_nobodys() -> None:
    assert not logs_of_several("/nowhere")


def test_the_host_is_named_without_its_domain(tmp_path: Path) -> None:
    path = tmp_path / "kern.log"
    path.write_text("nonsense\n" + syslog("gpu7.rack2.example.org"))

    assert "gpu7" == host_of(str(path))


def test_what_a_sweep_left_is_of_a_fleet_even_if_nobody_answered(tmp_path: Path) -> None:
    """Who was silent is what it tells; its list of nodes is no kernel log in which nothing is wrong."""
    assert not captures_of_several([str(tmp_path)])
    Folder(tmp_path / "sweep", ["g1"], {"via": "ssh"})

    assert captures_of_several([str(tmp_path / "sweep")])
