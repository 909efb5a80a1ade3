"""Image to video on the GPU side: one handler that drives ComfyUI, a service, and a stand-in."""
