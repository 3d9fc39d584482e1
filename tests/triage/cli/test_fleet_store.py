"""A fleet's store through the command: real sweeps into a real PostgreSQL, and everything that is asked of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import postgres_server, ssh_fleet
from tests.postgres_server import PASSWORD, PostgresServer
from tests.ssh_fleet import SshFleet
from tests.triage.cli.conftest import ROOT, Run, environment
from tests.triage.cli.test_schema import fits
from tests.triage.fleet.places import DAY
from tests.triage.fleet.store.made import answer, failing, swept
from triage.cli import main
from triage.fleet.model import TIMED_OUT, Answer
from triage.fleet.store import read, write
from triage.fleet.store.opened import Store

NAMES = [f"s{number}" for number in range(1, 7)]
ODD = {"s1": ssh_fleet.DEAD, "s2": ssh_fleet.BARE}
NOW = ("--now", str(31 * DAY))


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    postgres_server.need()
    with PostgresServer() as up:
        yield up


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshFleet]:
    ssh_fleet.need()
    with SshFleet(tmp_path_factory.mktemp("fleet"), NAMES, ODD) as up:
        yield up


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process: what is told here of stores does not hang on the process it runs in."""

    def do(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patched:
            patched.delenv("GPU_TRIAGE_STORE", raising=False)
            for name, value in (env or {}).items():
                patched.setenv(name, value)
            code = main(words)
        told = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, told.out, told.err)

    return do


def sweep(nodes: SshFleet, folder: Path, *more: str, **env: str) -> subprocess.CompletedProcess[str]:
    words = ["-w", "s[1-6]", "--ssh-config", str(nodes.config), "--deadline", "120", "-o", str(folder), *more]
    return subprocess.run(
        [sys.executable, "-m", "triage", "fleet", "sweep", *words, "--format", "json"],
        cwd=ROOT,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=300,
    )


def kept(address: str) -> dict[str, list[str]]:
    with Store(address) as store:
        return store.read(lambda c: {name: [each.answer.state for each in said] for name, said in read.by_node(c)})


