"""What is typed about machines and files is read as meant, and what is shown says the truth."""

from __future__ import annotations

import pytest

from gpuctl.commands.files_text import disk_data, disk_text, full_warnings, size
from gpuctl.commands.reach_text import duration_s
from gpuctl.errors import UsageError
from gpuctl.remote.tar_streams import Entry
from gpuctl.services.copying import Side, side
from gpuctl.services.disk_use import Folder, Space, Use
from gpuctl.services.local_trees import travelling
from gpuctl.services.syncing import compared
from gpuctl.services.tunnels import Ports, ports


@pytest.mark.parametrize(
    ("text", "machine", "path"),
    [
        ("file", None, "file"),
        ("./a:b", None, "./a:b"),
        ("/a:b", None, "/a:b"),
        ("flux:a b", "flux", "a b"),
        ("flux:", "flux", ""),
        (":x", "", "x"),
        ("flux:a:b", "flux", "a:b"),
        ("me@host:dir/file", "me@host", "dir/file"),
        ("me@host:2222:file", "me@host:2222", "file"),
        ("me@host:2222", "me@host", "2222"),
        ("me@[2001:db8::1]:file", "me@[2001:db8::1]", "file"),
        ("me@[2001:db8::1]:22:file", "me@[2001:db8::1]:22", "file"),
        ("local:two\nlines", "local", "two\nlines"),
    ],
)
def test_a_side_of_a_copy_is_read_as_scp_would(text: str, machine: str | None, path: str) -> None:
    assert side(text) == Side(machine, path)


def test_times_and_ports_are_read_as_typed() -> None:
    assert [duration_s(text) for text in ("90", "90s", "10m", "1.5h", "2d")] == [
        90,
        90,
        600,
        5400,
        172800,
    ]
    assert ports("8188") == Ports(8188, 8188, may_differ=True)
    assert ports("0:80") == Ports(0, 80)
    for text in ("", ":", "80:", ":80", "0", "65536", "1:65536", "-1", "a", "1:2:3", "８０"):
        with pytest.raises(UsageError):
            ports(text)


def test_a_disk_above_90_percent_is_warned_of() -> None:
    full = Space("workspace", "/workspace", 100 << 30, 9 << 30)
    free = Space("container", "/", 100 << 30, 10 << 30)
    use = Use("/workspace", (full, free), 5, (Folder("/workspace/models", 5 << 30),))
    assert full_warnings(use) == ["/workspace is 91 % full: 9.0 GiB left"]
    assert disk_data(use)["disks"][0]["used_bytes"] == 91 << 30
    assert "5.0 GiB  /workspace/models" in disk_text(use)


def test_the_sizes_of_a_whole_cluster_are_not_passed_off_as_the_volumes() -> None:
    shared = Space("workspace", "/workspace", 100 << 40, 40 << 40, is_shared=True)
    shown = disk_text(Use("/workspace", (shared,), 33 << 30, ()))
    assert "the cluster's sizes" in shown
    assert "in the workspace: 33.0 GiB" in shown


def test_sizes_read_as_du_has_them() -> None:
    counts = (0, 1023, 1024, 1536, 200 << 20, 3 << 40)
    assert [size(count) for count in counts] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "200 MiB",
        "3.0 TiB",
    ]


def test_links_travel_only_where_they_mean_the_same_on_the_other_side() -> None:
    links = {
        "a": "b",
        "in/deep": "../other",
        "in/up": "../../out",
        "up": "..",
        "abs": "/etc/passwd",
        "root": ".",
    }
    entries = [Entry(path, "link", target=target) for path, target in links.items()]
    kept, skipped = travelling(entries)
    assert [one.path for one in kept] == ["a", "in/deep", "root"]
    assert len(skipped) == 3


def test_what_differs_is_sent_and_what_is_gone_is_doomed_inside_out() -> None:
    source = [Entry("d", "dir"), Entry("d/same", "file", 3, 5), Entry("d/new", "file", 3, 6)]
    target = [
        Entry("d", "dir"),
        Entry("d/same", "file", 3, 5),
        Entry("d/new", "file", 3, 5),
        Entry("old", "dir"),
        Entry("old/file", "file", 1, 1),
    ]
    send, doomed = compared(source, source, target, checksum=False)
    assert [one.path for one in send] == ["d/new"]
    assert doomed == ["old/file", "old"]
    with pytest.raises(UsageError):
        compared([Entry("old", "file")], [Entry("old", "file")], target, checksum=False)
