"""Lets Claude rewrite a prompt, in a process of its own so that nothing else waits for the SDK."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpuctl import resources
from gpuctl.clients.claude import missing_key
from gpuctl.errors import ConfigError
from gpuctl.models import Json, Secret
from gpuctl.services.enhancement_answer import cleaned, objection

if TYPE_CHECKING:
    from gpuctl.config import Settings

SYSTEM_PROMPT = "claude_system.txt"
# What the process needs before it can ask: Python and the SDK (performance.md §1.1, doubled twice).
START_ALLOWANCE_S = 6.0


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to rewrite. `timeout_s` is for the whole of it; `cache_folder` None: no cache.

    `is_explicit`: the operator asked for it now, so a missing key is an error, not a warning.
    """

    prompt: str
    system: str
    model: str
    api_key: Secret | None
    base_url: str | None = None
    max_tokens: int = 400
    timeout_s: float = 25.0
    cache_folder: Path | None = None
    is_explicit: bool = True


@dataclass(frozen=True, slots=True)
class Enhancement:
    """`text` is what to paint: Claude's, or the operator's own where `warning` says why."""

    original: str
    text: str
    model: str | None = None
    warning: str | None = None
    is_cached: bool = False
    input_tokens: int = 0
    output_tokens: int = 0

    @property
    def is_enhanced(self) -> bool:
        return self.warning is None


def request_from(
    settings: Settings,
    prompt: str,
    *,
    project_folder: Path,
    cache_folder: Path | None,
    model: str | None = None,
    is_explicit: bool = True,
) -> Request:
    """The request that the section `claude` describes. Raises ConfigError for the prompt file."""
    configured = settings.text_or_none("claude.system_prompt")
    return Request(
        prompt=prompt,
        system=read_system_prompt(configured, project_folder),
        model=model or settings.text("claude.model"),
        api_key=settings.secret("claude.api_key"),
        base_url=settings.text_or_none("claude.api_url"),
        max_tokens=settings.integer("claude.max_tokens"),
        timeout_s=settings.number("claude.timeout_s"),
        cache_folder=cache_folder,
        is_explicit=is_explicit,
    )


def read_system_prompt(configured: str | None, project_folder: Path) -> str:
    """The system prompt, read anew each time: the configured file, else prompts/claude_system.txt
    in the project folder, else the bundled one. Raises ConfigError when it cannot be read.
    """
    own = project_folder / "prompts" / SYSTEM_PROMPT
    if configured is not None:
        path = project_folder / Path(configured).expanduser()
    else:
        path = own if own.is_file() else resources.bundled("prompts") / SYSTEM_PROMPT
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the system prompt {path} cannot be read: {error}",
            hint="gpuctl config get claude.system_prompt",
        ) from None
    if not text:
        raise ConfigError(f"the system prompt {path} is empty")
    return text


class Pending:
    """A rewrite under way. Leaving its `with` block ends the process if it still runs."""

    def __init__(
        self,
        request: Request,
        *,
        process: subprocess.Popen[bytes] | None = None,
        known: Enhancement | None = None,
    ) -> None:
        self._request = request
        self._process = process
        self._known = known
        self._started = time.monotonic()

    @property
    def is_running(self) -> bool:
        """Claude is being asked; False when the answer was known at once."""
        return self._process is not None

    def result(self, timeout_s: float | None = None) -> Enhancement:
        """Waits at most `timeout_s` more (None: what the request allows, counted from its start).

        Never raises for what Claude or the network did: the warning says it.
        """
        if self._known is None:
            self._known = self._collect(timeout_s)
        return self._known

    def cancel(self) -> None:
        """Ends the process; the result is then the operator's own prompt."""
        if self._known is None:
            self._known = self._kept("the rewrite was cancelled")
        self._end()

    def __enter__(self) -> Pending:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def _collect(self, timeout_s: float | None) -> Enhancement:
        assert self._process is not None
        allowed_s = self._request.timeout_s + START_ALLOWANCE_S
        if timeout_s is None:
            timeout_s = max(0.0, self._started + allowed_s - time.monotonic())
        try:
            output, complaint = self._process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self._end()
            waited_s = time.monotonic() - self._started
            return self._kept(f"Claude did not answer within {waited_s:.0f} s")
        self._process = None
        try:
            said: Json = json.loads(output)
        except ValueError:
            last = complaint.decode(errors="replace").strip().splitlines()[-1:] or ["no answer"]
            return self._kept(f"the process that asks Claude failed ({last[0]})")
        if "error" in said:
            return self._kept(str(said["error"]["message"]))
        return self._judged(said["answer"])

    def _judged(self, answer: Json) -> Enhancement:
        text = cleaned(str(answer["text"]))
        if reason := objection(text, answer["stop_reason"], self._request.prompt):
            return self._kept(reason)
        found = Enhancement(
            original=self._request.prompt,
            text=text,
            model=str(answer["model"]),
            input_tokens=int(answer["input_tokens"]),
            output_tokens=int(answer["output_tokens"]),
        )
        _remember(self._request, found)
        return found

    def _kept(self, reason: str) -> Enhancement:
        prompt = self._request.prompt
        return Enhancement(prompt, prompt, warning=f"{reason}; your prompt is used as it is")

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            # Also closes the pipes.
            self._process.communicate()
            self._process = None


