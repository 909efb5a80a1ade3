"""The HTTP sides of a transcription service: its health endpoints, and WhisperLive's REST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from gpuctl.clients.whisper_live import Options, Segment, Word
from gpuctl.errors import ApiError, ConnectionFailed, CredentialsError
from gpuctl.models import Json, Secret

# A path → the status and the JSON body of the answer.
Get = Callable[[str], tuple[int, Json]]

CONNECT_LIMIT_S = 10.0
HEALTH_LIMIT_S = 30.0
PROBE_LIMIT_S = 5.0


def getter(base_url: str, *, token: Secret | None = None, limit_s: float = HEALTH_LIMIT_S) -> Get:
    """Asks below `base_url`. What is no JSON object becomes {}. Raises ConnectionFailed."""

    def get(path: str) -> tuple[int, Json]:
        with _client(token, limit_s) as client:
            try:
                answer = client.get(base_url.rstrip("/") + path)
            except httpx.HTTPError as error:
                raise ConnectionFailed(f"{base_url}{path} does not answer: {error}") from error
        return answer.status_code, _object(answer)

    return get


@dataclass(frozen=True, slots=True)
class Rest:
    """WhisperLive's REST at `base_url`."""

    base_url: str
    token: Secret | None = None

    def health(self) -> Json | None:
        """What it says of itself; None when nothing of the kind answers there."""
        try:
            status, body = getter(self.base_url, token=self.token, limit_s=PROBE_LIMIT_S)("/health")
        except ConnectionFailed:
            return None
        return body if status == 200 and "backend" in body else None

    def transcribe(self, wav: bytes, options: Options, *, limit_s: float) -> list[Segment]:
        """The whole file at once; it cannot translate. Raises ApiError, CredentialsError,
        ConnectionFailed."""
        form = {
            "model": options.model,
            "response_format": "verbose_json",
            "language": options.language,
            "prompt": options.prompt,
            "hotwords": options.hotwords,
            "timestamp_granularities": "word" if options.words else None,
        }
        with _client(self.token, limit_s) as client:
            try:
                answer = client.post(
                    f"{self.base_url.rstrip('/')}/v1/audio/transcriptions",
                    data={name: value for name, value in form.items() if value},
                    files={"file": ("audio.wav", wav, "audio/wav")},
                )
            except httpx.HTTPError as error:
                raise ConnectionFailed(f"{self.base_url} does not answer: {error}") from error
        return [_segment(row) for row in _checked(answer).get("segments") or ()]


def _client(token: Secret | None, limit_s: float) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token.reveal()}"} if token else {}
    return httpx.Client(headers=headers, timeout=httpx.Timeout(limit_s, connect=CONNECT_LIMIT_S))


def _object(answer: httpx.Response) -> Json:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _checked(answer: httpx.Response) -> Json:
    body = _object(answer)
    if answer.status_code == 401:
        raise CredentialsError(
            "the transcription server wants its token", hint="gpuctl config set whisper.token"
        )
    if answer.status_code != 200:
        raise ApiError(
            f"the transcription server refused the file: {body.get('error', answer.status_code)}",
            status=answer.status_code,
        )
    return body


def _segment(row: Json) -> Segment:
    return Segment(
        start=float(row["start"]),
        end=float(row["end"]),
        text=str(row.get("text", "")),
        speaker=row.get("speaker"),
        words=tuple(
            Word(float(word["start"]), float(word["end"]), word["word"], word.get("probability"))
            for word in row.get("words") or ()
        ),
    )
