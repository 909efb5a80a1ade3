"""The Whisper workload's GPU side: a WhisperLive server with health endpoints beside it."""
