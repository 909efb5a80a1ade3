"""Stable Diffusion through Automatic1111's API: the handler, the image, the stand-in."""
