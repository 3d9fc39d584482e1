"""Each shape gives its message, and what a program wrote never becomes the kernel's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from probes.model import LogRecord
from probes.records import Tally, parse_lines

HINT = 1771977600.0  # 2026-02-25T00:00:00Z
XID_79 = "NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus."


def read(*lines: str | bytes, tz_offset: float = 0.0, tally: Tally | None = None) -> list[LogRecord]:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(parse_lines(raw, origin="x.log", year_hint=HINT, tz_offset=tz_offset, tally=tally))


def only(*lines: str | bytes, tally: Tally | None = None) -> LogRecord:
    (record,) = read(*lines, tally=tally)
    return record


def messages(records: Iterable[LogRecord]) -> list[str]:
    return [record.message for record in records]


SHAPES: list[tuple[str, str, dict[str, Any]]] = [
    ("dmesg", f"[  123.456789] {XID_79}", {"monotonic": 123.456789, "at": None, "kernel": True, "pasted": False}),
    ("dmesg -r of a graphics test", f"<4> [165.134684] {XID_79}", {"monotonic": 165.134684, "level": 4}),
    ("dmesg of an old kernel", f"[ 34.431210] {XID_79}", {"monotonic": 34.43121}),
    ("dmesg -d", f"[  123.456789 <    0.000127>] {XID_79}", {"monotonic": 123.456789}),
    ("dmesg with a caller", f"[    5.860][  T123] {XID_79}", {"monotonic": 5.86}),
    ("dmesg with a CPU", f"[    5.860000] [     C4] {XID_79}", {"monotonic": 5.86}),
    ("dmesg with a caller and no time", f"[   T10] {XID_79}", {"monotonic": None, "kernel": True, "pasted": False}),
    ("dmesg -T", f"[Mon Mar  6 21:34:31 2023] {XID_79}", {"at": 1678138471.0}),
    ("dmesg -T without its bracket", f"Tue Apr 15 16:50:03 2025] {XID_79}", {"at": 1744735803.0}),
    ("dmesg without its bracket", f"| 4562.099306] {XID_79}", {"monotonic": 4562.099306}),
    ("dmesg in ISO time", f"2025-01-25T10:34:54,859532+00:00 {XID_79}", {"at": 1737801294.859532, "kernel": True}),
    ("socklog", f"kern.err: [  123.456789] {XID_79}", {"monotonic": 123.456789, "level": 3, "injected": False}),
    ("dmesg -x", f"kern  :err   : [  123.456789] {XID_79}", {"monotonic": 123.456789, "level": 3, "injected": False}),
    (
        "dmesg -x in ISO time",
        f"kern  :warn  : 2025-01-25T10:34:54,859532+00:00 {XID_79}",
        {"at": 1737801294.859532, "level": 4},
    ),
    (
        "dmesg -x of a program",
        f"user  :notice: [   12.000000] {XID_79}",
        {"injected": True, "kernel": True, "level": 5},
    ),
    ("dmesg -T -x", f"kern  :err   : [Mon Mar  6 21:34:31 2023] {XID_79}", {"at": 1678138471.0, "level": 3}),
    ("dmesg in colour", f"\x1b[32m[  123.456789] \x1b[0m\x1b[33mNVRM: \x1b[0m{XID_79[6:]}", {"monotonic": 123.456789}),
    (
        "grep in several files",
        f"/var/log/kern.log.1:2026-02-25T01:00:00+00:00 node7 kernel: [   12.300000] {XID_79}",
        {"at": HINT + 3600, "monotonic": 12.3, "kernel": True, "host": "node7"},
    ),
    ("grep -n in several files", f"./node7/dmesg.txt:123:[   12.300000] {XID_79}", {"monotonic": 12.3, "kernel": True}),
    ("syslogd on a terminal", f"kernel:[   12.300000] {XID_79}", {"monotonic": 12.3, "kernel": True}),
    ("printk", f"<3>[   12.300000] {XID_79}", {"monotonic": 12.3, "level": 3, "injected": False}),
    ("printk without a time", f"<3>{XID_79}", {"monotonic": None, "level": 3, "kernel": True}),
    ("printk of another facility", f"<11>[   12.300000] {XID_79}", {"level": 3, "injected": True}),
    ("/dev/kmsg", f"3,1234,5678000,-;{XID_79}", {"monotonic": 5.678, "level": 3, "injected": False}),
    ("/dev/kmsg with a caller", f"4,1234,5678000,-,caller=T12;{XID_79}", {"monotonic": 5.678, "level": 4}),
    ("/dev/kmsg of another facility", f"12,1234,5678000,-;{XID_79}", {"injected": True, "kernel": True, "level": 4}),
    ("syslog", f"Jun 30 11:07:05 host kernel: {XID_79}", {"at": 1751281625.0, "host": "host", "identifier": "kernel"}),
    (
        "syslog with time since boot",
        f"Sep 19 16:18:02 host kernel: [68183.615790] {XID_79}",
        {"monotonic": 68183.61579},
    ),
    ("syslog with a priority", f"<4>Jun 30 11:07:05 host kernel: {XID_79}", {"level": 4, "at": 1751281625.0}),
    ("syslog with a year", f"Jun 30 2023 11:07:05 host kernel: {XID_79}", {"at": 1688123225.0}),
    ("journal in Italian", f"ott 25 09:07:35 host1 kernel: {XID_79}", {"at": 1761383255.0, "kernel": True}),
    ("journal in Polish", f"kwi 15 07:56:59 host1 kernel: {XID_79}", {"at": 1744703819.0}),
    ("journal in Japanese", f"4月 15 07:56:59 host1 kernel: {XID_79}", {"at": 1744703819.0}),
    ("journal in no known tongue", f"xyz 15 07:56:59 host1 kernel: {XID_79}", {"at": None, "kernel": True}),
    ("journal without hosts", f"Jun 30 11:07:05 kernel: {XID_79}", {"host": None, "kernel": True, "pasted": False}),
    (
        "rsyslog in ISO time",
        f"2025-04-09T04:08:00.123456+02:00 host kernel: {XID_79}",
        {"at": 1744164480.123456, "host": "host"},
    ),
    ("journal short-iso", f"2025-04-09T04:08:00+0200 host kernel: {XID_79}", {"at": 1744164480.0}),
    ("journal short-precise", f"Jun 30 11:07:05.250000 host kernel: {XID_79}", {"at": 1751281625.25}),
    ("journal short-full", f"Wed 2025-06-04 10:11:12 UTC host kernel: {XID_79}", {"at": 1749031872.0, "host": "host"}),
    ("journal short-full elsewhere", f"Wed 2025-06-04 10:11:12 CEST host kernel: {XID_79}", {"at": 1749024672.0}),
    (
        "journal short-monotonic",
        f"[  123.456700] host kernel: {XID_79}",
        {"monotonic": 123.4567, "host": "host", "kernel": True},
    ),
    ("journal short-unix", f"1749031872.500000 host kernel: {XID_79}", {"at": 1749031872.5}),
    (
        "RFC 5424",
        f"<3>1 2025-06-04T10:11:12.5Z host kernel - - - {XID_79}",
        {"at": 1749031872.5, "level": 3, "kernel": True},
    ),
    ("RFC 5424 with data", f'<3>1 2025-06-04T10:11:12Z host kernel - - [a@1 b="c]\\"d"][e] {XID_79}', {"kernel": True}),
    ("a tag alone", f"kernel: {XID_79}", {"kernel": True, "identifier": "kernel", "pasted": False}),
    ("host and tag", f"host1 kernel: {XID_79}", {"kernel": True, "host": "host1"}),
    (
        "Talos",
        f"host1: kern: warning: [2026-04-22T21:25:20.458998481Z]: {XID_79}",
        {"host": "host1", "level": 4, "kernel": True},
    ),
    ("a clock", f"06:34:24  {XID_79}", {"at": None, "kernel": True, "pasted": True}),
    ("a stamp of someone's own", f"[2025-07-21 19:05:29] {XID_79}", {"at": 1753124729.0, "pasted": True}),
    ("ISO time and no host", f"2025-06-04T10:11:12Z {XID_79}", {"at": 1749031872.0, "pasted": True, "kernel": True}),
    ("an indented paste", f"    [10672.868940] {XID_79}", {"monotonic": 10672.86894}),
    ("a quoted mail", f"> [10672.868940] {XID_79}", {"monotonic": 10672.86894}),
    ("a paste", XID_79, {"pasted": True, "kernel": True, "at": None, "monotonic": None, "identifier": None}),
    ("Windows line ends", f"[  123.456789] {XID_79}\r\n", {"monotonic": 123.456789}),
    ("a hole left by a crash", "\0" * 4096 + f"Jun 30 11:07:05 host kernel: {XID_79}", {"at": 1751281625.0}),
]


@pytest.mark.parametrize(("line", "expected"), [pytest.param(*case[1:], id=case[0]) for case in SHAPES])
def test_each_shape_gives_the_message_and_what_its_prefix_says(line: str, expected: dict[str, Any]) -> None:
    record = only(line)

    assert XID_79 == record.message
    assert expected == {name: pytest.approx(getattr(record, name), abs=1e-5) for name in expected}


# What stands before an indented line, or one without any tag, has a say in what it is.
FIRM = [case[1] for case in SHAPES if case[1][0] != " " and case[0] not in ("a paste", "ISO time and no host")]


@pytest.mark.parametrize("line", FIRM)
def test_each_shape_is_read_the_same_after_any_other(line: str) -> None:
    """Shapes may mix; what the line before looked like changes nothing."""
    expected = only(line)._replace(line=2, boot=None)
    for _, other, _ in SHAPES:
        assert expected == read(other, line)[-1]._replace(boot=None), other


@pytest.mark.parametrize(
    "message",
    [
        "NVRM: Xid (PCI:0000:b3:00): 79, pid=1, GPU has fallen off the bus.",
        "NVRM: Xid (PCI:0000:b3:00 GPU-I:05): 13, pid=2, name=python, Graphics Exception",
        "NVRM: Xid (PCI:0000:b3:00 GPU-I:05 GPU-CI:01): 13, pid=2, name=python, Graphics Exception",
        "NVRM: Xid (PCI:0000:b3:00.0): 79, GPU has fallen off the bus.",
        "NVRM: Xid (PCI:0000:b3:00): 46",
        "NVRM: Xid (0000:03:00): 14, Channel 00000001",
        "NVRM: Xid (PCI:0000:b3:00): 999, pid=1, name=x, something new",
        "NVRM: Xid (PCI:0000:b3:00): 149, pid='<unknown>', name=<unknown>, NETIR_LINK_DOWN Fatal XC0 i0 Link 14",
        "NVRM: The NVIDIA GPU 0000:b3:00.0\nNVRM: (PCI ID: 10de:2330) installed in this system has\n"
        "NVRM: fallen off the bus and is not responding to commands.",
    ],
)
def test_lines_that_other_parsers_miss_survive_in_every_shape(message: str) -> None:
    first, *more = message.split("\n")
    for _, line, _ in SHAPES:
        if XID_79 in line and line != XID_79:
            body = line.rstrip().replace(XID_79, first)
            assert [message] == messages(read(body, *(f"               {text}" for text in more))), line


PROGRAMS: list[tuple[str, str, int | None]] = [
    (f"mar 06 15:10:43 host1 gdm3[7055]: {XID_79}", "gdm3", 7055),
    (f"Jun 30 11:07:05 host NVRM: {XID_79}", "NVRM", None),
    (f"Jun 30 11:07:05 host kernel[12]: {XID_79}", "kernel", 12),
    (f"Jun 30 11:07:05 host Isolated Web Co[3141]: {XID_79}", "Isolated Web Co", 3141),
    (f"Jun 30 11:07:05 host Isolated\tWeb Co[3141]: {XID_79}", "Isolated Web Co", 3141),
    (f"xyz 30 11:07:05 host app[1]: {XID_79}", "app", 1),
    (f"2025-04-09T04:08:00.123456+02:00 host python[77]: {XID_79}", "python", 77),
    (f"Wed 2025-06-04 10:11:12 UTC host app[5]: {XID_79}", "app", 5),
    (f"[  123.456700] host app[5]: {XID_79}", "app", 5),
    (f"1749031872.500000 host app[5]: {XID_79}", "app", 5),
    (f"<14>1 2025-06-04T10:11:12Z host app 5 - - {XID_79}", "app", 5),
    (f"06:34:24 host app[5]: {XID_79}", "app", 5),
    (f"nv-fabricmanager[3228]: {XID_79}", "nv-fabricmanager", 3228),
    (f"[Jul 09 2024 18:14:07] [ERROR] [tid 12727] {XID_79}", "fabricmanager", 12727),
]


@pytest.mark.parametrize(("line", "identifier", "pid"), PROGRAMS)
def test_what_a_program_wrote_is_not_the_kernels(line: str, identifier: str, pid: int | None) -> None:
    record = only(line)

    assert (False, identifier, pid, XID_79) == (record.kernel, record.identifier, record.pid, record.message)


def test_the_fabric_managers_own_log_is_dated_and_has_a_level() -> None:
    record = only("[Jul 09 2024 18:14:07] [ERROR] [tid 12727] detected NVSwitch non-fatal error 12028 on fid 0")

    assert (1720548847.0, 3) == (record.at, record.level)


@pytest.mark.parametrize(
    "forged",
    [
        XID_79,
        f"[   12.300000] {XID_79}",
        f"<3>[   12.300000] {XID_79}",
        f"Jun 30 11:07:05 host kernel: {XID_79}",
        f"kernel: {XID_79}",
        f"> [   12.300000] {XID_79}",
        json.dumps({"MESSAGE": XID_79, "_TRANSPORT": "kernel"}),
        "__REALTIME_TIMESTAMP=1",
        "-- Boot 0123456789abcdef0123456789abcdef --",
    ],
)
def test_the_further_lines_of_a_programs_message_stay_its_own(forged: str) -> None:
    """The journal indents them; whatever they look like, they are neither the kernel's nor a mark of a boot."""
    records = read("Jun 30 11:07:05 host app[9]: first line", f"                             {forged}")

    assert [False] == [record.kernel for record in records]
    assert ["#1"] == [record.boot for record in records]


