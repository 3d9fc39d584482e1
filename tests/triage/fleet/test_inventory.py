"""An inventory says where nodes stand."""

from __future__ import annotations

from pathlib import Path

import pytest

from triage.fleet.inventory import Unusable, load

EXPECTED = {"gpu-1": {"rack": "r1", "leaf": "l1"}, "gpu-2": {"rack": "r2"}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("racks.csv", "node,rack,leaf\ngpu-1,r1,l1\ngpu-2,r2,\n"),
        ("racks.csv", "\ufeffnode,rack,leaf\r\ngpu-1,r1,l1\r\n gpu-2 ,r2,\r\n"),
        ("racks.json", '[{"node": "gpu-1", "rack": "r1", "leaf": "l1"}, {"node": "gpu-2", "rack": "r2"}]'),
        ("racks.json", '{"gpu-1": {"rack": "r1", "leaf": "l1"}, "gpu-2": {"rack": "r2", "leaf": null}}'),
        ("racks.yaml", "gpu-1: {rack: r1, leaf: l1}\ngpu-2: {rack: r2}\n"),
        ("racks.yml", "- {node: gpu-1, rack: r1, leaf: l1}\n- {node: gpu-2, rack: r2}\n"),
    ],
)
def test_an_inventory_is_read_however_it_is_written(name: str, content: str, tmp_path: Path) -> None:
    """CSV as spreadsheets write it, JSON and YAML as a list or by node."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")

    assert EXPECTED == load(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("racks.csv", b"rack\nr1\n", "entry 1 names no node"),
        ("racks.csv", b"", "holds no entry"),
        ("racks.csv", b"\xff\xfe\x00", "not UTF-8 text"),
        ("racks.json", b"{", "Expecting"),
        ("racks.json", b'"x"', "not a list of entries"),
        ("racks.json", b"[1]", "not a list of entries"),
        ("racks.json", b"[" * 100_000, "recursion"),
        ("racks.yaml", b"a: [", "racks.yaml"),
        ("racks.yaml", b"!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("racks.txt", b"x", "name it .csv, .json or .yaml"),
    ],
)
def test_what_is_no_inventory_is_refused_in_one_line(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    """With the file and the reason."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(Unusable) as refused:
        load(path)

    assert str(refused.value).startswith(str(path))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_said_to(tmp_path: Path) -> None:
    """As the system says it."""
    with pytest.raises(Unusable, match="No such file"):
        load(tmp_path / "none.csv")


def test_a_list_that_would_fill_the_memory_once_written_out_is_refused(tmp_path: Path) -> None:
    names = "abcdefghi"
    rows = [f"  {name}: &{name} [{', '.join(['*' + names[n - 1] if n else 'x'] * 9)}]" for n, name in enumerate(names)]
    path = tmp_path / "racks.yaml"
    path.write_text("- node: n1\n" + "\n".join(rows) + "\n")
    with pytest.raises(Unusable, match="entry 1: 'a' is no word or number"):
        load(path)
