"""Makes what people install: wheel, source archive, one executable file, Debian package.

    python packaging/build.py [FOLDER]        (make dist)

The executable file and the Debian package hold all that the program needs but
Python itself, at the locked versions with their hashes, for the processor and
the Python (its first two numbers) of the machine that builds them.  With
SOURCE_DATE_EPOCH set the Debian package is the same bytes again.
"""

from __future__ import annotations

import compileall
import gzip
import os
import platform
import py_compile
import shutil
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from triage import __version__  # noqa: E402
from triage.cli import completion, install, manual  # noqa: E402
from triage.shipped import shipped  # noqa: E402

PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
SYSTEM = f"/usr/bin/{PYTHON}"
"""What the Debian package runs under."""
PROGRAM = f"""\
#!{SYSTEM} -I
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "../lib/gpu-triage/site"))

from triage.cli import run

run()
"""


def main() -> None:
    """Build everything into a folder."""
    dist = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist").absolute()
    dist.mkdir(parents=True, exist_ok=True)
    _run("-m", "hatchling", "build", "--directory", str(dist))
    with tempfile.TemporaryDirectory(prefix="gpu-triage-build-") as scratch:
        site = with_all(dist / f"gpu_triage-{__version__}-py3-none-any.whl", Path(scratch) / "site")
        one_file(site, dist / f"gpu-triage-{__version__}-{PYTHON}-{platform.machine()}.pyz")
        debian(site, Path(scratch) / "debian", dist)
    for path in sorted(dist.iterdir()):
        print(f"{path.stat().st_size / 1e6:7.1f} MB  {path}")


def with_all(wheel: Path, site: Path) -> Path:
    """Install the wheel and what it needs into a folder of their own."""
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--no-compile", "--target", str(site))
    _run(*pip, "--require-hashes", "--only-binary", ":all:", "-r", str(ROOT / "requirements.lock"))
    _run(*pip, "--no-deps", "--upgrade", str(wheel))
    shutil.rmtree(site / "bin")  # scripts that name the Python of this machine
    return site


def one_file(site: Path, path: Path) -> None:
    """Pack the folder into one file that runs by itself where this Python is."""
    runs = ("--python-shebang", f"/usr/bin/env {PYTHON}", "--interpreter-constraint", f"CPython=={PYTHON[6:]}.*")
    _run("-m", "pex", "--venv", "-D", str(site), "--entry-point", "triage.cli:run", *runs, "-o", str(path))


def debian(site: Path, tree: Path, dist: Path) -> None:
    """Lay the files where a Debian system has them, and pack them."""
    architecture = ARCHITECTURES.get(platform.machine(), platform.machine())
    shutil.copytree(site, tree / "usr/lib/gpu-triage/site")
    _compiled(tree / "usr/lib/gpu-triage/site")
    _text(tree / "usr/bin/gpu-triage", PROGRAM, 0o755)
    for name, text in manual.pages().items():
        _gzip(tree / f"usr/share/man/man1/{name}.gz", text)
    known = dict(completion.verbs())
    _text(tree / "usr/share/bash-completion/completions/gpu-triage", completion.bash(known))
    _text(tree / "usr/share/zsh/vendor-completions/_gpu-triage", completion.zsh(known))
    _text(tree / "usr/share/fish/vendor_completions.d/gpu-triage.fish", completion.fish(known))
    for kit, folder in (("systemd", "usr/lib/systemd/system"), ("slurm", "usr/lib/gpu-triage")):
        for file in install.KITS[kit]:  # they name /usr/bin/gpu-triage as they stand
            text = (shipped("contrib") / file.source).read_text(encoding="utf-8")
            _text(tree / folder / Path(file.target).name, text, file.mode)
    about = tree / "usr/share/doc/gpu-triage"
    _text(about / "copyright", (ROOT / "LICENSE").read_text(encoding="utf-8"))
    _gzip(about / "changelog.gz", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    size = sum(path.stat().st_size for path in tree.rglob("*") if path.is_file()) // 1024
    minor = int(PYTHON.rpartition(".")[2])
    _text(tree / "DEBIAN/control", textwrap.dedent(f"""\
        Package: gpu-triage
        Version: {__version__}
        Architecture: {architecture}
        Maintainer: the founders of gpu-triage <gpu-triage@localhost>
        Installed-Size: {size}
        Depends: {PYTHON}, libc6, libstdc++6
        Recommends: openssh-client
        Suggests: ipmitool
        Section: admin
        Priority: optional
        Description: is it the hardware, or is it the driver?
         Reads what a Linux node with NVIDIA GPUs already says, the kernel log and
         the driver's counters, and answers with a verdict, how sure it is, the
         evidence for and against it, and what to do next.
         .
         Brings the Python packages that it needs, for Python 3.{minor}.
        """))  # fmt: skip
    package = dist / f"gpu-triage_{__version__}_{architecture}.deb"
    # gzip, because xz takes a minute to save a fifth; at 6, because 9 takes four times as long to save a hundredth
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Zgzip", "-z6", "--build", str(tree), str(package)], check=True)


def _compiled(folder: Path) -> None:
    """Compile for whoever may not write there; by the hash of the source, so that dates do not matter."""
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(folder, quiet=2, stripdir=str(folder), prependdir="/usr/lib/gpu-triage/site",
                           invalidation_mode=unchecked)  # fmt: skip


def _text(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _gzip(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _run(*words: str) -> None:
    subprocess.run([sys.executable, *words], cwd=ROOT, check=True, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})


if __name__ == "__main__":
    main()
