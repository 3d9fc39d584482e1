"""A redacted capture names nobody and nothing of the site, and its verdict is the same."""

from __future__ import annotations

import io
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import NODE, Entity, LogRecord, Missing, Reading, Source
from triage import capture
from triage.assess import assess
from triage.capture import Capture
from triage.redact import Redactor, redact, same_verdicts
from triage.report import to_report
from triage.rulebook.load import load

NOW = 1771977600.0
KEY = b"k" * 32
UUID = "GPU-5b1e0c52-1234-5678-9abc-def012345678"
SERIAL = "1650123004410"
BOOT = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
MACHINE = "aaaabbbbccccdddd0000111122223333"
XID_79 = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=alice_llm_train, GPU has fallen off the bus."
AER = "pcieport 0000:4d:01.0: AER: Uncorrectable (Fatal) error message received from 0000:4e:00.0"

SECRETS = {
    "host": "trinity042", "domain": "hpc.acme-labs.example", "user": "alice", "full host": "trinity042.hpc.acme",
    "IPv4 address": "10.20.30.40", "IPv6 address": "2001:db8:85a3::8a2e:370:7334", "link-local": "fe80::21b:21ff",
    "MAC address": "b8:59:9f:03:fc:6d", "InfiniBand GUID": "b859:9f03:00fc:6de4", "mail": "bob.smith@acme.example",
    "home": "/home/carol/projects/secret.py", "GPU UUID": UUID[4:], "GPU serial": SERIAL, "boot id": BOOT,
    "machine id": MACHINE, "disk serial": "S4EWNX0R123456", "storage host": "filer07",
    "site path": "/gpfs/acme/runs/x1", "url": "vault.acme.example", "iqn": "iqn.2020-01.com.acme:disk1",
    "cloud host": "ip-10-9-8-7",
    "container id": "c0ffee" * 10 + "abcd", "board serial": "CN7475160001", "other user": "dave",
    "process": "alice_llm_train", "other process": "merger_model.x", "password": "hunter2!",
}  # fmt: skip

LINES = [
    "Linux version 6.8.0-60-generic (bob.smith@acme.example) #63-Ubuntu SMP",
    "Command line: BOOT_IMAGE=/vmlinuz-6.8.0 root=UUID=5b1e0c52-aaaa-bbbb-cccc-def012345678 nfsroot=10.20.30.40:/srv "
    "hostname=trinity042 ks=http://vault.acme.example/ks.cfg?u=alice password=hunter2! ro",
    "systemd[1]: Set hostname to <trinity042>.",
    "usb 1-1: SerialNumber: S4EWNX0R123456",
    "IPv6: ADDRCONF(NETDEV_CHANGE): ib0: link becomes ready 2001:db8:85a3::8a2e:370:7334 fe80::21b:21ff%ib0",
    "mlx5_core 0000:41:00.0 eth0: Link up, hw addr b8:59:9f:03:fc:6d guid b859:9f03:00fc:6de4",
    "nfs: server filer07 not responding, timed out",
    "Lustre: alice-OST0001: Connection to trinity042.hpc.acme-labs.example@o2ib (at 10.20.30.40@o2ib) was lost",
    "merger_model.x[4242]: segfault at 0 ip 00007f sp 00007f error 4 in /home/carol/projects/secret.py[1000]",
    "oom-kill:constraint=CONSTRAINT_MEMCG,task_memcg=/slurm/uid_alice/job_7,task=merger_model.x,pid=9,uid=1000",
    "Memory cgroup out of memory: Killed process 629 (alice_llm_train) total-vm:14119556kB",
    'audit: user=dave exe="/gpfs/acme/runs/x1" hostname=trinity042',
    "iscsi: iqn.2020-01.com.acme:disk1 login by ip-10-9-8-7",
    f"docker0: port veth joined {'c0ffee' * 10}abcd",
    f"NVRM: GPU at PCI:0000:4e:00: {UUID}",
    f"NVRM: GPU Board Serial Number: {SERIAL}",
    f"TRINITY042 machine {MACHINE} board S/N: CN7475160001",
    AER,
    XID_79,
    "NVRM: Xid (PCI:0000:41:00): 31, pid=1, name=python3, Ch 00000010, MMU Fault",
]


