// Loads a model that keras_resnext exported, and classifies images.

import { prepare } from "./resize.js";

const RUNTIME = "./onnxruntime-web/dist";
const TOP = 5;
// Pixels of the largest canvas on phones.
const AREA = 2 ** 24;

const $ = (id) => document.getElementById(id);

/** An error whose message is shown to the user. */
class Problem extends Error {}

/** @param {"loading" | "ready" | "busy" | "done" | "error"} state */
function say(state, text) {
  document.body.dataset.state = state;
  $("status").textContent = text;
  $("progress").hidden = state !== "loading";
}

function sentence(error) {
  console.error(error);
  return error instanceof Problem
    ? error.message
    : `Something went wrong: ${error.message ?? error}`;
}

/** Returns the bytes of a file; `onProgress` gets the loaded and the total. */
async function download(address, onProgress = () => {}) {
  const response = await fetch(address).catch(() => null);
  if (!response?.ok) {
    throw new Problem(`${address} can't be loaded: is the server running?`);
  }
  const total = Number(response.headers.get("Content-Length"));
  const parts = [];
  let count = 0;
  const reader = response.body.getReader();
  for (let part; !(part = await reader.read()).done; ) {
    parts.push(part.value);
    count += part.value.length;
    onProgress(count, total);
  }
  return new Blob(parts).arrayBuffer();
}

/** Returns the model, a function from pixels to scores, and its metadata. */
async function load() {
  say("loading", "Loading the model …");
  const facts = JSON.parse(
    new TextDecoder().decode(await download("model.json")),
  );
  const millions = (facts.parameters / 1e6).toFixed(1);
  const megabytes = (facts.bytes / 1e6).toFixed(1);
  $("model").textContent =
    `${facts.name} · ${millions} million parameters · ${megabytes} MB`;

  const loaded = {};
  const bytes = (address) =>
    download(address, (count, total) => {
      loaded[address] = [count, total || count];
      const files = Object.values(loaded);
      const [done, all] = [0, 1].map((i) =>
        files.reduce((sum, each) => sum + each[i], 0),
      );
      $("progress").value = done / all;
      const share = Math.floor((100 * done) / all);
      say("loading", `Loading the model … ${share} %`);
    });
  const [ort, wasm, model] = await Promise.all([
    import(`${RUNTIME}/ort.wasm.bundle.min.mjs`),
    bytes(`${RUNTIME}/ort-wasm-simd-threaded.wasm`),
    bytes("model.onnx"),
  ]);
  $("progress").removeAttribute("value");
  say("loading", "Starting the model …");
  ort.env.wasm.wasmBinary = wasm;
  // In a worker, so that the page stays responsive.
  ort.env.wasm.proxy = true;
  const session = await ort.InferenceSession.create(new Uint8Array(model));
  const [input] = session.inputNames;
  const [output] = session.outputNames;
  const { crop } = facts;
  const run = async (pixels) => {
    const tensor = new ort.Tensor("uint8", pixels, [1, crop, crop, 3]);
    const outputs = await session.run({ [input]: tensor });
    return outputs[output].data;
  };
  // The first run is slower than all others.
  await run(new Uint8Array(crop * crop * 3));
  return { facts, run };
}

/** Returns an image file as the model's pixels, upright. */
async function read(file, transform) {
  const bitmap = await createImageBitmap(file, {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
  }).catch(() => {
    throw new Problem(
      `“${file.name || "This"}” is not an image that this browser can read.`,
    );
  });
  const { width, height } = bitmap;
  const rows = Math.min(height, Math.max(1, Math.floor(AREA / width)));
  const canvas = new OffscreenCanvas(width, rows);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  let [top, strip] = [-rows, null];
  const row = (y) => {
    if (y >= top + rows) {
      top = y;
      context.fillRect(0, 0, width, rows);
      context.drawImage(bitmap, 0, -top);
      strip = context.getImageData(0, 0, width, rows).data;
    }
    return strip.subarray(4 * width * (y - top), 4 * width * (y - top + 1));
  };
  const pixels = prepare({ width, height, row }, transform);
  bitmap.close();
  return pixels;
}

function showImage(file) {
  const image = $("image");
  URL.revokeObjectURL(image.src);
  image.src = URL.createObjectURL(file);
  image.hidden = false;
  $("drop").classList.add("full");
}

/** Shows the model's input. */
function showPixels(pixels, crop) {
  const canvas = $("pixels");
  canvas.width = canvas.height = crop;
  const data = new Uint8ClampedArray(crop * crop * 4).fill(255);
  for (let i = 0; i < crop * crop; i++) {
    data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
  }
  canvas.getContext("2d").putImageData(new ImageData(data, crop), 0, 0);
  $("seen").querySelector("figcaption").textContent =
    `What the model sees: ${crop} × ${crop} pixels`;
  $("seen").hidden = false;
}

function showScores(scores, labels) {
  const best = Array.from(scores.keys())
    .sort((a, b) => scores[b] - scores[a])
    .slice(0, TOP);
  const list = $("scores");
  list.replaceChildren(
    ...best.map((index) => {
      const row = document.createElement("li");
      const name = document.createElement("span");
      const share = document.createElement("span");
      const bar = document.createElement("div");
      name.textContent = labels[index].replaceAll("_", " ");
      share.textContent = `${(100 * scores[index]).toFixed(1)} %`;
      bar.style.width = `${100 * scores[index]}%`;
      row.append(name, share, bar);
      return row;
    }),
  );
  // In full, for programs.
  list.dataset.scores = JSON.stringify(Array.from(scores));
}

function clear() {
  $("scores").replaceChildren();
  delete $("scores").dataset.scores;
  delete document.body.dataset.milliseconds;
  $("seen").hidden = true;
}

const loading = load();

async function predict(file) {
  const { facts, run } = await loading;
  clear();
  say("busy", "Looking …");
  const pixels = await read(file, facts);
  showImage(file);
  showPixels(pixels, facts.crop);
  const began = performance.now();
  const scores = await run(pixels);
  const milliseconds = performance.now() - began;
  showScores(scores, facts.labels);
  document.body.dataset.milliseconds = milliseconds;
  const digits = milliseconds < 10 ? 1 : 0;
  say("done", `${milliseconds.toFixed(digits)} ms`);
}

// One image at a time.
let queue = loading.then(
  () => say("ready", "Ready."),
  (error) => say("error", sentence(error)),
);

/** @param {FileList | undefined} files of which only the first is used */
function take(files) {
  const [file] = files ?? [];
  enqueue(() => {
    if (!file) {
      throw new Problem("That was no file; drop or paste an image.");
    }
    return predict(file);
  });
}

function enqueue(work) {
  queue = queue.then(work).catch((error) => {
    clear();
    say("error", sentence(error));
  });
}

$("file").addEventListener("change", ({ target }) => {
  if (target.files.length) take(Array.from(target.files));
  // So that the same file can be chosen again.
  target.value = "";
});

$("sample").addEventListener("click", () =>
  enqueue(async () => predict(new Blob([await download("sample.jpg")]))),
);

addEventListener("paste", ({ clipboardData }) => take(clipboardData.files));

// Anywhere on the page, so that the browser does not open the image instead.
let depth = 0;
function mark(change) {
  depth = change && Math.max(0, depth + change);
  $("drop").classList.toggle("over", depth > 0);
}
addEventListener("dragenter", () => mark(1));
addEventListener("dragleave", () => mark(-1));
addEventListener("dragover", (event) => event.preventDefault());
addEventListener("drop", (event) => {
  event.preventDefault();
  mark(0);
  take(event.dataTransfer.files);
});
