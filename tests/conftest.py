"""Fixtures that several test modules share."""

import hashlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Before torch is imported: networks as small as those of the tests gain nothing by more threads, which would wait for
# each other instead. `OMP_NUM_THREADS=2 pytest` is what tries them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import click
import pytest
import torch
from hypothesis import settings
from PIL import Image
from publishing import drawn
from study_runs import CPU, KEY, TRAIN, VALID
from tiny import TINY, WEIGHTS, drawn_model, photo, picture
from training_runs import QUICK, png, state_of
from training_worker import rounded, still, still_bits

from dcacodec.api import encode
from dcacodec.cli.train import train as train_command
from dcacodec.codec.codec import Codec
from dcacodec.codec.parallel import threads
from dcacodec.coding import Coder, CoderUnavailableError, PythonCoder, TorchacCoder
from dcacodec.network.config import PRESETS
from dcacodec.network.dca import DCA
from dcacodec.training.loop import train
from dcacodec.weights.reader import Weights, read_weights
from research.study.latents import Latents, make_latents

if TYPE_CHECKING:
    from page_viewer import Viewer
    from playwright.sync_api import Browser

# Their assertions are explained as those of the tests are.
pytest.register_assert_rewrite("coders", "commands", "entropy_variants", "page_viewer", "picture_files")

settings.register_profile("patient", deadline=None)  # that a machine is busy is no failure
settings.load_profile("patient")

# The tests are of what a processor makes, byte by byte. What a GPU makes has a check of its own, `cuda_exactness.py`.
_WITH_GPUS = dict(os.environ)
os.environ["CUDA_VISIBLE_DEVICES"] = ""

PILLOWS_LIMIT = Image.MAX_IMAGE_PIXELS

# Commands inherit what is ignored, and in the background of a script or under nohup these signals are.
for _number, _handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--float32", action="store_true", help="Transforms as on a processor that does not multiply bfloat16."
    )


@pytest.fixture(scope="session", autouse=True)
def _without_bfloat16(request: pytest.FixtureRequest) -> Iterator[None]:
    """With --float32. Not for the processes that tests start."""
    with pytest.MonkeyPatch.context() as patch:
        if request.config.getoption("--float32"):
            patch.setattr("dcacodec.codec.operating_point.fast_bfloat16", lambda device: False)
            patch.setattr("dcacodec.training.trainer.fast_bfloat16", lambda device: False)
        yield