def record(number: int, message: str) -> LogRecord:
    host = "trinity042.hpc.acme-labs.example"
    return LogRecord(
        message, NOW - 1000 + number, 10.0 + number, BOOT, 3, "kernel", None, host, origin="/home/carol/kern.log",
        line=number, text=f"Feb 24 11:07:05 trinity042 kernel: {message}"[:500],
    )  # fmt: skip


def planted() -> Capture:
    """A capture with a secret wherever one can stand."""
    gpu = Entity("gpu", "0000:4e:00.0", UUID, SERIAL, 0, "NVIDIA H100 80GB HBM3")
    chatter = [f"usb 1-{number}: new high-speed USB device" for number in range(40)]
    return Capture(
        taken_at=NOW,
        node="trinity042",
        tool_version="0.1.0",
        rulebook="d" * 64,
        readings=[
            Reading(NODE, "host.name", "trinity042.hpc.acme-labs.example", "text", NOW),
            Reading(NODE, "driver.version", "580.65.06", "text", NOW),
            Reading(NODE, "kernel.release", "6.8.0-60-generic", "text", NOW),
            Reading(gpu, "gpu.name", "NVIDIA H100 80GB HBM3", "text", NOW),
            Reading(gpu, "gpu.vbios", "96.00.74.00.01", "text", NOW),
            Reading(gpu, "gpu.rows.failure", True, "flag", NOW),
            Reading(gpu, "gpu.temperature", Missing("error:talk to alice"), "celsius", NOW),
            Reading(Entity("job", name="alice-secret-merger"), "job.user", "alice", "text", NOW),
            Reading(Entity("process", index=7, name="alice_llm_train"), "process.state", "blocked", "text", NOW),
            Reading(NODE, "kernel.cmdline", LINES[1], "text", NOW),
        ],
        records=[record(number, message) for number, message in enumerate([*chatter, *LINES])],
        sources=[
            Source("kernel-log", "/home/carol/kern.log", True, NOW - 1000, NOW, 60, True),
            Source("nvml", "libnvidia-ml.so.1", False, NOW, NOW, 0, False, "ask bob.smith@acme.example at 10.20.30.40"),
        ],
        files={"proc/cmdline": LINES[1].encode(), "proc/sys/kernel/hostname": b"trinity042\n"},
        private={
            "hosts": ["trinity042", "filer07"], "domains": ["hpc.acme-labs.example"], "users": ["alice", "carol"],
            "serials": ["CN7475160001"], "ids": [MACHINE, BOOT],
        },
        notes=["asked by alice"],
    )  # fmt: skip


def raw(made: Capture) -> bytes:
    import gzip

    out = io.BytesIO()
    capture.write(made, out)
    return gzip.decompress(out.getvalue())


@pytest.mark.parametrize("what", SECRETS)
def test_no_secret_survives_in_the_bytes_of_the_archive(what: str) -> None:
    """It was there before, in any spelling of its letters, and is gone after."""
    secret = SECRETS[what].lower().encode()

    assert secret in raw(planted()).lower()
    assert secret not in raw(redact(planted())).lower()


