"""What the scanner makes of records."""

from __future__ import annotations

import subprocess
import sys

import pytest

from probes.model import LogRecord
from triage.rulebook.load import RULES, load
from triage.scanner import Scanner, flat

SCANNER = Scanner(load())


def xid(message: str, **more: object) -> dict[str, str] | None:
    """Return the fields of the Xid in a message, or None."""
    record = LogRecord(message, **more)  # type: ignore[arg-type]
    found = [s for s in SCANNER.match(record) if s.name == "xid"]
    return dict(found[0].fields, device=found[0].pci or "") if found else None


@pytest.mark.parametrize(
    ("message", "code", "device"),
    [
        (
            "NVRM: Xid (PCI:0000:b3:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
            "79",
            "0000:b3:00.0",
        ),
        (
            "NVRM: Xid (PCI:0000:b3:00 GPU-I:05): 94, pid='<unknown>', name=<unknown>, Contained: SM (0x1).",
            "94",
            "0000:b3:00.0",
        ),
        ("NVRM: Xid (PCI:0000:b3:00 GPU-I:05 GPU-CI:01): 43, pid=1, name=python, Ch 00000010", "43", "0000:b3:00.0"),
        ("NVRM: Xid (PCI:0000:b3:00.0): 13, Graphics Exception", "13", "0000:b3:00.0"),
        ("NVRM: Xid (PCI:0000:b3:00): 46", "46", "0000:b3:00.0"),
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", "14", "0000:03:00.0"),
        ("NVRM: Xid (0001:00): 16, Head 00000000 Count 00023a64", "16", "0000:01:00.0"),
        ("NVRM: Xid (PCI:0000:b3:00): 999, what nobody has heard of", "999", "0000:b3:00.0"),
        ("NVRM: Xid (PCI:000f:01:00): 169, fd8cd000 94000000", "169", "000f:01:00.0"),
        (
            "NVRM: Xid (PCI:0000:01:00): 145, pid='<unknown>', name=<unknown>, RLW_CTRL Nonfatal XC1 i0 Link 10 (0x1)",
            "145",
            "0000:01:00.0",
        ),
    ],
)
def test_every_shape_of_an_xid_line_is_read(message: str, code: str, device: str) -> None:
    """MIG suffixes, old forms, lines with nothing after the code and unknown codes included."""
    fields = xid(message)

    assert fields is not None
    assert (code, device) == (fields["xid"], fields["device"])


def test_the_parts_of_an_xid_line_become_fields() -> None:
    """Process, MIG instances and the driver's own word on the cause are told apart from the text."""
    fields = xid(
        "NVRM: Xid (PCI:0000:b3:00 GPU-I:05): 45, pid=811, name=python3, Ch 00000010 caused by previous Xid 31"
    )

    assert fields is not None
    assert ("811", "python3", "05", "31", "Ch 00000010") == (
        fields["pid"],
        fields["name"],
        fields["gi"],
        fields["prev"],
        fields["text"],
    )


def test_an_unknown_code_is_kept_and_marked() -> None:
    """A code that is not in the catalogue is a signal all the same."""
    known, unknown = xid("NVRM: Xid (PCI:0000:b3:00): 13, x"), xid("NVRM: Xid (PCI:0000:b3:00): 999, x")

    assert known is not None
    assert unknown is not None
    assert ("yes", "no") == (known["known"], unknown["known"])


def test_whether_a_rule_opens_on_a_code_by_its_number_is_a_field() -> None:
    """So that one rule can take what no other reads, whatever rules there are."""
    own, other = xid("NVRM: Xid (PCI:0000:b3:00): 79, x"), xid("NVRM: Xid (PCI:0000:b3:00): 999, x")

    assert own is not None
    assert other is not None
    assert ("yes", "no") == (own["own_rule"], other["own_rule"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "145, pid='<unknown>', name=<unknown>, RLW_SRC_TRACK Nonfatal XC1 i0 Link 10 (0x04082907 0x00000008 0x0)",
            {"unit": "RLW_SRC_TRACK", "nvlink_severity": "nonfatal", "hw_sw": "HW/SW", "link": "10"},
        ),
        ("94, Contained: SM (0x1). RST: No, D-RST: No", {"containment": "contained", "reset_needed": "no"}),
        ("13, Graphics SM Warp Exception on (GPC 7, TPC 4, SM 0): x", {"gpc_tpc_sm": "7/4/0", "exception": "warp"}),
        ("154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)", {"recovery": "reboot"}),
    ],
)
def test_what_the_text_of_an_xid_says_becomes_fields(text: str, expected: dict[str, str]) -> None:
    """So that rules need not read it with patterns of their own."""
    fields = xid(f"NVRM: Xid (PCI:0000:b3:00): {text}")

    assert fields is not None
    assert expected == {name: fields.get(name) for name in expected}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("10004", {"sxid_known": "yes", "sxid_class": "heat", "sxid_guide": "other-notable"}),
        ("11002", {"sxid_known": "yes", "sxid_class": "protocol"}),
        ("99999", {"sxid_known": "no"}),
    ],
)
def test_what_the_catalogue_knows_of_a_switch_error_becomes_fields(code: str, expected: dict[str, str]) -> None:
    """In the driver's line and in the fabric manager's."""
    driver = f"nvidia-nvswitch2: SXid (PCI:0000:07:00.0): {code}, Non-fatal, Link 47 something"
    manager = f"detected NVSwitch non-fatal error {code} on fid 0 on NVSwitch pci bus id 00000000:86:00.0 port 61"
    for line in (driver, manager):
        (signal,) = [s for s in SCANNER.match(LogRecord(line, pasted=True)) if "sxid" in s.fields]
        assert expected == {name: value for name, value in signal.fields.items() if name.startswith("sxid_")}


