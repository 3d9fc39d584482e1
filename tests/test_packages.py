"""What people install works where the source tree is not: wheel, source archive, one file, Debian package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.needed import missing

ROOT = Path(__file__).parent.parent
LOG = "NVRM: Xid (PCI:0000:4e:00): 79, pid=811, name=python, GPU has fallen off the bus.\n"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    if shutil.which("dpkg-deb") is None:
        missing("dpkg-deb is missing, so no Debian package can be built here")
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    built = subprocess.run(
        [sys.executable, "packaging/build.py", str(folder)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert 0 == built.returncode, built.stderr
    return folder


def the(dist: Path, pattern: str) -> Path:
    (found,) = dist.glob(pattern)
    return found


def says(program: Path, *words: str, told: str = "", home: Path) -> str:
    """Run the program in an empty folder, where nothing of this tree can help it."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [str(program), *words], cwd=home, env=env, input=told, capture_output=True, text=True, timeout=120
    )
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def works(program: Path, home: Path) -> None:
    home.mkdir(exist_ok=True)
    assert "GPU stopped answering on the PCIe bus" in says(program, "explain", "-", told=LOG, home=home)
    assert "How it ended" in says(program, "demo", home=home)
    assert "gpu-triage-watch.service" in says(program, "install", "systemd", "--print", home=home)


def test_an_index_would_take_them(dist: Path) -> None:
    files = [str(the(dist, "*.whl")), str(the(dist, "*.tar.gz"))]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, timeout=120
    )
    assert 0 == checked.returncode, checked.stdout


def test_pipx_installs_the_wheel_with_what_it_names(dist: Path, tmp_path: Path) -> None:
    """At the locked versions, because what somebody publishes tomorrow is not what is tested here."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    versions = [line.rstrip(" \\") for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    (tmp_path / "versions").write_text("\n".join(versions) + "\n", encoding="utf-8")
    env = {**os.environ, "PIP_CONSTRAINT": str(tmp_path / "versions"), "PIPX_HOME": str(tmp_path / "pipx"),
           "PIPX_BIN_DIR": str(tmp_path / "bin"), "PIPX_MAN_DIR": str(tmp_path / "man"),
           "PIPX_DEFAULT_BACKEND": "pip"}  # fmt: skip
    words = ["install", "--python", sys.executable, str(the(dist, "*.whl"))]
    done = subprocess.run([sys.executable, "-m", "pipx", *words], env=env, capture_output=True, text=True, timeout=600)
    assert 0 == done.returncode, done.stderr

    works(tmp_path / "bin/gpu-triage", tmp_path / "home")


def test_the_source_archive_makes_the_same_wheel(dist: Path, tmp_path: Path) -> None:
    with tarfile.open(the(dist, "*.tar.gz")) as archive:
        archive.extractall(tmp_path, filter="data")
    (tree,) = (path for path in tmp_path.iterdir() if path.is_dir())
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")],
        cwd=tree, check=True, capture_output=True, timeout=120,
    )  # fmt: skip

    once, again = (zipfile.ZipFile(the(folder, "*.whl")) for folder in (dist, tmp_path / "again"))
    assert {name: once.read(name) for name in once.namelist()} == {name: again.read(name) for name in again.namelist()}
    assert {"Makefile", "requirements.lock", "packaging", "docs", "tests"} <= set(os.listdir(tree))


def test_one_file_is_the_whole_program(dist: Path, tmp_path: Path) -> None:
    program = the(dist, "*.pyz")
    python = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    if shutil.which(python, path="/usr/bin:/bin") is None:
        pytest.skip(f"/usr/bin/{python} is missing, which the file that was built here needs")

    works(program, tmp_path)


def test_the_debian_package_holds_the_program_its_pages_and_its_units(dist: Path, tmp_path: Path) -> None:
    package = str(the(dist, "*.deb"))
    subprocess.run(["dpkg-deb", "--extract", package, str(tmp_path / "root")], check=True, timeout=120)
    root = tmp_path / "root"

    assert {"usr"} == set(os.listdir(root))
    for name in (
        "share/man/man1/gpu-triage-check.1.gz", "share/bash-completion/completions/gpu-triage",
        "lib/systemd/system/gpu-triage-watch.service", "lib/gpu-triage/slurm-health-check",
        "share/doc/gpu-triage/copyright", "share/doc/gpu-triage/changelog.gz",
    ):  # fmt: skip
        assert (root / "usr" / name).is_file(), name
    program = root / "usr/bin/gpu-triage"
    python = program.read_text().partition("\n")[0].removeprefix("#!").split()[0]
    assert os.path.basename(python) in subprocess.check_output(["dpkg-deb", "--field", package, "Depends"], text=True)
    if not os.path.exists(python):
        pytest.skip(f"{python} is missing, which the package that was built here needs")
    works(program, tmp_path / "home")


def test_the_debian_package_names_no_folder_of_whoever_built_it(dist: Path, tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--extract", str(the(dist, "*.deb")), str(tmp_path)], check=True, timeout=120)
    ours = [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix in (".pyc", ".py", ".service", "")]

    assert ours
    assert [] == [path for path in ours if str(ROOT).encode() in path.read_bytes()]
