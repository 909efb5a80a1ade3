"""The real WhisperLive server: one model for all clients, loaded before the first one comes."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from whisper import light_torch
from whisper.configuration import Configuration

SURE_OF_LANGUAGE = 0.5
Tell = Callable[[str], None]


class LiveServer:
    """`prepare`, then `run`, which returns only when the server ended."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._server: Any = None
        self._path = ""

    def clients(self) -> int:
        manager = getattr(self._server, "client_manager", None)
        return len(manager.clients) if manager is not None else 0

    def prepare(self, tell: Tell) -> None:
        """Downloads and loads the model. Raises what the libraries raise."""
        light_torch.stand_in_unless_installed()
        tell("downloading the model")
        self._path = fetch(self._configuration)
        tell("loading the model")
        model = _load(self._path, self._configuration.compute_type)
        self._server = _server(model)

    def run(self) -> None:
        configuration = self._configuration
        if configuration.rest_port is not None:
            _start_rest(self._server, self._path, configuration)
        self._server.run(
            configuration.host,
            port=configuration.port,
            backend="faster_whisper",
            faster_whisper_custom_model_path=self._path,
            single_model=True,
            max_clients=configuration.max_clients,
            max_connection_time=configuration.max_connection_s,
            cache_path=configuration.cache,
            api_key=configuration.token,
        )


def fetch(configuration: Configuration) -> str:
    """The folder of the model; a name or a repository is downloaded into the cache once."""
    if Path(configuration.model).is_dir():
        return configuration.model
    from faster_whisper.utils import download_model

    Path(configuration.cache).mkdir(parents=True, exist_ok=True)
    return str(download_model(configuration.model, cache_dir=configuration.cache))


def _load(path: str, compute_type: str) -> Any:
    """With the precision that was asked for: WhisperLive has no option for it."""
    from whisper_live.transcriber.transcriber_faster_whisper import WhisperModel

    device = "cuda" if light_torch.has_gpu() else "cpu"
    if compute_type == "auto":  # as WhisperLive chooses
        has_half = device == "cuda" and light_torch.capability()[0] >= 7
        compute_type = "float16" if has_half else "float32" if device == "cuda" else "int8"
    logging.info("loading %s on %s as %s", path, device, compute_type)
    return WhisperModel(path, device=device, compute_type=compute_type, local_files_only=True)


def _server(model: Any) -> Any:
    """WhisperLive's server with our changes to what it does with a client."""
    from whisper_live.backend.faster_whisper_backend import ServeClientFasterWhisper
    from whisper_live.server import TranscriptionServer

    ServeClientFasterWhisper.SINGLE_MODEL = model
    # Theirs stays locked for ever when a transcription fails, and guesses no language below 0.5:
    # that audio would be lost.
    ServeClientFasterWhisper.transcribe_audio = _transcribe
    ServeClientFasterWhisper.get_audio_chunk_for_processing = _telling_position(
        ServeClientFasterWhisper.get_audio_chunk_for_processing
    )

    _mend_diarization()

    class Server(TranscriptionServer):  # type: ignore[misc]  # untyped library
        def initialize_client(self, websocket: Any, options: Any, *rest: Any, **named: Any) -> None:
            super().initialize_client(websocket, options, *rest, **named)
            client = self.client_manager.get_client(websocket)
            if client:
                client.gpuctl_tells_position = bool(options.get("gpuctl_positions"))

        def _get_rest_model(self, _name: str) -> Any:
            """The one model, whatever is asked for: another would need its memory again."""
            return model

    return Server()


def _mend_diarization() -> None:
    """WhisperLive hands the token over under a name that pyannote.audio 4 no longer has."""
    from whisper_live.diarization import SpeakerDiarizer

    def load(diarizer: Any) -> None:
        if diarizer._model is not None:
            return
        import torch
        from pyannote.audio import Inference, Model

        token = diarizer._hf_token or os.environ.get("HF_TOKEN")
        model = Model.from_pretrained(diarizer._embedding_model_name, token=token)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        diarizer._model = Inference(model, window="whole", device=device)

    SpeakerDiarizer._load_model = load


def _transcribe(client: Any, samples: Any) -> Any:
    """One pass over the audio that has no text yet."""
    if getattr(client, "gpuctl_is_guess", False):
        client.language = None
    with client.SINGLE_MODEL_LOCK:
        result, info = client.transcriber.transcribe(
            samples,
            initial_prompt=client.initial_prompt,
            language=client.language,
            task=client.task,
            vad_filter=client.use_vad,
            vad_parameters=client.vad_parameters if client.use_vad else None,
            hotwords=client.hotwords,
            word_timestamps=client.word_timestamps,
        )
    client.gpuctl_passes = getattr(client, "gpuctl_passes", 0) + 1
    if client.language is None and info is not None:
        client.gpuctl_is_guess = info.language_probability <= SURE_OF_LANGUAGE
        if client.gpuctl_is_guess:
            client.language = info.language
        else:
            client.set_language(info)
    return result


def _telling_position(original: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Tells a client that asked for it, before each pass, how much audio has come, up to where it
    is done with, silence included, and how often it was looked at: so it need not guess when all
    of it has been heard, even where there was nothing to say."""

    def chunk(client: Any) -> Any:
        if getattr(client, "gpuctl_tells_position", False):
            received = client.frames_offset + client.frames_np.shape[0] / client.RATE
            told = {
                "position": f"{client.timestamp_offset:.3f}",
                "received": f"{received:.3f}",
                "passes": getattr(client, "gpuctl_passes", 0),
            }
            if told != getattr(client, "gpuctl_told", None):
                client.gpuctl_told = told
                with suppress(Exception):  # a client that left is noticed by its own thread
                    client.websocket.send(json.dumps({"uid": client.client_uid, **told}))
        return original(client)

    return chunk


def _start_rest(server: Any, path: str, configuration: Configuration) -> None:
    """WhisperLive itself would bind it to every address, whatever host it was given."""
    import uvicorn

    app = server.build_rest_app(
        "faster_whisper", faster_whisper_custom_model_path=path, api_key=configuration.token
    )
    options = {"host": configuration.host, "port": configuration.rest_port, "log_level": "warning"}
    threading.Thread(
        target=uvicorn.run, args=(app,), kwargs=options, name="rest", daemon=True
    ).start()