def test_what_the_driver_printed_is_never_replaced_by_what_was_decoded() -> None:
    """A group of the pattern is the line's own word."""
    fields = xid("NVRM: Xid (PCI:0000:b3:00): 13, pid=7, name=a, Graphics SM Warp Exception on (GPC 7, TPC 4, SM 0): x")

    assert fields is not None
    assert ("7", "a", "13") == (fields["pid"], fields["name"], fields["xid"])


def test_a_log_without_an_xid_reads_no_table() -> None:
    """A sweep of a healthy node must not pay for what only a fault needs."""
    program = (
        "import sys\nfrom probes.model import LogRecord\nfrom triage.rulebook.load import load\n"
        "from triage.scanner import Scanner\nscanner = Scanner(load())\n"
        "scanner.match(LogRecord('pcieport 0000:4d:01.0: AER: Corrected error received: 0000:4e:00.0'))\n"
        "assert not {'triage.catalog', 'triage.decode'} & sys.modules.keys()\n"
        "scanner.match(LogRecord('NVRM: Xid (PCI:0000:b3:00): 79, x'))\nassert 'triage.decode' in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=RULES.parent, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_a_user_program_cannot_forge_a_kernel_line() -> None:
    """The same text counts if the kernel wrote it and does not if a program logged it."""
    line = "NVRM: Xid (PCI:0000:b3:00): 79, GPU has fallen off the bus."

    assert xid(line, kernel=True) is not None
    assert xid(line, kernel=False, identifier="my-job") is None


@pytest.mark.parametrize(
    ("writer", "message", "signal"),
    [
        ("Xorg", "(EE) NVIDIA(0): WAIT (2, 8, 0x8000, 0x000062f4, 0x00006f18)", "modeset-error"),
        (
            "/usr/libexec/gdm-x-session",
            '(EE) Failed to load module "nvidia" (module does not exist, 0)',
            "module-absent",
        ),
        ("Xorg", "(EE) NVIDIA: The NVIDIA kernel module version mismatch", "api-mismatch"),
        (
            "Xorg",
            "(EE) NVIDIA(0): The NVIDIA kernel module does not appear to be receiving interrupts",
            "request-irq-failed",
        ),
        ("Xorg", "(EE) NVIDIA(GPU-0): Failed to initialize the NVIDIA GPU at PCI:1:0:0.", "smi-no-devices"),
        ("qemu-system-x86_64", "-device vfio-pci: vfio 0000:41:00.0: group 1 is not viable", "passthrough-refused"),
        ("QEMU", "kvm: vfio: Unable to power on device, stuck in D3", "passthrough-refused"),
    ],
)
def test_what_the_x_server_and_a_hypervisor_say_counts_from_them_alone(writer: str, message: str, signal: str) -> None:
    """A job that prints the same words, or a kernel line that quotes them, forges nothing."""

    def told(**more: object) -> list[str]:
        return [found.name for found in SCANNER.match(LogRecord(message, **more))]  # type: ignore[arg-type]

    assert [signal] == told(kernel=False, identifier=writer)
    assert [signal] == told(pasted=True)
    assert [] == told(kernel=False, identifier="my-job")
    assert [] == told(kernel=False)
    assert [] == told(kernel=True)


def test_a_process_name_cannot_smuggle_a_second_xid_into_a_line() -> None:
    """Only what stands at the start of the message is the driver's."""
    fields = xid("NVRM: Xid (PCI:0000:01:00): 31, pid=7, name=NVRM: Xid (PCI:0000:02:00): 79, Ch 1")

    assert fields is not None
    assert ("31", "0000:01:00.0") == (fields["xid"], fields["device"])
    assert xid("python[7]: segfault at 0 NVRM: Xid (PCI:0000:02:00): 79, x") is None


def test_the_lines_of_one_record_are_read_as_one() -> None:
    """The driver repeats its tag on each line of a record, which is dropped where they are joined."""
    lines = (
        "NVRM: The NVIDIA GPU 0000:4e:00.0",
        "(PCI ID: 10de:20b0) installed in this system has",
        "fallen off the bus and is not responding to commands.",
    )
    message = "\n  NVRM: ".join(lines)

    assert " ".join(lines) == flat(message)
    assert ["gpu-lost-at-probe"] == [s.name for s in SCANNER.match(LogRecord(message))]


def test_lone_surrogates_in_a_message_do_not_stop_the_scan() -> None:
    """Bytes that are no text reach the scanner as surrogates in the worst case."""
    assert [] == SCANNER.match(LogRecord("\udcff\udcfe broken"))
    assert xid("NVRM: Xid (PCI:0000:b3:00): 79, name=\udcff, x") is not None


def test_records_that_mean_nothing_are_counted() -> None:
    """So that a log's silence can be told from an excerpt's."""
    scanner = Scanner(load())

    signals = list(scanner.scan([LogRecord("audit: type=1400"), LogRecord("NVRM: Xid (PCI:0000:b3:00): 79, x")]))

    assert (["xid"], 1) == ([s.name for s in signals], scanner.plain)


def test_every_example_in_the_signal_files_matches_its_own_pattern() -> None:
    """And no counterexample does."""
    rulebook = load()
    scanner = Scanner(rulebook)
    for pattern in rulebook.signals:
        name = pattern.id.partition("#")[0]
        for example in pattern.examples:
            assert name in [s.name for s in scanner.match(LogRecord(example, pasted=True))], (pattern.id, example)
        for counter in pattern.counterexamples:
            assert name not in [s.name for s in scanner.match(LogRecord(counter))], (pattern.id, counter)
