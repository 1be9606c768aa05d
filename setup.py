"""What setup.cfg cannot say: the weights of the top-level folder `models` become the package `dcacodec.models`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["dcacodec", "dcacodec.*"]), "dcacodec.models"],
    package_dir={"dcacodec.models": "models"},
)
