"""The catalogue's questions: stock by product, cloud, count and country."""

from __future__ import annotations

import re

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from gpuctl.models import Json
from gpuctl.sim import catalog
from gpuctl.sim.problems import Problem, not_found

PRODUCTS = frozenset({"POD", "CLUSTER", "SERVERLESS"})
CLOUDS = frozenset({"SECURE", "COMMUNITY"})


def catalog_routes() -> list[BaseRoute]:
    return [
        Route("/v2/catalog/gpus", _gpus, methods=["GET"]),
        Route("/v2/catalog/gpus/{id}", _gpu, methods=["GET"]),
        Route("/v2/catalog/datacenters", _data_centers, methods=["GET"]),
        Route("/v2/catalog/datacenters/{id}", _data_center, methods=["GET"]),
    ]


async def _gpus(request: Request) -> Response:
    return JSONResponse({"gpus": [_described(gpu, request.query_params) for gpu in catalog.GPUS]})


async def _gpu(request: Request) -> Response:
    gpu = catalog.GPU_BY_ID.get(request.path_params["id"])
    if gpu is None:
        raise not_found("gpu type", request.path_params["id"])
    return JSONResponse(_described(gpu, request.query_params))


async def _data_centers(request: Request) -> Response:
    query = request.query_params
    wanted = [center for center in catalog.DATA_CENTERS if _fits(center, query)]
    return JSONResponse({"dataCenters": [_center_json(center, query) for center in wanted]})


async def _data_center(request: Request) -> Response:
    center = catalog.DATA_CENTER_BY_ID.get(request.path_params["id"])
    if center is None:
        raise not_found("data center", request.path_params["id"])
    return JSONResponse(_center_json(center, request.query_params))


def _described(gpu: catalog.Gpu, query: QueryParams) -> Json:
    """Stock is told only when both `include` and `product` are given; one alone is a 400."""
    include = _names(query, "include", frozenset({"AVAILABILITY"}))
    products = _names(query, "product", PRODUCTS)
    if bool(include) != bool(products):
        raise Problem(400, "include=AVAILABILITY and product must be given together")
    document = catalog.gpu_json(gpu)
    if not include:
        return document
    clouds = _names(query, "cloud", CLOUDS) or ["SECURE"]
    stock = catalog.stock_json(gpu, clouds[0], _count(query), _countries(query))
    return document | stock


def _count(query: QueryParams) -> int:
    text = query.get("count", "1")
    if not text.isdecimal() or int(text) < 1:
        raise Problem(422, "invalid query", ["count: must be an integer of at least 1"])
    return int(text)


def _countries(query: QueryParams) -> frozenset[str] | None:
    codes = [code for code in query.get("countryCodes", "").split(",") if code]
    if any(not re.fullmatch("[A-Z]{2}", code) for code in codes):
        raise Problem(422, "invalid query", ["countryCodes: two capital letters each"])
    return catalog.in_countries(codes) if codes else None


def _names(query: QueryParams, name: str, known: frozenset[str]) -> list[str]:
    names = [text for text in query.get(name, "").split(",") if text]
    if set(names) - known:
        raise Problem(422, "invalid query", [f"{name}: one of {', '.join(sorted(known))}"])
    return names


def _fits(center: catalog.DataCenter, query: QueryParams) -> bool:
    regions = [text for text in query.get("regions", "").split(",") if text]
    compliance = {text for text in query.get("compliance", "").split(",") if text}
    networked = query.get("globalNetwork")
    return (
        (not regions or center.region in regions)
        and compliance <= set(center.compliance)
        and (networked is None or center.global_network == (networked == "true"))
    )


def _center_json(center: catalog.DataCenter, query: QueryParams) -> Json:
    include = _names(query, "include", frozenset({"GPU_AVAILABILITY", "CPU_AVAILABILITY"}))
    return catalog.data_center_json(
        center,
        with_gpus="GPU_AVAILABILITY" in include,
        with_cpus="CPU_AVAILABILITY" in include,
    )
