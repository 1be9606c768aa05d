"""Picture quality metrics, the distortions of training made of them, rate-distortion curves and BD-rates.

The metrics in `ms_ssim` and `ssimulacra2` are differentiable, batched and run on any device in float32: they take sRGB
pictures (B, H, W, 3) in 0..1, the reference first, and return a value per picture (B,). Those in `psnr` and `arrays`
take 8-bit arrays (H, W, 3).
"""
