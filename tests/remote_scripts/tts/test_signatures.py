"""The classes that stand in for IndexTTS have the signatures of the real ones."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from tests.remote_scripts.tts.conftest import HERE
from tests.remote_scripts.tts.test_indextts import MODULES


@pytest.mark.indextts
@pytest.mark.parametrize("version", ["2", "2.5"])
def test_the_stand_in_has_the_signatures_of_the_real_classes(version: str) -> None:
    """Read from a checkout of its source: importing it takes torch, a GPU's worth of packages."""
    checkout = os.environ.get("GPUCTL_TEST_INDEXTTS")
    if not checkout:
        pytest.skip("GPUCTL_TEST_INDEXTTS names no checkout of IndexTTS")
    name = f"indextts/{MODULES[version]}.py"
    real, ours = (_signatures(Path(root) / name) for root in (checkout, HERE / "stand_in"))
    assert ours == real


def _signatures(path: Path) -> dict[str, str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (kind,) = [n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "IndexTTS2"]
    return {
        node.name: ast.unparse(node.args)
        for node in kind.body
        if isinstance(node, ast.FunctionDef) and node.name in ("__init__", "infer")
    }
