"""What setup.cfg cannot say: the weights of the top-level folder `models` become the package `dcacodec.weights`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["dcacodec", "dcacodec.*"]), "dcacodec.weights"],
    package_dir={"dcacodec.weights": "models"},
)