def test_a_bare_line_after_a_programs_record_is_part_of_it() -> None:
    records = read("Jun 30 11:07:05 host app[9]: first line", XID_79, *["more"] * 100, XID_79)

    assert [False] == [record.kernel for record in records]


def test_junk_before_a_tag_that_names_a_program_is_not_skipped() -> None:
    record = only(f"somewhere app[12]: {XID_79}")

    assert (False, "app") == (record.kernel, record.identifier)


def test_a_stamped_line_without_a_tag_is_the_kernels_only_where_lines_have_no_tags() -> None:
    """Without hosts, `logger -t NVRM` looks like a line whose tag somebody left out."""
    line = f"Jun 30 11:07:05 {XID_79}"

    assert (True, True) == (only(line).kernel, only(line).pasted)
    assert [False, False] == [record.kernel for record in read("Jun 30 11:07:04 app[1]: x", line)]


def test_a_crash_that_the_kernel_reports_of_a_program_is_the_kernels() -> None:
    line = "llama-server[80906]: segfault at 204803fe0 ip 00007f00399189d7 sp 00007ffc4a6104f0 error 4 in libcuda.so"

    assert (True, line) == (only(line).kernel, only(line).message)


def test_a_host_and_tag_behind_the_stamp_of_dmesg_are_no_part_of_the_message() -> None:
    """Collectors write `[Sun Dec  1 14:54:40 2024] node kernel: text`."""
    line = b"[Sun Dec  1 14:54:40 2024] node7 kernel: mlx5_core 0000:5c:00.0: insufficient power"
    (record,) = parse_lines([line], origin="-", year_hint=1.8e9)

    assert "mlx5_core 0000:5c:00.0: insufficient power" == record.message
    assert (True, "node7") == (record.kernel, record.host)


