"""examples/web, in a real browser: an image in, the scores of Python out."""

import contextlib
import itertools
import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import NamedTuple

import keras
import numpy as np
import PIL.Image
import pytest
import sklearn.datasets
from run_script import ROOT
from run_script import assert_one_sentence
from run_script import run_commands
from run_script import without_chatter

import keras_resnext
from examples.web import serve
from keras_resnext.cli import loading

pytestmark = pytest.mark.once

SCRIPT = "examples.web.serve"
MODEL = "resnext23s_4x32d"
LABELS = [f"thing_{i}" for i in range(10)]
PROGRAMS = ("chromium", "chromedriver", "npm")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]

needs_browser = [
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow",
        reason="the page is the same whatever exported its model",
    ),
    pytest.mark.skipif(
        bool(MISSING), reason=f"needs {', '.join(MISSING)} to be installed"
    ),
]


class Site(NamedTuple):
    """A page that is served."""

    process: subprocess.Popen
    lines: list[str]
    address: str
    model: keras.Model


def environment():
    return {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "KERAS_BACKEND": keras.backend.backend(),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }


@contextlib.contextmanager
def serving(folder, *words):
    """`serve.py` until Ctrl-C: its process, and what it printed at first."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", SCRIPT, "--port", "0"),
            *("--folder", folder, *map(str, words)),
        ],
        cwd=folder.parent,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Shells let background processes, as these tests may be, ignore it.
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.default_int_handler
        ),
    )
    printed: queue.Queue[str] = queue.Queue()

    def read():
        for line in process.stdout:
            printed.put(line)
        printed.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        lines = [printed.get(timeout=300)]
        while lines[-1] and not lines[-1].startswith("http://"):
            lines.append(printed.get(timeout=300))
        assert lines[-1], process.stderr.read()
        yield process, lines
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert without_chatter(process.stderr.read()) == ""
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    keras.utils.set_random_seed(0)
    model = keras_resnext.get_model(MODEL, weights=None, classes=len(LABELS))
    # So that some classes are far more probable than others.
    kernel, bias = model.get_layer("predictions").get_weights()
    model.get_layer("predictions").set_weights([20 * kernel, bias])
    weights, labels = folder / "things.safetensors", folder / "things.txt"
    keras_resnext.save_torch_checkpoint(model, weights)
    labels.write_text("\n".join(LABELS), "utf-8")
    words = ("--weights", weights, "--labels", labels)
    with serving(folder / "site", *words) as (process, lines):
        yield Site(process, lines, lines[-1].split()[0], model)


@pytest.fixture
def browser(tmp_path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for word in (
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
        *("--no-first-run", "--disable-background-networking"),
        *("--disable-component-update", "--disable-sync"),
        *("--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'user'}"),
    ):
        options.add_argument(word)
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options, service)
    try:
        yield driver
    finally:
        driver.quit()


def ended(browser, states=("done", "error")):
    """Return the page's state once it is in a list."""
    from selenium.webdriver.support.wait import WebDriverWait

    script = "return document.body.dataset.state"
    return WebDriverWait(browser, 60, 0.05).until(
        lambda _: (state := browser.execute_script(script)) in states and state
    )


def opened(browser, site):
    browser.get(site.address)
    assert ended(browser, ("ready", "error")) == "ready"


def choose(browser, path):
    browser.execute_script("document.body.dataset.state = 'chosen'")
    browser.find_element("id", "file").send_keys(str(path))


def status(browser):
    return browser.find_element("id", "status").text


def scores(browser):
    found = browser.find_element("id", "scores").get_attribute("data-scores")
    return np.array(json.loads(found))


def pixels(browser):
    """Return the pixels that the model saw."""
    canvas = browser.find_element("id", "pixels")
    script = """
        const [{ width, height }] = arguments;
        const context = arguments[0].getContext("2d");
        return Array.from(context.getImageData(0, 0, width, height).data);
    """
    rgba = np.array(browser.execute_script(script, canvas))
    size = int(canvas.get_attribute("width"))
    return rgba.reshape(size, size, 4)[..., :3]


def photograph(name="flower.jpg"):
    return PIL.Image.fromarray(sklearn.datasets.load_sample_image(name))


def expected(model, image):
    transform = loading.transform_for(model)
    return model.predict(transform(image)[None], verbose=0)[0]


