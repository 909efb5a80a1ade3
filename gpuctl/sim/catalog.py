"""What the simulated cloud rents out: GPU types, data centres, and the questions about them."""

from __future__ import annotations

from dataclasses import dataclass

from gpuctl.models import Json

CUDA_VERSIONS = ("12.4", "12.6", "12.8", "12.9", "13.0")


@dataclass(frozen=True, slots=True)
class Gpu:
    """Prices in USD an hour for one card, 0 = not offered there. Memory in GB.

    `stock` is the availability in Secure Cloud per data centre; Community stock has no place.
    """

    id: str
    name: str
    pool: str | None
    memory_gb: int
    secure_usd_h: float
    community_usd_h: float
    stock: tuple[tuple[str, str], ...]
    community_stock: str = "NONE"
    manufacturer: str = "NVIDIA"
    max_count: int = 8


@dataclass(frozen=True, slots=True)
class DataCenter:
    id: str
    name: str
    region: str
    country: str
    global_network: bool
    compliance: tuple[str, ...]


def _stock(text: str) -> tuple[tuple[str, str], ...]:
    pairs = (entry.split("=") for entry in text.split())
    return tuple((place, level) for place, level in pairs)


GPUS: tuple[Gpu, ...] = (
    Gpu("NVIDIA RTX A4000", "RTX A4000", "AMPERE_16", 16, 0.25, 0.17,
        _stock("EU-RO-1=MEDIUM CA-MTL-1=LOW"), "HIGH"),
    Gpu("NVIDIA RTX A5000", "RTX A5000", "AMPERE_24", 24, 0.27, 0.16,
        _stock("EU-SE-1=MEDIUM CA-MTL-1=MEDIUM"), "HIGH"),
    Gpu("NVIDIA L4", "L4", "AMPERE_24", 24, 0.39, 0.0, _stock("EU-RO-1=HIGH US-TX-3=LOW")),
    Gpu("NVIDIA GeForce RTX 3090", "RTX 3090", "AMPERE_24", 24, 0.46, 0.22,
        _stock("EU-CZ-1=LOW"), "MEDIUM"),
    Gpu("NVIDIA GeForce RTX 4090", "RTX 4090", "ADA_24", 24, 0.69, 0.34,
        _stock("EU-RO-1=HIGH US-TX-3=MEDIUM EUR-IS-1=LOW"), "MEDIUM"),
    Gpu("NVIDIA GeForce RTX 5090", "RTX 5090", "ADA_32_PRO", 32, 0.99, 0.69,
        _stock("EU-RO-1=MEDIUM US-KS-2=LOW"), "LOW"),
    Gpu("NVIDIA A40", "A40", "AMPERE_48", 48, 0.44, 0.0, _stock("EU-SE-1=MEDIUM CA-MTL-1=HIGH")),
    Gpu("NVIDIA RTX A6000", "RTX A6000", "AMPERE_48", 48, 0.53, 0.33,
        _stock("EU-SE-1=HIGH US-TX-3=LOW"), "LOW"),
    Gpu("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada", "ADA_48_PRO", 48, 0.79, 0.74,
        _stock("EU-RO-1=LOW US-KS-2=MEDIUM"), "LOW"),
    Gpu("NVIDIA L40S", "L40S", "ADA_48_PRO", 48, 0.89, 0.79,
        _stock("EU-RO-1=HIGH US-TX-3=HIGH US-KS-2=MEDIUM"), "LOW"),
    Gpu("NVIDIA A100 80GB PCIe", "A100 PCIe", "AMPERE_80", 80, 1.64, 1.19,
        _stock("EU-RO-1=LOW CA-MTL-1=MEDIUM"), "LOW"),
    Gpu("NVIDIA H100 80GB HBM3", "H100 SXM", "ADA_80_PRO", 80, 2.99, 2.69,
        _stock("US-TX-3=MEDIUM EUR-IS-1=MEDIUM"), "LOW"),
    Gpu("NVIDIA H200", "H200 SXM", "HOPPER_141", 141, 3.99, 0.0, _stock("US-KS-2=LOW")),
    Gpu("AMD Instinct MI300X OAM", "MI300X", None, 192, 2.99, 0.0, _stock("EU-RO-1=LOW"),
        manufacturer="AMD"),
)  # fmt: skip

