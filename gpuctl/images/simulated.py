"""The simulator's container engine: no daemon, no root; its images really are in OCI form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from gpuctl.clients.registry_api import Registry, sha256
from gpuctl.errors import NotFound
from gpuctl.images import dockerfiles, manifests, simulated_image
from gpuctl.images.engines import BuildOrder, Login, Voice
from gpuctl.images.references import Reference
from gpuctl.images.running import Command
from gpuctl.images.simulated_image import SimulatedImage


class SimulatedEngine:
    """Keeps its images under `folder`; `registry` is the client that pushes them."""

    name = "simulated"
    title = "the simulator's engine"
    note: str | None = (
        "simulated: the files and settings of the Dockerfile are real, RUN lines are not run"
    )
    is_simulated = True

    def __init__(self, folder: Path, registry: Callable[[Reference], Registry]) -> None:
        self._folder = folder
        self._registry = registry

    def build_command(self, order: BuildOrder) -> Command:
        """What it takes the place of."""
        words = ["docker", "build", "--file", str(order.dockerfile), "--tag", str(order.reference)]
        words += ["--platform", order.platform] if order.platform else []
        words += [] if order.is_cached else ["--no-cache"]
        for name, value in order.arguments.items():
            words += ["--build-arg", f"{name}={value}"]
        return Command((*words, str(order.context)))

    def build(self, order: BuildOrder, voice: Voice) -> str:
        content = order.dockerfile.read_text(encoding="utf-8")
        steps = dockerfiles.last_image(content).instructions
        for number, step in enumerate(steps, start=1):
            is_run = step.word == "RUN"
            voice.detail(f"[{number}/{len(steps)}] {step}{' (not run: simulated)' * is_run}")
        voice.report.step(f"making a simulated image of {len(steps)} steps")
        image = simulated_image.made(
            content,
            order.context,
            arguments=order.arguments,
            labels=order.labels,
            platform=order.platform,
        )
        self._keep(order.reference, image)
        return sha256(image.config)

    def has(self, reference: Reference) -> bool:
        return self._place(reference).is_dir()

    def push_commands(self, reference: Reference, login: Login | None) -> list[Command]:
        del login
        return [Command(("docker", "push", str(reference)))]

    def push(self, reference: Reference, login: Login | None, voice: Voice) -> str:
        del login  # the simulator's registry has an account of its own
        image = self._kept(reference)
        registry = self._registry(reference)
        for number, body in enumerate((image.layer, image.config), start=1):
            if not registry.has_blob(sha256(body)):
                registry.put_blob(sha256(body), body)
            voice.report.progress("pushing", number, 2)
        tag = reference.tag or "latest"
        return registry.put_manifest(tag, manifests.OCI_MANIFEST, image.manifest)

    def _keep(self, reference: Reference, image: SimulatedImage) -> None:
        place = self._place(reference)
        place.mkdir(parents=True, exist_ok=True)
        (place / "config").write_bytes(image.config)
        (place / "layer").write_bytes(image.layer)
        # The manifest names the others by digest: it is what makes the image whole, so it is last.
        (place / "manifest").write_bytes(image.manifest)

    def _kept(self, reference: Reference) -> SimulatedImage:
        place = self._place(reference)
        try:
            parts = [(place / name).read_bytes() for name in ("config", "layer", "manifest")]
        except FileNotFoundError:
            raise NotFound(
                f"{reference} was not built here", hint="gpuctl --sim build WORKLOAD makes it"
            ) from None
        image = SimulatedImage(*parts)
        told = json.loads(image.manifest)
        if told["config"]["digest"] != sha256(image.config):
            raise NotFound(f"{reference} is half-built", hint="gpuctl --sim build WORKLOAD")
        return image

    def _place(self, reference: Reference) -> Path:
        return self._folder / quote(str(reference), safe="")
