"""Where things lie and how the model is run: the environment, each variable checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from worker import s3
from worker.report import Failure

SERVERLESS_VOLUME = Path("/runpod-volume")
S3_NAMES = ("S3_ENDPOINT_URL", "S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY", "S3_BUCKET_NAME")
VERSIONS = ("2", "2.5")
# One tag that holds both versions of the model's code.
DEFAULT_REF = "v2.5.0"
TEXT_TABLE = 600
SEGMENT_TOKENS = 120
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")


@dataclass(frozen=True)
class Config:
    """Absolute folders, the model's switches; `uploads`: finished speech goes to the bucket."""

    home: Path
    voices_dir: Path
    output_dir: Path
    checkpoints_dir: Path
    version: str
    use_fp16: bool
    use_deepspeed: bool
    use_cuda_kernel: bool | None
    use_qwen_emo: bool
    max_tokens_per_segment: int
    cleanup_days: float
    uploads: bool
    url_life_s: int
    notes: tuple[str, ...] = ()

    @property
    def source_dir(self) -> Path:
        return self.home / "src"


def from_environment(environ: Mapping[str, str], workspace: Path) -> Config:
    """The configuration. Raises Failure (unsupported) that names the variable at fault."""
    home = _home(environ, workspace)
    version = environ.get("INDEXTTS_VERSION") or "2"
    if version not in VERSIONS:
        raise _wrong("INDEXTTS_VERSION", version, " or ".join(VERSIONS))
    tokens, notes = _segment_tokens(environ)
    checkpoints = "checkpoints" if version == "2" else "checkpoints_2_5"
    return Config(
        home=home,
        voices_dir=_folder(environ, "AUDIO_VOICES_DIR", home / "audio_voices"),
        output_dir=_folder(environ, "OUTPUT_AUDIO_DIR", home / "output_audio"),
        checkpoints_dir=_folder(environ, "CHECKPOINTS_DIR", home / checkpoints),
        version=version,
        use_fp16=_flag(environ, "USE_FP16"),
        use_deepspeed=_flag(environ, "USE_DEEPSPEED"),
        use_cuda_kernel=_flag(environ, "USE_CUDA_KERNEL") if "USE_CUDA_KERNEL" in environ else None,
        use_qwen_emo=_flag(environ, "USE_QWEN_EMO", default=True),
        max_tokens_per_segment=tokens,
        cleanup_days=_number(environ, "CLEANUP_DAYS", 2.0, 0.01, 3650.0),
        uploads=_has_bucket(environ),
        url_life_s=round(
            _number(environ, "S3_URL_EXPIRES_S", s3.DEFAULT_LIFE_S, 60, s3.DEFAULT_LIFE_S)
        ),
        notes=notes,
    )


def _home(environ: Mapping[str, str], workspace: Path) -> Path:
    """The seed's folder on a serverless volume; inside the workspace on a pod."""
    if asked := environ.get("INDEXTTS_HOME"):
        return _absolute("INDEXTTS_HOME", asked)
    has_volume = os.path.ismount(SERVERLESS_VOLUME)
    return (SERVERLESS_VOLUME if has_volume else workspace) / "indextts"


def _folder(environ: Mapping[str, str], name: str, default: Path) -> Path:
    return _absolute(name, environ[name]) if environ.get(name) else default


def _absolute(name: str, value: str) -> Path:
    # The model's code changes the current folder: a relative path would move with it.
    if not Path(value).is_absolute():
        raise _wrong(name, value, "an absolute path")
    return Path(value)


def _segment_tokens(environ: Mapping[str, str]) -> tuple[int, tuple[str, ...]]:
    tokens = round(_number(environ, "MAX_TOKENS_PER_SEGMENT", SEGMENT_TOKENS, 20, 100_000))
    if tokens <= TEXT_TABLE:
        return tokens, ()
    # The older worker's default of 800 is beyond the model's table (workloads.md §1.2).
    note = f"MAX_TOKENS_PER_SEGMENT={tokens} exceeds the model's table of {TEXT_TABLE}: "
    return SEGMENT_TOKENS, (f"{note}{SEGMENT_TOKENS} is used",)


def _has_bucket(environ: Mapping[str, str]) -> bool:
    given = [name for name in S3_NAMES if environ.get(name)]
    if given and not environ.get("S3_BUCKET_NAME"):
        raise Failure(
            "unsupported",
            f"{', '.join(given)} is set, but not S3_BUCKET_NAME",
            "name the bucket, or unset the others to get results inline",
        )
    url = environ.get("S3_ENDPOINT_URL")
    if url and not url.startswith(("http://", "https://")):
        raise _wrong("S3_ENDPOINT_URL", url, "an address that begins with https://")
    return bool(given)


def _flag(environ: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    value = environ.get(name, str(default)).strip().lower()
    if value not in (*_YES, *_NO):
        raise _wrong(name, environ[name], "true or false")
    return value in _YES


def _number(
    environ: Mapping[str, str], name: str, default: float, low: float, high: float
) -> float:
    text = environ.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise _wrong(name, text, f"a number from {low:g} to {high:g}")
    return value


def _wrong(name: str, value: str, wanted: str) -> Failure:
    return Failure("unsupported", f"{name} is {value!r}", f"set it to {wanted}")
