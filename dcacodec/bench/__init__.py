"""Benchmarks: rate, distortion, speed and memory of the codec, compared with other codecs."""