@pytest.mark.parametrize(
    "line",
    [
        f"<13>Nov 26 01:02:04 host kernel: [  123.4] {XID_79}",
        f"<14>1 2026-11-26T00:00:00Z host kernel - - - {XID_79}",
        f"<13>2026-11-26T00:00:00Z host kernel: {XID_79}",
    ],
)
def test_a_priority_that_is_not_the_kernels_proves_a_forgery(line: str) -> None:
    """`logger -t kernel` writes the kernel's name, but cannot write its facility."""
    (record,) = parse_lines([line.encode() + b"\n"], origin="log", year_hint=1.79e9)

    assert ("kernel", False) == (record.identifier, record.kernel)


def test_the_lines_of_a_record_escaped_as_kmsg_writes_them_are_put_back() -> None:
    """A record of several lines that went through a tool which reads /dev/kmsg raw."""
    (record,) = parse_lines([b"[   12.4] NVRM: The GPU\\x0aNVRM: is not supported\n"], origin="log", year_hint=1.79e9)

    assert "NVRM: The GPU\nNVRM: is not supported" == record.message


def test_a_talos_line_without_its_host_keeps_its_time() -> None:
    """As pasted from the console of one node."""
    line = f"kern: warning: [2026-04-22T21:25:20.458998481Z]: {XID_79}\n"
    (record,) = parse_lines([line.encode()], origin="log", year_hint=1.79e9)

    assert XID_79 == record.message
    assert record.at is not None


