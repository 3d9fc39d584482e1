"""Lines become records: joined, told apart by boot, bounded, one at a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from probes.model import LogRecord
from probes.records import Tally, parse_lines
from probes.records_text import CONTINUATION_CAP, MESSAGE_CAP, TEXT_CAP, clean

HINT = 1771977600.0  # 2026-02-25T00:00:00Z
XID_79 = "NVRM: Xid (PCI:0000:41:00): 79, GPU has fallen off the bus."


LINES = (
    b"[   12.000000] NVRM: GPU0: something",
    b"Jun 30 11:07:05 host kernel: [68183.615790] x",
    b"Jun 30 11:07:05 host app[9]: first line",
    b"3,1234,5678000,+;x",
    b"__REALTIME_TIMESTAMP=1795295630947225",
    b"MESSAGE",
    b'{"MESSAGE": "x", "_TRANSPORT": "kernel"}',
    b"               NVRM: BAR0 is 0M",
    b"Call Trace:",
    b"[  +0.000127] b",
    b"-- Reboot --",
    b"",
)


def read(*lines: str | bytes, tz_offset: float = 0.0, tally: Tally | None = None) -> list[LogRecord]:
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    return list(parse_lines(raw, origin="x.log", year_hint=HINT, tz_offset=tz_offset, tally=tally))


def only(*lines: str | bytes, tally: Tally | None = None) -> LogRecord:
    (record,) = read(*lines, tally=tally)
    return record


def messages(records: Iterable[LogRecord]) -> list[str]:
    return [record.message for record in records]


def test_the_lines_of_one_kernel_message_are_one_record() -> None:
    records = read(
        "[    7.583454] NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:",
        "               NVRM: BAR0 is 0M @ 0x0 (PCI:0000:07:00.0)",
        "[    7.649151] NVRM: The NVIDIA probe routine failed for 1 device(s).",
    )

    assert [
        "NVRM: This PCI I/O region assigned to your NVIDIA device is invalid:\n"
        "NVRM: BAR0 is 0M @ 0x0 (PCI:0000:07:00.0)",
        "NVRM: The NVIDIA probe routine failed for 1 device(s).",
    ] == messages(records)
    assert [1, 3] == [record.line for record in records]


def test_lines_that_a_mail_program_broke_are_joined() -> None:
    records = read(
        "kernel: NVRM: loading NVIDIA UNIX x86_64 Kernel Module  430.34  Wed",
        "Jun 26 12:19:48 CDT 2019",
        "kernel: NVRM: GPU 0000:01:00.0: GPU does not have the necessary power",
        "cables connected.",
    )

    assert [
        "NVRM: loading NVIDIA UNIX x86_64 Kernel Module  430.34  Wed\nJun 26 12:19:48 CDT 2019",
        "NVRM: GPU 0000:01:00.0: GPU does not have the necessary power\ncables connected.",
    ] == messages(records)


def test_newlines_that_rsyslog_wrote_as_octal_are_put_back() -> None:
    record = only("Jun 30 11:07:05 host kernel: NVRM: API mismatch:#012NVRM: this kernel module#011has 1")

    assert "NVRM: API mismatch:\nNVRM: this kernel module\thas 1" == record.message


def test_a_kernel_message_that_lost_its_prefix_is_a_record_of_its_own_and_keeps_the_time() -> None:
    records = read("[   12.000000] NVRM: GPU0: something", XID_79, "Kernel panic - not syncing: hung tasks")

    assert ["NVRM: GPU0: something", XID_79, "Kernel panic - not syncing: hung tasks"] == messages(records)
    assert [12.0, 12.0, 12.0] == [record.monotonic for record in records]
    assert [False, True, True] == [record.pasted for record in records]
    assert {"#1"} == {record.boot for record in records}


def test_in_a_paste_each_line_is_a_record() -> None:
    lines = [
        "BUG: kernel NULL pointer dereference, address: 000000000000041c",
        "#PF: supervisor read access in kernel mode",
        "RIP: 0010:nv_audio_dynamic_power+0xcd/0x140 [nvidia]",
        "NVRM: GPU 0000:13:00.0: RmInitAdapter failed! (0x24:0x1c:1447)",
        "NVRM: GPU 0000:13:00.0: rm_init_adapter failed, device minor number 0",
        "i801_smbus 0000:00:1f.4: Timeout waiting for interrupt!",
        "mlx5_core 0017:01:00.0 eth1: Error cqe on cqn 0x54e, ci 0xb06, ...",
    ]

    assert lines == messages(read(*lines))


def test_in_a_paste_an_indented_line_continues_a_line_that_is_not_finished() -> None:
    records = read(
        "NVRM: Xid (PCI:0000:21:00): 69, pid=1, name=python3, Class Error:",
        "      channel 0x9, Class 0000cec0, Offset 0x184, Data ffffffff, ErrorCode 0x4",
        "NVRM: GPU Board Serial Number: 1791526070908",
        "INFO: task kworker/13:2:4055883 blocked for more than 120 seconds.",
        "      Not tainted 4.19.90-25.44.v2101.ky10.aarch64 #1",
    )

    assert [
        "NVRM: Xid (PCI:0000:21:00): 69, pid=1, name=python3, Class Error:\n"
        "channel 0x9, Class 0000cec0, Offset 0x184, Data ffffffff, ErrorCode 0x4",
        "NVRM: GPU Board Serial Number: 1791526070908",
        "INFO: task kworker/13:2:4055883 blocked for more than 120 seconds.",
        "      Not tainted 4.19.90-25.44.v2101.ky10.aarch64 #1",
    ] == messages(records)


def test_in_a_paste_each_frame_of_a_trace_is_a_record() -> None:
    """Also where the frames lost their offsets, and where the whole paste is indented."""
    with_offsets = ["    Call trace:", "     iommu_dma_unmap_phys+0xd4/0xe0", "     ? kfree+0x2f3/0x360", "     <TASK>"]
    without = ["Call Trace:", "  arch_jump_label_transform_queue", "  __jump_label_update", "Oops: 0000 [#1] SMP"]

    assert [line[4:] for line in with_offsets] == messages(read(*with_offsets))
    assert without == messages(read(*without))


def test_in_a_paste_lines_that_a_mail_program_broke_are_joined_and_others_are_not() -> None:
    records = read(
        "mlx5_core 0000:05:00.0: mlx5_irq_alloc:293:(pid 66740): Failed to",
        "request irq. err = -28",
        "general protection fault, probably for non-canonical address",
        "0xe277a58fde16f291: 0000 [#1] SMP NOPTI",
        "324b06ec 0000c4c8 00000000 206db166 206da31e 206da48c 206d879e 206d8f8e",
        "RmInitAdapter failed! (0x62:0x40:2168)",
    )

    assert [
        "mlx5_core 0000:05:00.0: mlx5_irq_alloc:293:(pid 66740): Failed to\nrequest irq. err = -28",
        "general protection fault, probably for non-canonical address\n0xe277a58fde16f291: 0000 [#1] SMP NOPTI",
        "324b06ec 0000c4c8 00000000 206db166 206da31e 206da48c 206d879e 206d8f8e",
        "RmInitAdapter failed! (0x62:0x40:2168)",
    ] == messages(records)


def test_in_a_paste_the_message_starts_at_the_tag_of_the_kernel() -> None:
    record = only("[gpu-health] [WARN] GPU-e11dfcca: XID: " + XID_79)

    assert (XID_79, True, True) == (record.message, record.kernel, record.pasted)


def test_blank_lines_and_marks_of_something_left_out_are_no_records() -> None:
    assert ["NVRM: a", "NVRM: b"] == messages(read("NVRM: a", "", "...", "   ", "NVRM: b", "[...]"))


def test_the_fields_of_a_kmsg_record_are_not_part_of_it() -> None:
    records = read(
        "6,1,5000000,-;pci 0000:01:00.0: [10de:2330]",
        " SUBSYSTEM=pci",
        " DEVICE=+pci:0000:01:00.0",
        "6,2,6000000,-;next",
    )

    assert ["pci 0000:01:00.0: [10de:2330]", "next"] == messages(records)


def test_the_parts_of_a_kmsg_line_are_put_together() -> None:
    assert ["one two", "three"] == messages(read("6,1,5,c;one ", "6,2,6,+;two", "6,3,7,-;three"))


def test_a_repeated_message_is_unwrapped() -> None:
    record = only(f"Jun 30 11:07:05 host kernel: message repeated 3 times: [ [   12.500000] {XID_79}]")

    assert (XID_79, 12.5) == (record.message, record.monotonic)


def boots(*lines: str) -> list[str | None]:
    return [record.boot for record in read(*lines)]


def test_a_fall_of_the_time_since_boot_is_a_new_boot_and_noise_is_none() -> None:
    assert ["#1", "#1", "#1", "#2", "#2"] == boots(
        "[  100.000000] a",
        "[   99.200000] b",
        "[  101.000000] c",
        "[    0.000000] d",
        "[    0.000000] Linux version 6.8.0",
    )


def test_the_kernels_version_is_a_new_boot_where_no_time_tells() -> None:
    assert ["#1", "#1", "#2"] == boots(
        "Jun 30 11:07:05 host kernel: Linux version 6.8.0",
        "Jun 30 11:07:05 host app[1]: Linux version 6.8.0",
        "Jun 30 12:07:05 host kernel: Linux version 6.8.0",
    )


def test_the_journals_own_marks_tell_boots_apart() -> None:
    boot = "3d1219c7c4c5404aaa1f6d2a48adfda4"

    assert ["#1", "#2", boot] == boots(
        "-- Logs begin at Mon 2024-01-01 00:00:00 UTC. --",
        "Jun 30 11:07:05 host kernel: a",
        "-- Reboot --",
        "Jun 30 11:07:06 host kernel: b",
        f"-- Boot {boot} --",
        "Jun 30 11:07:07 host kernel: c",
    )


def test_the_boots_of_the_hosts_in_one_file_do_not_mix() -> None:
    lines = [f"Jun 30 11:07:0{i} host{i % 2} kernel: [{1000 * (1 + i % 2) + i}.000000] x" for i in range(6)]

    assert ["#1", "#2", "#1", "#2", "#1", "#2"] == boots(*lines)


def test_the_parts_of_a_crash_record_are_one_boot() -> None:
    """They are stored newest first."""
    assert ["#1", "#1"] == boots("Panic#2 Part1", "<4>[  900.000000] late", "Panic#2 Part2", "<4>[  800.000000] early")


def test_a_line_of_fifty_megabytes_is_cut_and_counted() -> None:
    tally = Tally()
    record = only(b"[    1.000000] NVRM: " + b"x" * 50_000_000, tally=tally)

    assert MESSAGE_CAP == len(record.message)
    assert record.message.endswith("…")
    assert TEXT_CAP == len(record.text)
    assert 1 == tally.cut


def test_a_record_without_end_is_cut_and_the_next_is_whole() -> None:
    tally = Tally()
    records = read("[    1.000000] first", *["               more"] * 100_000, f"[    2.000000] {XID_79}", tally=tally)

    assert [CONTINUATION_CAP - 1, 0] == [record.message.count("\n") for record in records]
    assert records[0].message.endswith("more…")
    assert XID_79 == records[1].message
    assert 1 == tally.cut


def test_control_characters_are_spelt_and_colours_dropped() -> None:
    assert "a\\x07\\x1b b\tc\\u202ed" == clean("a\x07\x1b b\tc\u202e\x1b[1;31md\x1b[0m\x1b]0;title\x07")


def test_bytes_that_are_not_text_are_counted() -> None:
    tally = Tally()
    record = only(b"[    1.000000] NVRM: \xff\xfe name\0", tally=tally)

    assert ("NVRM: \ufffd\ufffd name", 3) == (record.message, tally.not_text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.sampled_from(LINES))))
def test_arbitrary_bytes_never_raise_and_no_record_exceeds_its_caps(lines: list[bytes]) -> None:
    for record in read(*lines):
        assert len(record.message) <= MESSAGE_CAP
        assert len(record.text) <= TEXT_CAP
        shown = record.message + record.text + (record.host or "") + (record.identifier or "")
        assert shown == clean(shown)
        assert not {"\x1b", "\0", "\r"} & set(shown)
        shown.encode()


PREFIXES: tuple[tuple[str, bool], ...] = (
    ("[{mono:12.6f}] ", True),
    ("[Mon Mar  6 21:34:31 2023] ", True),
    ("kern  :err   : [{mono:12.6f}] ", True),
    ("<3>[{mono:12.6f}] ", True),
    ("3,{seq},{usec},-;", False),
    ("2025-01-25T10:34:54,859532+00:00 ", True),
    ("Jun 30 11:07:05 host kernel: ", True),
    ("Jun 30 11:07:05 host kernel: [{mono:12.6f}] ", True),
    ("2025-04-09T04:08:00.123456+02:00 host kernel: ", True),
    ("Wed 2025-06-04 10:11:12 UTC host kernel: ", True),
    ("<3>1 2025-06-04T10:11:12Z host kernel - - - ", True),
    ("[{mono:12.6f}] host kernel: ", True),
    ("host1: kern: warning: [2026-04-22T21:25:20.458998481Z]: ", True),
)
WORDS = st.text(st.sampled_from("abcxyz059 :,.()<>=_-é"), min_size=1, max_size=60).map(str.strip).filter(bool)
MESSAGES = st.lists(
    st.tuples(st.sampled_from(("NVRM: Xid (PCI:0000:41:00): 13, ", "pcieport 0000:00:01.0: AER: ")), WORDS).map(
        "".join
    ),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(MESSAGES)
def test_the_same_messages_in_any_shape_are_the_same_messages(texts: list[str]) -> None:
    texts = [text.rstrip() for text in texts]
    for prefix, _ in PREFIXES:
        lines = [prefix.format(mono=10.0 + i, seq=i, usec=10_000_000 + i) + text for i, text in enumerate(texts)]
        records = read(*lines)
        assert texts == messages(records), prefix
        assert all(record.kernel and not record.pasted and record.boot == "#1" for record in records)
    objects = [json.dumps({"MESSAGE": text, "_TRANSPORT": "kernel"}) for text in texts]
    assert texts == messages(read(*objects))


def test_records_leave_as_they_come() -> None:
    """A record is given as soon as the next line shows that it is complete; nothing is collected."""
    taken = 0

    def lines() -> Iterable[bytes]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield b"[%5d.000000] x" % number

    records = iter(parse_lines(lines(), origin="x", year_hint=HINT))
    next(records)

    assert 2 == taken


def test_reading_records_imports_no_more_than_it_must() -> None:
    """The modules travel to nodes on which nothing is installed, and start there fast."""
    program = (
        "import sys; before = set(sys.modules); import probes.records;"
        " print(*sorted(m for m in set(sys.modules) - before if '.' not in m and not m.startswith('_')))"
    )
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=root, capture_output=True, text=True, check=True)

    assert not {"json", "datetime", "dataclasses", "logging", "inspect", "triage"} & set(done.stdout.split())
