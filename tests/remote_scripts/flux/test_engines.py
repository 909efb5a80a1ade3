"""The engine follows from the card's memory, and is said with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.flux_python import REPOSITORY


def choose(
    asked: str, memory_gb: float | None, *, vram_gb: float = 34, is_local: bool = False
) -> Any:
    from flux.engines import Card, choose
    from flux.request import Model

    card = None if memory_gb is None else Card("NVIDIA Test", memory_gb)
    model = Model("a/b", "FluxPipeline", "m", "M", vram_gb=vram_gb)
    return choose(asked, model, card, is_local=is_local)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    packages = {"bitsandbytes", "torchao"}
    monkeypatch.setattr("flux.engines.is_installed", packages.__contains__)
    return packages


@pytest.mark.parametrize(
    ("memory_gb", "engine"),
    # Memory as torch reports it, in decimal GB: 4060 Ti, 4090, 5090, A100 40 GB, L40S, H100.
    [(8.3, "offload"), (17.1, "nf4"), (25.4, "nf4"), (34.2, "nf4"), (42.3, "bf16"), (47.7, "bf16"),
     (85.0, "bf16")],
)  # fmt: skip
def test_a_flux_sized_model_gets_the_best_engine_that_fits(memory_gb: float, engine: str) -> None:
    assert choose("auto", memory_gb).name == engine


def test_a_smaller_model_is_resident_in_bf16_on_a_24_gb_card() -> None:
    assert choose("auto", 25.4, vram_gb=18).name == "bf16"


def test_the_reason_names_card_and_need() -> None:
    assert choose("auto", 48).reason == (
        "engine bf16: 48 GB NVIDIA Test, the model needs 34 GB in bf16; it stays resident"
    )


def test_without_the_package_for_quantising_auto_offloads(installed: set[str]) -> None:
    installed.clear()
    assert choose("auto", 25.4).name == "offload"


@pytest.mark.parametrize(
    ("engine", "pin"), [("nf4", "bitsandbytes==0.50.2"), ("fp8", "torchao==0.18.0")]
)
def test_an_engine_whose_package_is_missing_comes_with_the_pip_line(
    installed: set[str], engine: str, pin: str
) -> None:
    from worker.report import Failure

    assert choose(engine, 48).name == engine
    installed.clear()
    with pytest.raises(Failure) as caught:
        choose(engine, 48)
    assert caught.value.code == "unsupported"
    assert caught.value.remedy == f"on the machine: pip install {pin}"


def test_without_a_gpu_only_small_and_local_models_run_by_themselves() -> None:
    from worker.report import Failure

    assert choose("auto", None, is_local=True).name == "cpu"
    assert choose("auto", None, vram_gb=2).name == "cpu"
    for asked in ("auto", "bf16", "nf4", "offload"):
        with pytest.raises(Failure, match="no CUDA GPU is visible"):
            choose(asked, None)


def test_the_cpu_is_used_wherever_it_is_asked_for() -> None:
    assert choose("cpu", None).name == "cpu"
    assert choose("cpu", 80).name == "cpu"


def test_layers_move_one_by_one_where_the_largest_module_does_not_fit() -> None:
    from flux.engines import Card, moves_by_layer
    from flux.request import Model

    model = Model("a/b", "FluxPipeline", "m", "M", vram_gb=34)
    assert moves_by_layer(model, Card("4060", 8.3))
    assert not moves_by_layer(model, Card("4090", 25.8))


def test_the_pip_lines_name_the_versions_that_the_requirements_name() -> None:
    from flux.engines import PINS

    path = REPOSITORY / "remote_scripts/flux/requirements.txt"
    requirements = path.read_text(encoding="utf-8")
    for pin in PINS.values():
        assert pin in requirements


class GatedRepoError(Exception):
    """Named as the hub's own: classification goes by name."""


class LocalEntryNotFoundError(FileNotFoundError):
    """As above."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), "oom"),
        (OSError(28, "No space left on device"), "disk_full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk_full"),
        (GatedRepoError("403"), "gated"),
        (LocalEntryNotFoundError("not cached"), "model_missing"),
        (ImportError("`bitsandbytes` is not available"), "unsupported"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "unsupported"),
    ],
)
def test_known_errors_are_named_even_when_another_error_hides_them(
    error: Exception, code: str
) -> None:
    from flux.failures import classify
    from flux.request import Model, Request

    request = Request("x", Model("a/b", "FluxPipeline", "m", "M"))
    outer = ValueError("could not load")
    outer.__cause__ = error
    for raised in (error, outer):
        failure = classify(raised, request)
        assert failure is not None
        assert (failure.code, bool(failure.remedy)) == (code, True)


def test_an_unknown_error_keeps_its_own_name() -> None:
    from flux.failures import named
    from flux.request import Model, Request

    request = Request("x", Model("a/b", "FluxPipeline", "m", "M"))
    with pytest.raises(ZeroDivisionError), named(request):
        raise ZeroDivisionError