SHAPES = {
    "IPv4": rb"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])",
    "MAC": rb"(?i)(?<![0-9a-f:])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![0-9a-f:])",
    "mail": rb"[\w.+-]+@[\w-]+",
    "home": rb"/home/\w+",
    "IPv6": rb"(?i)\bfe80:|2001:",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_of_the_shape_of_an_address_is_left(shape: str) -> None:
    """Pseudonyms do not look like one either, so that anybody can check."""
    assert re.search(SHAPES[shape], raw(planted()))
    assert not re.search(SHAPES[shape], raw(redact(planted())))


@pytest.mark.parametrize(
    "kept",
    [
        "0000:4e:00", "0000:4d:01.0", "580.65.06", "6.8.0-60-generic", "NVIDIA H100 80GB HBM3", "96.00.74.00.01",
        "name=python3", "pid=811", "GPU has fallen off the bus", "CONSTRAINT_MEMCG", "libnvidia-ml.so.1",
    ],
)  # fmt: skip
def test_what_the_verdict_rests_on_stays(kept: str) -> None:
    assert kept.encode() in raw(redact(planted()))


def incidents(made: Capture) -> Any:
    rulebook = load()
    found = assess(rulebook, made.records, made.readings, made.sources, node=made.node, now=made.taken_at)
    return to_report(found, generated_at=0.0, tool_version="", causes=rulebook.causes)["incidents"]


def test_the_verdict_is_unchanged() -> None:
    there, here = incidents(planted()), incidents(redact(planted()))

    assert {"gpu-off-bus", "gpu-memory"} <= {incident["rule"]["id"] for incident in there}
    assert same_verdicts(there, here)
    assert [[e["state"] for e in i["evidence"]] for i in there] == [[e["state"] for e in i["evidence"]] for i in here]


def test_a_name_has_one_pseudonym_in_an_archive_and_another_in_the_next() -> None:
    """In readings, records, prefixes and entities alike; the key is kept nowhere."""
    one, other = redact(planted()), redact(planted())
    (host,) = {record.host for record in one.records}

    assert host == one.node == next(r.value for r in one.readings if r.name == "host.name")
    assert all(f" {host} kernel:" in record.text for record in one.records)
    assert one.node != other.node
    assert {} == one.private
    assert one.redacted


def test_a_uuid_and_a_serial_keep_their_shape() -> None:
    """Also where the kernel prints them, so that the line and the GPU stay together."""
    made = redact(planted())
    gpu = next(r.entity for r in made.readings if r.entity.kind == "gpu")
    text = "\n".join(record.message for record in made.records)

    assert gpu.uuid is not None
    assert gpu.serial is not None
    assert re.fullmatch(r"GPU-[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", gpu.uuid)
    assert re.fullmatch(r"\d{13}", gpu.serial)
    assert gpu.uuid in text
    assert gpu.serial in text
    assert {32} == {len(record.boot or "") for record in made.records}


def test_redacting_twice_changes_no_verdict_and_reveals_nothing() -> None:
    assert same_verdicts(incidents(redact(planted())), incidents(redact(redact(planted()))))


@pytest.mark.parametrize(
    "text",
    [
        "00000000-0000-0000-0000-000000000000", "127.0.0.1 ::1 0.0.0.0", "std::vector nvidia::a", "12:30:45.123",
        "drivers/gpu/drm/nouveau/nvif/vmm.c:68", "libcuda.so.1 nvidia.ko main.py", "NVRM: loading NVIDIA 535.104.05",
        "RIP: 0010:ffffffffc0a01000", "serial8250: ttyS0", "BAR 0 [mem 0xc0000000-0xc0ffffff 64bit]", "vfio_pci.c",
        "watchdog: BUG: soft lockup - CPU#32 stuck for 23s! [ksoftirqd/32:179]", "Comm: python Tainted: P",
        "WARNING: CPU: 8 PID: 1505697 at drivers/gpu/drm/nouveau/nvif/vmm.c:68 nvif_vmm_put+0x72/0x80 [nouveau]",
        "INFO: task kworker/3:1:5403 blocked for more than 120 seconds.", "Xorg invoked oom-killer: gfp_mask=0x14000c0",
        "nvidia-nvswitch0: SXid (PCI:0000:05:00.0): 20034, Fatal, Link 30", "N/A w/o and/or", "1.2.3 10.0.0",
        "mce: [Hardware Error]: CPU 178: Machine Check Exception: f Bank 1: bd80000000100134",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_name_stays(text: str) -> None:
    assert text == Redactor({}, KEY).text(text)


def test_words_of_every_log_are_no_names_even_if_a_host_has_one() -> None:
    """A host called `nvidia` must not take every line of the driver with it."""
    redactor = Redactor({"hosts": ["nvidia", "gpu"], "users": ["python", "error"]}, KEY)

    assert XID_79.replace("alice_llm_train", "python") == redactor.text(XID_79.replace("alice_llm_train", "python"))
    assert "host-" in redactor.host("nvidia")


def test_a_short_name_is_found_as_a_word_and_a_dotted_one_whole() -> None:
    redactor = Redactor({"users": ["jdo", "j.doe", "li-wei"]}, KEY)

    text = redactor.text("jdo j.doe li-wei jdoe /dev/mapper/vg_jdo-root")
    assert not re.search(r"\bjdo\b|j\.doe|li-wei|_jdo-", text)
    assert "jdoe" in text


def test_a_host_whose_name_is_too_short_to_be_looked_for_goes_where_a_host_stands() -> None:
    """`n7` is a part of many words; in the kernel's file and before a message it is a host."""
    line = "Feb 24 11:07:05 n7 kernel: nvme nvme0: n7 is no namespace"
    told = record(1, "nvme nvme0: n7 is no namespace")._replace(host="n7", text=line)
    capture = planted()._replace(
        node="n7", records=[told], files={"proc/sys/kernel/hostname": b"n7\n"}, private={}, readings=[]
    )
    made = redact(capture, KEY)
    host = made.node

    assert host is not None
    assert host.startswith("host-")
    assert {"proc/sys/kernel/hostname": f"{host}\n".encode()} == dict(made.files)
    assert f"Feb 24 11:07:05 {host} kernel: nvme nvme0: n7 is no namespace" == made.records[0].text


def test_files_that_are_no_text_do_not_raise() -> None:
    assert isinstance(Redactor({}, KEY).file("proc/version", bytes(range(256))), bytes)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=400), st.text(max_size=50))
def test_no_text_raises_and_known_names_go_wherever_they_stand(before: str, after: str) -> None:
    redactor = Redactor({"hosts": ["trinity042"]}, KEY)

    assert "trinity042" not in redactor.text(f"{before} trinity042 {after}")


@pytest.mark.parametrize(
    "unit",
    ["x", "a.", "1:", "/a", "@", "-", "a-", "~a/", "serial ", "sn=", "1 ", "[1] ", "a b ", "::", "f" * 31 + " ",
     "user=", "nfs server ", "http://", "Xid (", "Comm: ", "task ", "process 1 (", "iqn.2020-01", "1.1.", "\u00e9"],
)  # fmt: skip
def test_no_line_takes_long(unit: str) -> None:
    """A line as long as lines can be, made to be tried again and again."""
    began = time.monotonic()

    assert Redactor({"hosts": ["h-1", "a"]}, KEY).text((unit * 16384)[:16384]) is not None
    assert time.monotonic() - began < 10.0


def test_a_kernel_command_line_keeps_what_bears_on_a_verdict_and_nothing_else() -> None:
    """What else a site boots with is its own affair, and so is what it tells its init."""
    line = "Kernel command line: ro quiet iommu=pt pci=realloc fleet.token=s3cret rescue-shell -- --listen 0.0.0.0:2024"
    redactor = Redactor({}, KEY)

    said = redactor.text(line)

    assert "ro quiet iommu=pt pci=realloc fleet.token=" in said
    assert not any(secret in said for secret in ("s3cret", "rescue", "listen", "2024"))
    assert b"s3cret" not in redactor.file("proc/cmdline", line.partition(": ")[2].encode())


def test_whoever_built_the_kernel_is_nobody() -> None:
    """The banner of a driver or kernel names a person and a machine."""
    banner = "NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build  (jane@build7)  Fri"

    assert banner.replace("jane@build7", "builder") == Redactor({}, KEY).text(banner)


def test_whose_a_job_is_goes_and_what_a_port_is_stays() -> None:
    """Jobs, pods and GUIDs become pseudonyms; states, drivers and the names that drivers give stay."""
    process, port = Entity("process", index=7, name="alice_train"), Entity("port", "0000:18:00.0", name="mlx5_0/1")
    told = {
        "job.id": "4711", "job.user": "alice", "job.program": "alice_train", "process.pod": "6f1d7a52",
        "process.container": "c0ffee" * 10 + "abcd", "process.job-name": "secret-merger",
        "process.unit": "merger.service",
    }  # fmt: skip
    readings = [Reading(process, name, value, "text", NOW) for name, value in told.items()]
    kept = {"ib.state": "active", "ib.driver": "mlx5_core", "ib.gpus-beside": "0000:19:00.0", "dcgm.health": "failure"}
    readings += [Reading(port, name, value, "text", NOW) for name, value in kept.items()]
    readings.append(Reading(port, "ib.guid", "b8ce:f603:0012:3456", "text", NOW))
    sel = LogRecord("Power Supply #0x02 | Failure detected | Asserted", NOW, identifier="bmc-sel", kernel=False)
    made = redact(Capture(NOW, "n", "1", "r", readings, [sel], []), KEY)
    shown = repr(made.readings)

    assert [] == [value for value in (*told.values(), "b8ce:f603:0012:3456") if value in shown]
    assert kept == {r.name: r.value for r in made.readings if r.name in kept}
    assert {"mlx5_0/1"} == {r.entity.name for r in made.readings if r.entity.kind == "port"}
    assert (sel.message, "bmc-sel") == (made.records[0].message, made.records[0].identifier)
