"""The HTTP door: OpenAI speech, the Open Inference Protocol, and JSON for the rest."""
