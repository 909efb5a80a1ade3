"""Speech in a cloned voice with IndexTTS, or its simulation."""
