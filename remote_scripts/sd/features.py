"""What this WebUI can do, read from its own description: never from a version string."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sd.keys import BY_API
from sd.webui import PREFIX, Gone, Refused, Webui

Json = dict[str, Any]
_MODELS = {
    "txt2img": "StableDiffusionProcessingTxt2Img",
    "img2img": "StableDiffusionProcessingImg2Img",
}
# Without a description: what every fork has.
_EVERYWHERE = frozenset(
    ("/txt2img", "/img2img", "/progress", "/options", "/samplers", "/sd-models", "/loras")
)


@dataclass(frozen=True)
class Features:
    """`routes` are paths under /sdapi/v1. `keys`: api → names its request schema has, if told."""

    routes: frozenset[str] = _EVERYWHERE
    keys: dict[str, frozenset[str]] = field(default_factory=dict)

    def has(self, route: str) -> bool:
        return route in self.routes

    @property
    def flavour(self) -> str:
        """What it looks like: automatic1111, forge or sdnext. For the metrics only."""
        if self.has("/sd-modules"):
            return "forge"
        return "sdnext" if self.has("/version") else "automatic1111"

    @property
    def vae_route(self) -> str:
        return "/sd-modules" if self.has("/sd-modules") else "/sd-vae"

    def known_keys(self, api: str) -> frozenset[str]:
        """Everything a body of `api` may hold: A1111's, and what this fork adds."""
        return frozenset(BY_API[api]) | self.keys.get(api, frozenset())


def detect(webui: Webui) -> Features:
    """Reads /openapi.json. A server that hides it is taken for a plain A1111."""
    try:
        document = webui.get("//openapi.json")
    except (Refused, Gone):
        return Features()
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict):
        return Features()
    routes = frozenset(path[len(PREFIX) :] for path in paths if path.startswith(PREFIX))
    return Features(routes, {api: _keys(document, name) for api, name in _MODELS.items()})


def _keys(document: Json, model: str) -> frozenset[str]:
    schemas = (document.get("components") or {}).get("schemas") or {}
    # FastAPI tells two models of one name apart by putting the module before it.
    found: Json = next((schema for name, schema in schemas.items() if name.endswith(model)), {})
    return frozenset(found.get("properties") or ())
