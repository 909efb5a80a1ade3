"""The whole way with real sampling: a Stable Diffusion pipeline of tiny weights behind the API."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.remote_scripts.sd.conftest import Driver
from tests.support.a1111_server import REPOSITORY, StandIn, as_text, stand_in
from tests.support.flux_python import flux_python

__all__ = ["flux_python"]


@pytest.mark.flux
def test_a_real_pipeline_paints_txt2img_and_img2img_behind_the_same_api(
    flux_python: Path, against: Callable[[StandIn], Driver]
) -> None:
    from PIL import Image

    script = REPOSITORY / "tests/support/a1111_diffusers.py"
    with stand_in(python=flux_python, script=script) as server:
        driver = against(server)
        first, again, other = driver.paint(), driver.paint(), driver.paint(seed=8)
        assert first.failure == {}
        assert first.files() == again.files() != other.files()
        (made,) = first.files()
        with Image.open(io.BytesIO(made)) as image:
            assert image.size == (64, 64)
            assert len(image.convert("RGB").getcolors(64 * 64) or ()) > 100, "it is no flat colour"
            assert "Steps: 2" in image.info["parameters"]
        changed = driver.paint(
            api="img2img", init_images=[as_text(made)], denoising_strength=0.9, steps=4
        )
        assert changed.failure == {}
        assert changed.files() != first.files()
