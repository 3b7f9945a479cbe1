"""Export a model, and serve a page that runs it in the browser.

    python -m examples.web.serve
    python -m examples.web.serve --model resnext50_32x4d.a1h_in1k
    python -m examples.web.serve --weights flowers.safetensors

The default is the bundled model for CIFAR-10's ten classes. npm, a part of
Node.js, downloads ONNX Runtime Web once.
"""

import argparse
import errno
import functools
import http.server
import io
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
from typing import Any
from typing import BinaryIO

import keras

import keras_resnext
from keras_resnext.cli import scripts

HERE = pathlib.Path(__file__).resolve().parent
HOST = "127.0.0.1"
DEFAULT = "resnext23s_4x32d.cifar10"
PAGE = ("index.html", "page.js", "resize.js", "style.css", "sample.jpg")
RUNTIME = "onnxruntime-web"
RUNTIME_FILES = (
    f"{RUNTIME}/dist/ort.wasm.bundle.min.mjs",
    f"{RUNTIME}/dist/ort-wasm-simd-threaded.wasm",
)
SERVED = (*PAGE, *RUNTIME_FILES, "model.onnx", "model.json")


def main() -> int:
    """Run the script, and return its exit status."""
    return scripts.main(arguments(), work)


def work(args: argparse.Namespace) -> int:
    """Export, and serve until Ctrl-C."""
    # Before the slow steps, since the port may be taken.
    with server(args.folder, args.port) as made:
        fetch_runtime(args.folder)
        export(args)
        for name in PAGE:
            shutil.copyfile(HERE / name, args.folder / name)
        page = f"http://{HOST}:{made.server_port}/"
        print(f"{page} is the page; Ctrl-C ends it.", flush=True)
        serve(made)
    return 0


def arguments() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--model",
        metavar="NAME[.TAG]",
        help="a name of keras_resnext.list_models(), with or without a tag "
        f"(default: {DEFAULT}, or the model in the file of --weights)",
    )
    parser.add_argument(
        "--weights",
        help="imagenet, a tag, or the path of a checkpoint",
    )
    parser.add_argument(
        "--labels",
        type=pathlib.Path,
        metavar="FILE",
        help="file of class names, one per line (default: the model's)",
    )
    parser.add_argument(
        "--port",
        type=port_number,
        default=8000,
        metavar="N",
        help="port, 0 for any free one (default: %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=pathlib.Path,
        default=pathlib.Path("runs", "web"),
        help="folder for the page's files (default: %(default)s)",
    )
    return parser


def port_number(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(
            f"must be a number from 0 to 65535, not {text!r}"
        )
    return int(text)


def build(name: str | None, weights: str | None) -> keras.Model:
    """Build the model of the command line, with its weights.

    Raises:
        ValueError: If there is no such model, or it is not a classifier.
        OSError: If its weights can't be read or fetched.
    """
    if name is None and weights is not None and pathlib.Path(weights).exists():
        name, weights = weights, None
    model = scripts.load_for_export(name or DEFAULT, weights)
    if model.layers[-1].activation is not keras.activations.softmax:
        probabilities = keras.layers.Softmax()(model.output)
        model = keras.Model(model.input, probabilities, name=model.name)
    return model


def export(args: argparse.Namespace) -> None:
    """Write `model.onnx`, and `model.json`, which describes it to the page."""
    model = build(args.model, args.weights)
    config, classes = (
        keras_resnext.get_data_config(model),
        model.output_shape[-1],
    )
    names = config.labels
    if args.labels is not None:
        names = args.labels.read_text("utf-8").splitlines()
    transform = scripts.transform_for(model)
    report = keras_resnext.export(
        model,
        args.folder,
        ["onnx"],
        transform=transform,
        labels=names or [f"class {i}" for i in range(classes)],
    )
    (row,) = report.rows
    text = (args.folder / "labels.txt").read_text("utf-8")
    facts = {
        "name": config.weights or model.name,
        "parameters": model.count_params(),
        "bytes": row.bytes,
        "resize": transform.resize,
        "crop": transform.crop_size,
        "interpolation": transform.interpolation,
        "labels": text.splitlines(),
    }
    (args.folder / "model.json").write_text(json.dumps(facts), "utf-8")
    print(
        f"{facts['name']} is exported: {row.bytes / 1e6:.1f} MB, which differ "
        f"from Keras by {row.difference:.0e} of the largest output."
    )


def fetch_runtime(folder: pathlib.Path) -> None:
    """Download ONNX Runtime Web to the folder, unless it is already there.

    Raises:
        Failure: If there is no npm, or it fails.
    """
    package = json.loads((HERE / "package.json").read_text("utf-8"))
    version = package["dependencies"][RUNTIME]
    stamp = folder / RUNTIME / "version.txt"
    if stamp.is_file() and stamp.read_text("utf-8") == version:
        return
    npm = shutil.which("npm")
    if npm is None:
        raise scripts.Failure(
            "There is no npm, which fetches ONNX Runtime Web. It comes with "
            "Node.js: https://nodejs.org"
        )
    with tempfile.TemporaryDirectory(prefix=".npm-", dir=folder) as name:
        shutil.copy(HERE / "package.json", name)
        done = subprocess.run(
            [
                *(npm, "install", "--no-package-lock", "--ignore-scripts"),
                *("--no-audit", "--no-fund", "--loglevel=error"),
            ],
            cwd=name,
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            raise scripts.Failure(
                f"npm can't fetch {RUNTIME} {version}: {done.stderr}"
            )
        for file in RUNTIME_FILES:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(pathlib.Path(name, "node_modules", file), folder / file)
    stamp.write_text(version, "utf-8")


# MIME types of the page's own files, independent of the system's.
TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".jpg": "image/jpeg",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".onnx": "application/octet-stream",
    ".wasm": "application/wasm",
}


class Handler(http.server.SimpleHTTPRequestHandler):
    """Handler that serves only the page's own files."""

    extensions_map = TYPES

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """Refuse other files."""
        self.path = self.path.partition("?")[0]
        if self.path == "/":
            self.path = "/index.html"
        if self.path.removeprefix("/") not in SERVED:
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def end_headers(self) -> None:
        """Allow several threads in the browser, and disable caching."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""


class Server(http.server.ThreadingHTTPServer):
    """Server that does not log browsers closing connections."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log all other errors."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def server(folder: pathlib.Path, port: int) -> Server:
    """Return a server of the folder, which is created if needed.

    Raises:
        OSError: If the port is taken, or the folder can't be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handler = functools.partial(Handler, directory=str(folder))
    try:
        return Server((HOST, port), handler)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise OSError(
                f"Port {port} is taken; give another one to --port."
            ) from None
        if error.errno == errno.EACCES:
            raise OSError(
                f"Port {port} is privileged; use --port 1024 or higher."
            ) from None
        raise


def serve(made: Server) -> None:
    """Serve until Ctrl-C."""
    try:
        made.serve_forever()
    except KeyboardInterrupt:
        print()


if __name__ == "__main__":
    sys.exit(main())