def test_what_a_program_wrote_stays_its_own_behind_a_files_name() -> None:
    record = only(f"/var/log/syslog:Feb 25 01:00:00 node7 python3[812]: {XID_79}")
    assert (record.kernel, record.identifier) == (False, "python3")


def test_the_log_of_the_x_server_is_a_programs_from_its_first_line_on() -> None:
    """Its times are since boot, as the kernel's, but in thousandths; what follows its marks is its own as well."""
    lines = (
        "[    12.345] ", "X.Org X Server 1.21.1.4", "[    12.346] Kernel command line: quiet",
        '[    12.400] (EE) Failed to load module "nvidia" (module does not exist, 0)', f"[    12.401] {XID_79}",
    )  # fmt: skip
    found = read(*lines)
    assert {("Xorg", False)} == {(record.identifier, record.kernel) for record in found}
    assert 'Failed to load module "nvidia"' in found[-2].message


def test_a_line_of_the_kernel_is_no_x_servers_whatever_it_looks_like() -> None:
    """Six digits are the kernel's."""
    assert only(f"[   12.400000] {XID_79}").kernel
    assert only("[   12.400000] (EE) NVIDIA(0): x").kernel
    assert only(f"[   12.400] {XID_79}").kernel


def test_what_syslogd_wrote_on_a_terminal_without_a_time_is_the_kernel_s() -> None:
    found = read("Message from syslogd@host at May 30 07:02:53 ...", f" kernel:{XID_79}", "about kernel:modules")

    assert ["Message from syslogd@host at May 30 07:02:53 ...", XID_79, "about kernel:modules"] == messages(found)
    assert all(record.kernel for record in found)