def test_the_libraries_of_a_store_are_loaded_only_for_one() -> None:
    """A report of captures needs none of them."""
    asked = "import sys, triage.cli.fleet_report, triage.cli.fleet_sweep, triage.cli.fleet_store, triage.cli.fleet_look"
    done = subprocess.run(
        [sys.executable, "-c", f"{asked}; print({{'sqlalchemy', 'alembic', 'psycopg', 'pyarrow'}} & set(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert "set()\n" == done.stdout


def test_a_sweep_writes_what_its_nodes_say_into_the_store(
    nodes: SshFleet, server: PostgresServer, run: Run, tmp_path: Path
) -> None:
    """The password comes from PGPASSFILE; the report of the store is that of the sweep."""
    address = server.database()
    plain = address.replace(f":{PASSWORD}", "")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"127.0.0.1:{server.port}:*:*:{PASSWORD}\n")
    passwords.chmod(0o600)
    racks = tmp_path / "racks.csv"
    racks.write_text("node,rack\n" + "".join(f"{name},r{n // 3}\n" for n, name in enumerate(NAMES)))
    env = {"PGPASSFILE": str(passwords)}
    done = sweep(nodes, tmp_path / "swept", "--store", plain, "--keep", "30", "--inventory", str(racks), **env)
    report = json.loads(done.stdout)
    again = run("fleet", "report", "--store", plain, "--format", "json", env=env)

    assert 4 == done.returncode  # two nodes gave no answer
    assert f"kept in {plain} as sweep" in done.stderr
    expected = {name: ["answered"] for name in NAMES} | {"s1": ["unreachable"], "s2": ["no-python"]}
    assert expected == kept(address)
    told = json.loads(again.stdout)
    assert {key: report[key] for key in ("nodes", "patterns", "incidents")} == {
        key: told[key] for key in ("nodes", "patterns", "incidents")
    }
    with Store(address) as store:
        found = store.read(lambda c: dict(read.by_node(c)))
    assert "r1" == found["s6"][0].answer.facts["rack"]
    assert [True] == [each.complete for each in _sweeps(address)]
    assert PASSWORD not in done.stdout + done.stderr + again.stdout + again.stderr
    # The folder says no other than what is there already.
    added = run("fleet", "store", "add", str(tmp_path / "swept"), "--store", plain, env=env)
    assert (0, expected) == (added.returncode, kept(address))


def _sweeps(address: str) -> list[read.Sweep]:
    with Store(address) as store:
        found: list[read.Sweep] = store.read(read.sweeps)
        return found


def test_what_the_store_does_not_take_is_in_the_folder_and_comes_in_later(
    nodes: SshFleet, server: PostgresServer, run: Run, tmp_path: Path
) -> None:
    """The sweep goes on without its store, says what is missing and how to bring it in, and ends as a partial one."""
    address = server.database()
    env = {"GPU_TRIAGE_STORE": address}
    server.stop(signal.SIGQUIT)
    try:
        done = sweep(nodes, tmp_path / "swept", "--store-deadline", "2", "--no-report", **env)
    finally:
        server.start()

    assert 4 == done.returncode
    assert "the sweep begins without it" in done.stderr
    assert "not all is in the store (of s[1-6])" in done.stderr
    assert f"gpu-triage fleet store add {tmp_path / 'swept'}" in done.stderr
    assert PASSWORD not in done.stderr
    for _ in range(2):
        added = run("fleet", "store", "add", str(tmp_path / "swept"), env=env)
        assert 0 == added.returncode
        assert dict.fromkeys(NAMES, 1) == {name: len(states) for name, states in kept(address).items()}
    assert 1 == len(_sweeps(address))


def test_a_store_that_can_never_be_written_is_said_before_any_node_is_asked(
    nodes: SshFleet, server: PostgresServer, tmp_path: Path
) -> None:
    """A wrong password is no reason to sweep thousands of nodes in vain."""
    wrong = server.database().replace(PASSWORD, "wrong")
    done = sweep(nodes, tmp_path / "swept", GPU_TRIAGE_STORE=wrong)

    assert 2 == done.returncode
    assert "authentication failed" in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert not (tmp_path / "swept").exists()  # so that the same command can be given again


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with three sweeps: a driver that changes on two nodes and fails there, a board that moves, one silence."""
    path = tmp_path_factory.mktemp("store") / "fleet.db"
    with Store(str(path)) as store:
        for number, day in enumerate((10.0, 20.0, 30.0), 1):
            told = [answer(f"g{n}", day, replays=day) for n in range(1, 5)]
            told = [
                each._replace(heard=((day - 10) * DAY, day * DAY), facts={**each.facts, "rack": "r1"}) for each in told
            ]
            if number > 1:
                for n in (0, 1):
                    new = {**told[n].facts, "driver.version": "570.1"}
                    open_ = failing(told[n].node, 12 * DAY + n)
                    told[n] = told[n]._replace(facts=new, incidents=(open_,), status="critical")
            if number == 3:
                moved, came = told[2].gpus[0], told[3].gpus[0]
                told[2] = told[2]._replace(gpus=(came, told[2].gpus[1]))
                told[3] = told[3]._replace(gpus=(moved, told[3].gpus[1]))
            silent = Answer("g9", TIMED_OUT, "no answer within \x1b[31m45 seconds")
            write.put(store, swept(number, day, 5), [*told, *([silent] if number == 3 else [])])
            write.end(store, swept(number, day, 5), day * DAY + 60, complete=True)
    return str(path)


@pytest.mark.parametrize(
    ("verb", "schema"),
    [
        (("nodes",), "fleet-nodes"),
        (("incidents", "--severity", "warning"), "fleet-incidents"),
        (("changes",), "fleet-changes"),
        (("diff", "sweep-0001", "last"), "fleet-diff"),
        (("sweeps",), "fleet-sweeps"),
        (("report",), "fleet-report"),
    ],
)
def test_every_answer_fits_its_schema_and_its_lines_are_whole(
    verb: tuple[str, ...], schema: str, filled: str, run: Run
) -> None:
    """JSON, and NDJSON that ends with a line that says so."""
    words = ("fleet", *verb, "--store", filled, *NOW)
    done = run(*words, "--format", "json")
    told = fits(schema, done.stdout)
    lines = [json.loads(line) for line in run(*words, "--format", "ndjson").stdout.splitlines()]

    assert (4 if verb == ("report",) else 0) == done.returncode
    assert schema == told["kind"]
    assert ("end", schema, True) == (lines[-1]["kind"], lines[-1]["of"], lines[-1]["complete"])
    assert len(lines) - 1 == sum(lines[-1]["rows"].values()) > 0
    assert all(line["schema_version"] == 1 for line in lines)


def said(run: Run, *words: str) -> str:
    done = run("fleet", *words, *NOW, env={"COLUMNS": "160"})
    assert "" == done.stderr
    text: str = done.stdout
    return text


def test_nodes_of_which_the_same_is_known_are_one_line(filled: str, run: Run) -> None:
    """Those that are well come last, and what a node said is cleaned."""
    assert said(run, "nodes", "--store", filled).splitlines() == [
        "5 nodes",
        "  - g[1-2]: critical, 2 GPUs, driver 570.1, gsp-fault",
        r"  - g9: timed-out: no answer within \x1b[31m45 seconds",
        "  - g[3-4]: ok, 2 GPUs, driver 550.54.15",
    ]
    assert "  - g3: ok" in said(run, "nodes", "--store", filled, "-w", "g3")


def test_changes_stand_beside_the_incidents(filled: str, run: Run) -> None:
    """The driver that two nodes got, and the boards that two exchanged."""
    text = said(run, "changes", "--store", filled)

    assert "driver: driver.version: 550.54.15 became 570.1; 2 nodes, g[1-2]; 1970-01-11T00:00Z to 1970-01-21" in text
    assert "2 incidents on them since, until 7 days after (gsp-fault 2); 0 in the 7 days before" in text
    assert "part: board g3-0 moved from g3 0000:10:00.0 to g4 0000:10:00.0; 1 node, g4" in text
    assert "swapped" not in text
    assert "5 nodes, and nothing changed." in said(run, "changes", "--store", filled, "--since", "@2000000")


def test_two_sweeps_beside_each_other(filled: str, run: Run) -> None:
    """Who was not asked before, what changed, what is new and what is not there any more."""
    text = said(run, "diff", "sweep-0001", "last", "--store", filled)
    back = json.loads(run("fleet", "diff", "--store", filled, "--format", "json").stdout)

    assert r"g9: not asked, now timed-out: no answer within \x1b[31m45 seconds" in text
    assert "CRITICAL gsp-fault (" in text
    assert "0 incidents go on." in text
    assert ("sweep-0002", "sweep-0003", 2) == (
        back["from"]["sweep"],
        back["to"]["sweep"],
        back["incidents"]["still"],
    )


def test_incidents_are_listed_and_chosen(filled: str, run: Run) -> None:
    """With the verdict that the fleet leaves them."""
    assert 2 == said(run, "incidents", "--store", filled).count("CRITICAL g")
    assert "No incidents." in said(run, "incidents", "--store", filled, "--rule", "gpu-off-bus")
    one = json.loads(run("fleet", "incidents", "--store", filled, "-w", "g2", "--format", "json", *NOW).stdout)
    (each,) = one["incidents"]
    assert ("g2", {"before", "evidence"}) == (each["where"]["node"], set(each["fleet"]))


@pytest.mark.parametrize("what", ["answers", "sweeps", "facts", "parts", "counters", "incidents"])
def test_what_is_exported_is_the_same_in_both_forms(what: str, filled: str, run: Run, tmp_path: Path) -> None:
    """Times are timestamps in one and seconds in the other."""
    file = tmp_path / "out.parquet"
    lines = [json.loads(line) for line in run("fleet", "export", what, "--store", filled).stdout.splitlines()]
    done = run("fleet", "export", what, "--store", filled, "--format", "parquet", "-o", str(file))
    rows = pq.read_table(file).to_pylist()

    assert {"kind": "end", "of": what, "complete": True, "rows": len(rows)} == lines.pop()
    assert (0, 0o600) == (done.returncode, file.stat().st_mode & 0o777)
    assert [file] == list(tmp_path.iterdir())
    plain = [{k: v.timestamp() if hasattr(v, "timestamp") else v for k, v in row.items()} for row in rows]
    assert plain == lines


def test_counters_are_those_of_each_gpu_in_each_sweep(filled: str, run: Run) -> None:
    """By UUID, also after the board has moved."""
    lines = [json.loads(line) for line in run("fleet", "export", "counters", "--store", filled).stdout.splitlines()]
    board = [each for each in lines if each.get("serial") == "g3-0" and each["name"] == "gpu.pcie.replays"]

    assert [("g3", 10.0), ("g3", 20.0), ("g4", 30.0)] == [(each["node"], each["value"]) for each in board]


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("nodes",), 2, "which store? name it: --store URL, or GPU_TRIAGE_STORE"),
        (("report",), 2, "name captures, logs or folders of them, or a store"),
        (("nodes", "--store", "missing.db"), 3, "missing.db: no such file"),
        (("nodes", "--store", "mysql://h/d"), 2, "a store is SQLite or PostgreSQL"),
        (("nodes", "--store", "postgresql://u:word@h/d"), 2, "postgresql://u:***@h/d: a password on the command line"),
        (("nodes", "--store", "postgresql://h/d?password=word"), 2, "password=***: a password on the command line"),
        (("report", "x.log", "--store", "f.db"), 2, "either captures or a store"),
        (("diff", "nope", "--store", "FILLED"), 2, "'nope': no such sweep"),
        (("changes", "--store", "FILLED", "--since", "@9000000"), 3, "no sweep in that time"),
        (("export", "--store", "FILLED", "--format", "parquet"), 2, "name a file, -o FILE"),
        (("export", "--store", "FILLED", "-o", "/nowhere/x"), 4, "cannot write /nowhere/x"),
        (("store",), 2, "say what to do: add, migrate, prune"),
        (("store", "prune", "--keep", "0", "--store", "FILLED"), 2, "not a number of days"),
        (("store", "add", "/nowhere", "--store", "FILLED"), 3, "no node in it could be read"),
    ],
)
def test_what_cannot_be_done_is_said_on_one_line(
    words: tuple[str, ...], code: int, why: str, filled: str, run: Run
) -> None:
    """What, why and the remedy; never a password."""
    done = run("fleet", *(word.replace("FILLED", filled) for word in words), *(NOW if "add" not in words else ()))

    assert (code, "") == (done.returncode, done.stdout)
    assert why in done.stderr
    assert 1 == len(done.stderr.splitlines())
    assert "word@" not in done.stderr