class TestBrowser:
    """A server and a browser at a time."""

    pytestmark = needs_browser

    def test_a_small_image_scores_as_in_python(self, site, browser, tmp_path):
        path = tmp_path / "small.png"
        image = photograph().crop((200, 100, 456, 356)).resize((32, 32))
        image.save(path)
        opened(browser, site)
        choose(browser, path)
        assert ended(browser) == "done", status(browser)
        wanted = expected(site.model, image)
        assert np.ptp(wanted) > 0.2
        np.testing.assert_allclose(scores(browser), wanted, atol=1e-3)

        best = np.argsort(-wanted)[:5]
        rows = browser.find_elements("css selector", "#scores li")
        assert [row.text.split("\n") for row in rows] == [
            [f"thing {i}", f"{100 * wanted[i]:.1f} %"] for i in best
        ]
        assert re.fullmatch(r"\d+(\.\d)? ms", status(browser))
        assert not messages(browser)

    def test_photographs_are_resized_as_in_python(
        self, site, browser, tmp_path
    ):
        opened(browser, site)
        transform = loading.transform_for(site.model)
        upright = photograph("china.jpg").crop((0, 0, 301, 426))
        enlarged = photograph().resize((31, 27))
        gray = photograph().convert("L")
        # Larger than a phone's canvas.
        large = photograph().resize((6000, 4000))
        for image in (photograph(), upright, enlarged, gray, large):
            image.save(tmp_path / "photograph.png")
            choose(browser, tmp_path / "photograph.png")
            assert ended(browser) == "done", status(browser)
            np.testing.assert_array_equal(
                pixels(browser), transform.pixels(image)
            )
            wanted = expected(site.model, image)
            np.testing.assert_allclose(scores(browser), wanted, atol=1e-3)

    def test_jpeg_files_differ_by_few_gray_levels(
        self, site, browser, tmp_path
    ):
        """Since the browser's decoder rounds in its own way."""
        opened(browser, site)
        path = tmp_path / "photograph.jpg"
        photograph("china.jpg").save(path, quality=90)
        choose(browser, path)
        assert ended(browser) == "done", status(browser)
        with PIL.Image.open(path) as image:
            wanted = loading.transform_for(site.model).pixels(image)
        assert np.abs(pixels(browser) - wanted.astype(int)).max() <= 2

    def test_the_camera_s_orientation_counts(self, site, browser, tmp_path):
        opened(browser, site)
        image, exif = photograph(), PIL.Image.Exif()
        exif[0x0112] = 6  # to be turned clockwise
        image.save(tmp_path / "turned.png", exif=exif)
        choose(browser, tmp_path / "turned.png")
        assert ended(browser) == "done", status(browser)
        turned = image.transpose(PIL.Image.Transpose.ROTATE_270)
        np.testing.assert_allclose(
            scores(browser), expected(site.model, turned), atol=1e-3
        )

    def test_what_is_no_image_gets_a_sentence(self, site, browser, tmp_path):
        opened(browser, site)
        path = tmp_path / "text.png"
        path.write_text("No image at all.")
        choose(browser, path)
        assert ended(browser) == "error"
        assert status(browser) == (
            "“text.png” is not an image that this browser can read."
        )
        # The next image still works.
        photograph().save(tmp_path / "flower.jpg")
        choose(browser, tmp_path / "flower.jpg")
        assert ended(browser) == "done"

    def test_images_are_dropped_and_pasted(self, site, browser):
        opened(browser, site)
        for event in ("drop", "paste"):
            send(browser, event, with_image=True)
            assert ended(browser) == "done", event
            assert len(scores(browser)) == len(LABELS)
            send(browser, event, with_image=False)
            assert ended(browser) == "error", event
            assert status(browser) == (
                "“notes.txt” is not an image that this browser can read."
            )

    def test_a_sample_image_is_offered(self, site, browser):
        opened(browser, site)
        browser.find_element("id", "sample").click()
        assert ended(browser) == "done", status(browser)
        with PIL.Image.open(ROOT / "examples" / "web" / "sample.jpg") as image:
            wanted = loading.transform_for(site.model).pixels(image)
        assert np.abs(pixels(browser) - wanted.astype(int)).max() <= 2

    def test_only_the_page_is_served(self, site):
        for name in ("", "page.js", "model.onnx", "index.html?x=1"):
            with urllib.request.urlopen(site.address + name) as answer:
                assert answer.read()
        for name in ("report.json", "run_onnx.py", "../things.txt", "dist/"):
            with pytest.raises(urllib.error.HTTPError, match="404") as caught:
                urllib.request.urlopen(site.address + name)
            caught.value.close()

    def test_the_server_says_what_it_does(self, site):
        exported, address = site.lines
        assert exported.startswith(f"{MODEL} is exported: ")
        assert address == f"{site.address} is the page; Ctrl-C ends it.\n"


