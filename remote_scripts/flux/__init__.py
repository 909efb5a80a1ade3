"""FLUX and its siblings on the GPU side: one handler, a real engine and a simulated one."""