def pytest_runtest_teardown() -> None:
    """Restore Pillow's limit, which the command line removes for its process, as it has its own."""
    Image.MAX_IMAGE_PIXELS = PILLOWS_LIMIT


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Networks as small as those of the tests gain nothing by more."""
    with threads(1):
        yield


@pytest.fixture(scope="session")
def with_gpus() -> dict[str, str]:
    """The environment of a process that may use them."""
    return _WITH_GPUS


@pytest.fixture(scope="session")
def weights() -> Weights:
    """The kept tiny model."""
    return read_weights(WEIGHTS)


@pytest.fixture(scope="session")
def codec(weights: Weights) -> Codec:
    """The kept tiny model with the coder that is always there."""
    return Codec(weights, coder=PythonCoder())


@pytest.fixture(scope="session")
def sound(codec: Codec) -> bytes:
    """A sound file of the tiny model, of a picture of 70x80 pixels."""
    return codec.encode(picture(70, 80, seed=3), quality=60, lossless=False)


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of published weights in which the preset "small" is the kept tiny model."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(WEIGHTS, folder)
    digest = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    files = {digest[:8]: {"file": WEIGHTS.name, "sha256": digest, "tune": "psnr"}}
    (folder / "index.json").write_text(
        json.dumps({"presets": {"small": {"psnr": digest[:8]}}, "files": files}), "utf-8"
    )
    return folder


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """What a test draws without a generator does not depend on the tests before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def _small_is_tiny(tiny_models: Path) -> Iterator[None]:
    """Code that does not get a codec takes the tiny model, also in processes that tests start.

    No test depends on the published weights, except for those that take `published`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DCACODEC_MODELS", str(tiny_models))
        yield


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """The weights of this release are those in use."""
    monkeypatch.delenv("DCACODEC_MODELS")


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the files that examples work on."""
    folder = tmp_path / "desk"
    folder.mkdir()
    Image.fromarray(photo(70, 90)).save(folder / "photo.png")
    (folder / "photo.dca").write_bytes(encode(folder / "photo.png"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session", params=["python", "torchac"])
def each_coder(request: pytest.FixtureRequest) -> Coder:
    """Both coders; the compiled one where it can be had."""
    if request.param == "python":
        return PythonCoder()
    try:
        return TorchacCoder()
    except CoderUnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def _tiny_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the tiny network a preset, and every run one on the processor, where it is reproducible."""
    monkeypatch.setitem(PRESETS, "tiny", TINY)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (option,) = (each for each in train_command.params if each.name == "preset")
    monkeypatch.setattr(option, "type", click.Choice(list(PRESETS)))


@pytest.fixture
def _usual_signals() -> Iterator[None]:
    """As in a terminal, also where the tests run in the background, with interrupts ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def _no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DCA, "_for_rate", still)
    monkeypatch.setattr(DCA, "_as_read", rounded)
    monkeypatch.setattr("dcacodec.network.dca.noisy_gaussian_bits", still_bits)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures of several sizes, all larger than a crop of 64."""
    folder = tmp_path_factory.mktemp("pictures")
    for number, (height, width) in enumerate([(96, 128), (64, 80), (110, 70)]):
        (folder / f"{number}.png").write_bytes(png(photo(height, width, number)))
    return folder


@pytest.fixture(scope="module")
def uninterrupted(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last state of a run of `QUICK` in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "tiny", TINY)
        patch.setattr(torch.cuda, "is_available", lambda: False)
        train([str(pictures)], folder, QUICK, quiet=True)
    return state_of(folder)


@pytest.fixture(scope="module")
def model() -> DCA:
    """A network that was never published."""
    return drawn(TINY, seed=5)


@pytest.fixture
def _on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture(scope="module")
def frozen() -> DCA:
    """The network whose transforms a study takes."""
    return drawn_model(TINY, 5).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def latents(frozen: DCA) -> Latents:
    """Those of a study, which its variants are trained on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("research.study.latents.fast_bfloat16", lambda device: False)
        return make_latents(frozen, TRAIN, VALID, KEY, CPU, quiet=True)


@pytest.fixture(scope="session")
def torchac() -> TorchacCoder:
    """The compiled coder. It may only be missing where there is no compiler."""
    try:
        return TorchacCoder()
    except CoderUnavailableError as error:
        if shutil.which(os.environ.get("CXX") or "c++") is None:
            pytest.skip(f"NOT TESTED AGAINST TORCHAC: {error}")
        raise


@pytest.fixture(params=["python", "torchac"])
def coder(request: pytest.FixtureRequest) -> Coder:
    if request.param == "python":
        return PythonCoder()
    compiled_coder: TorchacCoder = request.getfixturevalue("torchac")
    return compiled_coder


@pytest.fixture
def pillow_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """`encode` lifts Pillow's limit for its process; here that is the process of the tests."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of 130x90 pixels, encoded by the command."""
    import commands

    path = tmp_path_factory.mktemp("coded") / "photo.dca"
    source = commands.png(commands.photo(90, 130))
    assert commands.call("encode", "-", path, stdin=source).exit_code == 0
    return path


@pytest.fixture(scope="session")
def results_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the synthetic results."""
    from synthetic import exhibits, results

    from dcacodec.bench.page import write_page

    path = tmp_path_factory.mktemp("page") / "page.html"
    write_page(results(), exhibits(), path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """A headless Chromium, where there is one."""
    driver = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.skip("no Chromium is installed")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--force-color-profile=srgb"])
        yield browser
        browser.close()


@pytest.fixture
def open_viewer(browser: "Browser", results_page: Path) -> Iterator[Any]:
    """Opens the page; when the test is over, nothing may have been loaded, logged or alerted but the file itself."""
    import page_viewer

    contexts, seen = [], []

    def open_it(width: int = 1280, height: int = 900, theme: Any = "light", **options: Any) -> "Viewer":
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, offline=True, **options
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: seen.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: seen.append(request.url) if not request.url.startswith("data:") else None)
        page.goto(results_page.as_uri())
        return page_viewer.Viewer(page)

    yield open_it
    for context in contexts:
        context.close()
    assert seen == [results_page.as_uri()] * len(contexts)
