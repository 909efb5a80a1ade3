"""What ComfyUI says of a graph, in words: which node, which input, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from video import graphs, models
from video.models import SUFFIXES
from worker.report import Failure

Json = dict[str, Any]
# Which package brings a class (workloads.md §4.3). The first prefix that fits counts.
PACKAGES = (
    (("WanVideo", "LoadWanVideo", "CreateCFGSchedule"), "ComfyUI-WanVideoWrapper", "kijai"),
    (("WanVideoEnhancedBlockSwap",), "ComfyUI-wanBlockswap", "orssorbit"),
    (("ImageResizeKJ", "INTConstant"), "ComfyUI-KJNodes", "kijai"),
    (("VHS_",), "ComfyUI-VideoHelperSuite", "Kosinkadink"),
    (("UnetLoaderGGUF", "CLIPLoaderGGUF"), "ComfyUI-GGUF", "city96"),
)
NATIVE = ("WanImageToVideo", "WanFirstLastFrameToVideo", "SaveVideo", "CreateVideo")
MODELS_REMEDY = "gpuctl video models shows what is there"
VALIDATE_REMEDY = "gpuctl video validate FILE checks a workflow"
MISSING_CLASS = ("missing_node_type", "invalid_prompt")
MISSING_FILE = ("value_not_in_list",)


def rejected(answer: Json, graph: Mapping[str, Any]) -> Failure:
    """The failure behind a 400."""
    error = answer.get("error") or {}
    node_errors = answer.get("node_errors") or {}
    kind = str(error.get("type", ""))
    if kind in MISSING_CLASS and not node_errors:
        name = str((error.get("extra_info") or {}).get("class_type") or "") or _quoted(error)
        return missing_classes([name]) if name else _plain(error)
    sentences = [sentence for sentence, _ in node_sentences(node_errors, graph)]
    if not sentences:
        return _plain(error)
    only = {kind for _, kind in node_sentences(node_errors, graph)}
    if only <= set(MISSING_FILE) and _names_a_file(node_errors):
        return Failure(
            "model_missing", "; ".join(sentences), "gpuctl video models shows what is there"
        )
    return Failure(
        "bad_input", "; ".join(sentences), "gpuctl video validate FILE checks a workflow"
    )


def node_sentences(node_errors: Json, graph: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(sentence, type) of every error of every node."""
    return [
        (_sentence(error, f"node '{graphs.title(graph, node_id)}' ({node_id})"), str(error["type"]))
        for node_id, entry in node_errors.items()
        for error in entry.get("errors", ())
    ]


def missing_classes(names: Iterable[str]) -> Failure:
    """Nodes that the server lacks, with where each comes from."""
    wanted = sorted(set(names))
    sources = sorted({source for name in wanted if (source := source_of(name))})
    remedy = (
        "install " + ", ".join(sources)
        if sources
        else "install what brings them, or update ComfyUI"
    )
    return Failure("unsupported", f"ComfyUI has no node {', '.join(wanted)}", remedy)


def source_of(name: str) -> str:
    """Where a class comes from; "" when that is not known."""
    if name in NATIVE:
        return "a newer ComfyUI (0.16.4 or later)"
    fitting = [
        (prefix, f"{package} (https://github.com/{owner}/{package})")
        for prefixes, package, owner in PACKAGES
        for prefix in prefixes
        if name.startswith(prefix)
    ]
    return max(fitting, key=lambda pair: len(pair[0]))[1] if fitting else ""


def missing_file(name: str, choices: Iterable[str]) -> str:
    """`'x' is not on the server; nearest: y`, and where it can be had."""
    near = get_close_matches(name, list(choices), n=1, cutoff=0.4)
    known = models.catalogue().get(name.rpartition("/")[2])
    hint = f"; nearest: {near[0]}" if near else ""
    return f"'{name}' is not on the server{hint}" + (f"; from {known.url}" if known else "")


def _sentence(error: Json, node: str) -> str:
    extra = error.get("extra_info") or {}
    name, details = str(extra.get("input_name") or ""), str(error.get("details") or "")
    if error["type"] == "value_not_in_list":
        config = extra.get("input_config") or []
        choices = config[0] if config and isinstance(config[0], list) else ()
        value = str(extra.get("received_value"))
        if value.endswith(SUFFIXES):
            return f"{node}: {name} {missing_file(value, choices)}"
        near = get_close_matches(value, [str(choice) for choice in choices], n=1, cutoff=0.4)
        hint = f"; nearest: {near[0]}" if near else ""
        return f"{node}: {name} '{value}' is not one of its choices{hint}"
    message = str(error.get("message") or error["type"])
    return f"{node}: {message}" + (f" ({details})" if details and details not in message else "")


def _plain(error: Json) -> Failure:
    message = str(error.get("message") or error.get("type") or "the workflow was not accepted")
    details = str(error.get("details") or "")
    return Failure("bad_input", f"{message}: {details}" if details else message, graphs.API_REMEDY)


def _names_a_file(node_errors: Json) -> bool:
    return any(
        str((error.get("extra_info") or {}).get("received_value")).endswith(SUFFIXES)
        for entry in node_errors.values()
        for error in entry.get("errors", ())
    )


def _quoted(error: Json) -> str:
    """Old servers name the class in a sentence alone."""
    words = str(error.get("message", "")).split()
    return words[words.index("node") + 1] if "node" in words and "does" in words else ""