DATA_CENTERS: tuple[DataCenter, ...] = (
    DataCenter("CA-MTL-1", "CA-MTL-1", "NORTH_AMERICA", "CA", False, ("SOC_2_TYPE_2",)),
    DataCenter("EU-CZ-1", "EU-CZ-1", "EUROPE", "CZ", True, ("GDPR", "ISO_IEC_27001")),
    DataCenter("EU-RO-1", "EU-RO-1", "EUROPE", "RO", True, ("GDPR", "ISO_IEC_27001")),
    DataCenter("EU-SE-1", "EU-SE-1", "EUROPE", "SE", True, ("GDPR", "RENEWABLE")),
    DataCenter("EUR-IS-1", "EUR-IS-1", "EUROPE", "IS", False, ("GDPR", "RENEWABLE")),
    DataCenter("US-KS-2", "US-KS-2", "NORTH_AMERICA", "US", True, ("SOC_2_TYPE_2", "HIPAA")),
    DataCenter("US-TX-3", "US-TX-3", "NORTH_AMERICA", "US", True, ("SOC_2_TYPE_2",)),
    DataCenter("AP-JP-1", "AP-JP-1", "ASIA", "JP", False, ("ISO_IEC_27001",)),
)

GPU_BY_ID = {gpu.id: gpu for gpu in GPUS}
DATA_CENTER_BY_ID = {center.id: center for center in DATA_CENTERS}
_LEVELS = ("NONE", "LOW", "MEDIUM", "HIGH")


def price_usd_h(gpu: Gpu, cloud: str) -> float:
    return gpu.secure_usd_h if cloud == "SECURE" else gpu.community_usd_h


def places(gpu: Gpu, cloud: str, allowed: frozenset[str] | None = None) -> list[tuple[str, str]]:
    """(data centre, availability) pairs of Secure Cloud stock, best first; Community has none."""
    if cloud != "SECURE":
        return []
    found = [(dc, level) for dc, level in gpu.stock if allowed is None or dc in allowed]
    return sorted(found, key=lambda pair: (-_LEVELS.index(pair[1]), pair[0]))


def availability(gpu: Gpu, cloud: str, count: int, allowed: frozenset[str] | None = None) -> str:
    """Naming data centres excludes Community stock: it has none (runpod.md §2.1)."""
    if price_usd_h(gpu, cloud) == 0 or count > gpu.max_count:
        return "NONE"
    if cloud != "SECURE":
        return gpu.community_stock if allowed is None else "NONE"
    levels = [level for _, level in places(gpu, cloud, allowed)]
    return max(levels, key=_LEVELS.index, default="NONE")


def in_countries(codes: list[str]) -> frozenset[str]:
    return frozenset(center.id for center in DATA_CENTERS if center.country in codes)


def gpu_json(gpu: Gpu) -> Json:
    price: Json = {"secure": gpu.secure_usd_h, "community": gpu.community_usd_h}
    if gpu.pool:
        price["serverless"] = round(gpu.secure_usd_h * 1.6, 2)
    return {
        "id": gpu.id,
        "name": gpu.name,
        "pool": gpu.pool,
        "manufacturer": gpu.manufacturer,
        "memory": gpu.memory_gb,
        "secure": gpu.secure_usd_h > 0,
        "community": gpu.community_usd_h > 0,
        "price": price,
        "maxCount": {
            "secure": gpu.max_count if gpu.secure_usd_h else 0,
            "community": gpu.max_count if gpu.community_usd_h else 0,
        },
    }


def stock_json(gpu: Gpu, cloud: str, count: int, allowed: frozenset[str] | None) -> Json:
    """What include=AVAILABILITY adds."""
    level = availability(gpu, cloud, count, allowed)
    added: Json = {
        "availability": level,
        "cudaVersions": [{"version": v, "available": level != "NONE"} for v in CUDA_VERSIONS],
    }
    if level != "NONE" and cloud == "SECURE":
        added["dataCenters"] = [
            {"id": place, "name": place, "availability": stock}
            for place, stock in places(gpu, cloud, allowed)
        ]
    return added


def data_center_json(center: DataCenter, *, with_gpus: bool, with_cpus: bool) -> Json:
    document: Json = {
        "id": center.id,
        "name": center.name,
        "region": center.region,
        "globalNetwork": center.global_network,
        "networkVolumeTypes": ["STANDARD"],
        "compliance": list(center.compliance),
    }
    if with_gpus:
        document["gpuAvailability"] = [
            {"id": gpu.id, "name": gpu.name, "availability": dict(gpu.stock).get(center.id, "NONE")}
            for gpu in GPUS
        ]
    if with_cpus:
        document["cpuAvailability"] = [
            {"id": "cpu3c", "name": "Compute-Optimized", "availability": "HIGH"}
        ]
    return document
