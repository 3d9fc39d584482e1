"""The small files behind the readings are copied within bounds, and the names of a site are found without asking it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from probes import raw
from probes.raw import copies, private_names


def write(root: Path, name: str, content: str | bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def test_what_the_host_probe_reads_is_copied_and_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, "proc/sys/kernel/osrelease", "6.8.0\n")
    write(tmp_path, "sys/module/nvidia/version", "580.65.06\n")
    write(tmp_path, "sys/bus/pci/devices/0000:4e:00.0/current_link_width", "8\n")
    write(tmp_path, "sys/devices/system/edac/mc/mc0/ce_count", "3\n")

    assert {
        "proc/sys/kernel/osrelease": b"6.8.0\n",
        "sys/module/nvidia/version": b"580.65.06\n",
        "sys/bus/pci/devices/0000:4e:00.0/current_link_width": b"8\n",
        "sys/devices/system/edac/mc/mc0/ce_count": b"3\n",
    } == copies(["0000:4e:00.0", "../../../etc", "0000:4f:00.0"], 5.0, tmp_path)


def test_nothing_that_the_driver_serves_is_opened(tmp_path: Path) -> None:
    """Reading /proc/driver/nvidia hangs while the driver does."""
    write(tmp_path, "proc/driver/nvidia/version", "NVRM version\n")
    os.mkfifo(tmp_path / "proc/driver/nvidia/gpus")

    assert {} == copies([], 5.0, tmp_path)


def test_a_file_is_cut_and_all_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "proc/cmdline", "x" * (1 << 20))
    write(tmp_path, "proc/modules", "y" * (1 << 20))
    monkeypatch.setattr(raw, "MAX_BYTES", 1 << 16)

    assert [raw.MAX_FILE] == [len(content) for content in copies([], 5.0, tmp_path).values()]
    assert {} == copies([], 0.0, tmp_path)


def test_the_names_of_a_site_come_from_local_files(tmp_path: Path) -> None:
    """Hosts, domains and people, but neither system users nor `localhost`."""
    write(tmp_path, "proc/sys/kernel/hostname", "node042\n")
    write(tmp_path, "proc/sys/kernel/domainname", "(none)\n")
    write(tmp_path, "etc/hosts", "127.0.0.1 localhost\n# a comment\n10.0.0.1 login01.acme.example login01\n")
    write(tmp_path, "etc/resolv.conf", "nameserver 10.0.0.2\nsearch hpc.acme.example acme.example\n")
    write(
        tmp_path,
        "etc/passwd",
        "root:x:0:0::/root:/bin/sh\nalice:x:1000:100::/home/asmith:/bin/sh\nnobody:x:65534:1::/:/bin/false\nbad line\n",
    )
    write(tmp_path, "home/bob/.profile", "")
    write(tmp_path, "etc/machine-id", "a" * 32 + "\n")
    write(tmp_path, "proc/sys/kernel/random/boot_id", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0\n")
    write(tmp_path, "sys/class/dmi/id/board_serial", "CN747516\n")

    assert {
        "hosts": ["node042", "login01.acme.example", "login01"],
        "domains": ["hpc.acme.example", "acme.example"],
        "users": ["carol", "alice", "asmith", "bob"],
        "serials": ["CN747516"],
        "ids": ["a" * 32, "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "0f1e2d3c4b5a69788796a5b4c3d2e1f0"],
    } == private_names(tmp_path, {"USER": "root", "SUDO_USER": "carol"})


def test_where_nothing_can_be_read_no_name_is_known(tmp_path: Path) -> None:
    assert {"hosts": [], "domains": [], "users": [], "serials": [], "ids": []} == private_names(tmp_path, {})