PREPARE = """
import fs from "node:fs";
import { prepare } from "./resize.mjs";
for (const { file, width, height, ...transform } of
     JSON.parse(fs.readFileSync("cases.json"))) {
  const data = fs.readFileSync(`${file}.rgba`);
  const row = (y) => data.subarray(4 * width * y, 4 * width * (y + 1));
  fs.writeFileSync(`${file}.rgb`, prepare({ width, height, row }, transform));
}
"""


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_page_resizes_as_the_evaluation_transform(interpolation, tmp_path):
    """Pixels are equal bit for bit, for several sizes and crop ratios."""
    landscape = photograph("china.jpg")
    images = [
        landscape,
        photograph().transpose(PIL.Image.Transpose.ROTATE_90),
        landscape.crop((0, 0, 301, 426)),
        landscape.resize((61, 27)),
        landscape.convert("L"),
    ]
    crops = [(256, 224), (235, 224), (232, 224), (201, 176), (224, 224)]
    cases, wanted = [], []
    for image, (resize, crop) in itertools.product(images, crops):
        case = {"file": str(len(cases)), "resize": resize, "crop": crop}
        case["interpolation"] = interpolation
        case["width"], case["height"] = image.size
        rgba = image.convert("RGBA").tobytes()
        (tmp_path / f"{len(cases)}.rgba").write_bytes(rgba)
        cases.append(case)
        transform = keras_resnext.EvaluationTransform(
            resize, crop, interpolation
        )
        wanted.append(transform.pixels(image))
    (tmp_path / "cases.json").write_text(json.dumps(cases))
    shutil.copy(ROOT / "examples/web/resize.js", tmp_path / "resize.mjs")
    (tmp_path / "prepare.mjs").write_text(PREPARE)
    subprocess.run(["node", "prepare.mjs"], cwd=tmp_path, check=True)
    for case, expected in zip(cases, wanted, strict=True):
        found = np.fromfile(tmp_path / f"{case['file']}.rgb", "uint8")
        np.testing.assert_array_equal(
            found.reshape(expected.shape), expected, str(case)
        )


SEND = """
const [type, image] = arguments;
document.body.dataset.state = "sent";
const canvas = Object.assign(document.createElement("canvas"), {
  width: 50, height: 40,
});
canvas.getContext("2d").fillRect(5, 5, 20, 20);
canvas.toBlob((blob) => {
  const transfer = new DataTransfer();
  transfer.items.add(
    image ? new File([blob], "it.png", { type: "image/png" })
            : new File(["text"], "notes.txt", { type: "text/plain" }));
  dispatchEvent(
    type === "drop" ? new DragEvent(type, { dataTransfer: transfer })
                    : new ClipboardEvent(type, { clipboardData: transfer }));
});
"""


def send(browser, event, with_image):
    """Drop a file on the page, or paste one."""
    browser.execute_script(SEND, event, with_image)


def messages(browser):
    """Return the page's messages in the console."""
    return browser.get_log("browser")


def test_wrong_command_lines_get_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(serve, "fetch_runtime", lambda _: None)
    (tmp_path / "damaged.pth").write_bytes(b"nothing")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        free = ["--port", 0]
        lines = {
            f"Port {port} is taken": ["--port", port],
            "from 0 to 65535": ["--port", "-1"],
            "no variant 'resnext51'": [*free, "--model", "resnext51"],
            "nowhere": [*free, "--model", MODEL, "--weights", "nowhere"],
            "damaged.pth": [*free, "--weights", "damaged.pth"],
        }
        results = run_commands(lines.values(), tmp_path, serve.main)
    for result, part in zip(results, lines, strict=True):
        assert_one_sentence(result.stderr, part)
        assert result.status in (1, 2)


def test_without_npm_a_sentence_says_where_from(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    [result] = run_commands([["--port", 0]], tmp_path, serve.main)
    assert result.status == 1
    assert_one_sentence(result.stderr, "There is no npm", "https://nodejs.org")
