"""Picture quality metrics: differentiable, batched, float32, on any device.

All take sRGB pictures (B, H, W, 3) in 0..1, the reference first, and return a value per picture (B,).
"""