def start(request: Request) -> Pending:
    """Begins at once and returns; a cached answer needs no process.

    Raises CredentialsError when it was asked for explicitly and there is no key.
    """
    if not request.api_key:
        if request.is_explicit:
            raise missing_key()
        kept = Enhancement(request.prompt, request.prompt, warning=missing_key().message)
        return Pending(request, known=kept)
    if known := _recall(request):
        return Pending(request, known=known)
    process = subprocess.Popen(
        # -P: a file called json.py in the current folder must not get to see the key.
        [sys.executable, "-P", "-m", "gpuctl.clients.claude"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_clean_environment(request.api_key),
    )
    _send(process, request, request.api_key)
    return Pending(request, process=process)


def diff(original: str, enhanced: str) -> list[tuple[str, str]]:
    """Word by word: ("=", kept words), ("-", removed words), ("+", new words), in reading order."""
    from difflib import SequenceMatcher  # noqa: PLC0415  only to show what changed

    old, new = original.split(), enhanced.split()
    steps: list[tuple[str, str]] = []
    for op, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if op == "equal":
            steps.append(("=", " ".join(old[i:j])))
            continue
        steps += [("-", " ".join(old[i:j]))] if j > i else []
        steps += [("+", " ".join(new[k:m]))] if m > k else []
    return steps


def _send(process: subprocess.Popen[bytes], request: Request, api_key: Secret) -> None:
    asked = {
        "prompt": request.prompt,
        "system": request.system,
        "model": request.model,
        "base_url": request.base_url,
        "max_tokens": request.max_tokens,
        "timeout_s": request.timeout_s,
        "api_key": api_key.reveal(),
    }
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(asked).encode())
        process.stdin.close()
    except BrokenPipeError:
        # It died before it read; its own words are collected with the result.
        pass
    # `communicate` must not flush it again.
    process.stdin = None


def _clean_environment(api_key: Secret) -> dict[str, str]:
    """Without the key, and without what would make the SDK ask as somebody else."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("ANTHROPIC_") and api_key.reveal() not in value
    }


def _cache_file(request: Request) -> Path | None:
    if request.cache_folder is None:
        return None
    key = json.dumps([request.prompt, request.system, request.model]).encode()
    return request.cache_folder / "enhancements" / f"{hashlib.sha256(key).hexdigest()}.json"


def _recall(request: Request) -> Enhancement | None:
    file = _cache_file(request)
    if file is None:
        return None
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        text, model = str(stored["text"]), str(stored["model"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Enhancement(request.prompt, text, model=model, is_cached=True)


def _remember(request: Request, found: Enhancement) -> None:
    """A cache that cannot be written is no reason to fail."""
    file = _cache_file(request)
    if file is None:
        return
    part = file.with_suffix(f".{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part.write_text(json.dumps({"text": found.text, "model": found.model}), encoding="utf-8")
        part.replace(file)
    except OSError:
        part.unlink(missing_ok=True)
