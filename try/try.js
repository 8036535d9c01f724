// The compact network in the visitor's own browser. What pnlib does in decode, familiar and predict is done here alike.
import * as ort from "./ort.wasm.bundle.min.mjs";

const SIDE = 150; // pixels, height and width of what the network reads
const MEGABYTES = 50, PIXELS = 1e8, SHORTEST = 32, FLAT = 8; // the last three as in pnlib.datasets.images
const [answer, force, scale, fill, pictures, image, seen, heat, file, drop, examples] =
  ["answer", "force", "scale", "fill", "pictures", "image", "seen", "heat", "file", "drop", "examples"].map((id) => document.getElementById(id));

class Refused extends Error {} // its message is a sentence for the visitor

let turn = 0; // counts the images: a slow answer to an earlier one is dropped
let shown; // what the network said of the image on the page

async function load() {
  if (typeof WebAssembly === "undefined") throw new Refused("This browser has no WebAssembly, so the network can't run; try another browser.");
  ort.env.wasm.numThreads = 1; // more threads would need headers that a plain server doesn't send
  const [settings, session] = await Promise.all([
    fetch("settings.json").then((reply) => reply.json()),
    ort.InferenceSession.create("compact.onnx", { executionProviders: ["wasm"] }),
  ]).catch((error) => {
    console.warn(error);
    throw new Refused("The network could not be loaded; reload the page.");
  });
  return { ...settings, session };
}

// A file's gray values, 150 x 150, as pnlib.decode gives them.
async function decode(blob) {
  if (blob.size > MEGABYTES * 1e6) throw new Refused(`This file has ${Math.ceil(blob.size / 1e6)} MB; the page reads up to ${MEGABYTES} MB.`);
  const head = String.fromCharCode(...new Uint8Array(await blob.slice(0, 132).arrayBuffer()));
  if (/^(.{128}DICM|II\*\0|MM\0\*)/s.test(head)) throw new Refused("This page can't read DICOM and TIFF files; the command `pnlib predict` can.");
  if (/^\x89PNG.{20}\x10/s.test(head)) throw new Refused("This PNG has 16 bits per pixel, which the page can't read; the command `pnlib predict` can.");
  if (!/^(\xff\xd8\xff|\x89PNG|RIFF.{4}WEBP|BM)/s.test(head)) throw new Refused("This file is no JPEG, PNG, WebP or BMP image.");
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" }).catch(() => {
    throw new Refused("This image is damaged.");
  });
  const { width, height } = bitmap;
  if (Math.min(width, height) < SHORTEST) throw new Refused(`${width} × ${height} pixels is too small to be an X-ray.`);
  if (width * height > PIXELS) throw new Refused(`${width} × ${height} pixels is too large.`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { alpha: false, willReadFrequently: true }); // black ground
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const gray = new Uint8Array(width * height);
  let low = 255, high = 0;
  for (let i = 0; i < gray.length; i++) {
    gray[i] = (rgba[4 * i] * 19595 + rgba[4 * i + 1] * 38470 + rgba[4 * i + 2] * 7471 + 32768) >> 16; // luma, as Pillow rounds it
    low = Math.min(low, gray[i]);
    high = Math.max(high, gray[i]);
  }
  if (high - low < FLAT) throw new Refused(`This image shows nothing: its gray values differ by ${high - low} of 255.`);
  // pnlib has libjpeg shrink a large JPEG while decoding; means over blocks come close to that.
  const block = head.startsWith("\xff\xd8") ? [8, 4, 2].find((side) => Math.min(width, height) >= 2 * SIDE * side) || 1 : 1;
  const columns = Math.ceil(width / block), rows = Math.ceil(height / block);
  return resizeRows(resizeRows(blockMeans(gray, width, height, block), columns, rows), rows, SIDE);
}

function blockMeans(gray, width, height, block) {
  if (block === 1) return gray;
  const columns = Math.ceil(width / block), out = new Uint8Array(columns * Math.ceil(height / block));
  for (let i = 0; i < out.length; i++) {
    const left = (i % columns) * block, top = Math.floor(i / columns) * block;
    const right = Math.min(left + block, width), bottom = Math.min(top + block, height);
    let sum = 0;
    for (let y = top; y < bottom; y++) for (let x = left; x < right; x++) sum += gray[y * width + x];
    out[i] = Math.round(sum / ((right - left) * (bottom - top)));
  }
  return out;
}

// Bilinear with antialiasing, as Pillow: each row of `width` values becomes 150. The result is transposed.
function resizeRows(gray, width, height) {
  const ratio = width / SIDE, reach = Math.max(ratio, 1), out = new Uint8Array(SIDE * height);
  for (let x = 0; x < SIDE; x++) {
    const centre = (x + 0.5) * ratio;
    const first = Math.max(0, Math.floor(centre - reach + 0.5)), end = Math.min(width, Math.floor(centre + reach + 0.5));
    const weights = Array.from({ length: end - first }, (_, k) => Math.max(0, 1 - Math.abs((first + k + 0.5 - centre) / reach)));
    const total = weights.reduce((sum, weight) => sum + weight);
    const whole = weights.map((weight) => Math.round((weight / total) * 2 ** 22));
    for (let y = 0; y < height; y++) {
      let sum = 2 ** 21;
      for (let k = 0; k < whole.length; k++) sum += whole[k] * gray[y * width + first + k];
      out[x * height + y] = sum >> 22;
    }
  }
  return out;
}

// Whether bone is black: the middle is darker than the corners (pnlib.preprocessing.looks_inverted).
function looksInverted(gray) {
  const mean = (inside) => {
    const values = gray.filter((_, i) => inside(Math.floor(i / SIDE), i % SIDE));
    return values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  const edge = (i) => i < SIDE / 10 || i >= SIDE * 0.9;
  const middle = mean((y, x) => y >= SIDE * 0.3 && y < SIDE * 0.7 && x >= SIDE * 0.4 && x < SIDE * 0.6);
  return middle < mean((y, x) => edge(y) && edge(x)) - 16;
}

async function ask(gray) {
  const { session, thresholds } = await ready;
  const input = new ort.Tensor("float32", Float32Array.from(gray), [1, SIDE, SIDE, 1]);
  const found = await session.run({ [session.inputNames[0]]: input });
  const [probability, map, chestMap, crop, chest, whole] = session.outputNames.map((name) => found[name].data);
  const against = [
    chest[0] < thresholds.chest && "no chest is found in it",
    whole[0] < thresholds.whole && "as a whole it is unlike the training images",
    looksInverted(gray) && "bone looks black, as if it were inverted",
  ].filter(Boolean);
  return { probability: probability[0], map, chestMap, crop, against };
}

function draw(canvas, gray, map) {
  const pixels = new ImageData(SIDE, SIDE);
  for (let i = 0; i < gray.length; i++) {
    const strength = map ? 0.7 * map[i] : 0;
    [174, 1, 126].forEach((purple, c) => (pixels.data[4 * i + c] = gray[i] * (1 - strength) + purple * strength));
    pixels.data[4 * i + 3] = 255;
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

function inWords(probability) {
  if (probability < 0.01) return "less than 0.01";
  return probability > 0.99 ? "more than 0.99" : probability.toFixed(2);
}

function show(forced) {
  const { gray, crop, map, chestMap, probability, against } = shown;
  const refused = against.length > 0 && !forced;
  force.hidden = !refused;
  scale.hidden = refused;
  pictures.hidden = false;
  const marked = heat.checked && !refused;
  draw(image, gray, marked && map);
  draw(seen, crop.map((value) => value * 255), marked && chestMap);
  heat.disabled = refused;
  const doubt = against.length ? `It is not like the training images: ${against.join("; ")}.` : "";
  answer.textContent = `${refused ? "No answer is given" : `Probability of pneumonia: ${inWords(probability)}`}. ${doubt}`;
  answer.dataset.probability = refused ? "" : probability;
  fill.style.width = `${100 * probability}%`;
  fill.style.background = `var(--${probability >= 0.5 ? "pneumonia" : "normal"})`;
}

async function take(blob) {
  const mine = ++turn;
  for (const part of [force, scale, pictures]) part.hidden = true;
  answer.textContent = "Reading the image…";
  delete answer.dataset.probability;
  try {
    const gray = await decode(blob);
    const found = await ask(gray);
    if (mine !== turn) return;
    shown = { gray, ...found };
    show(false);
  } catch (error) {
    if (!(error instanceof Refused)) console.error(error);
    if (mine === turn) answer.textContent = error instanceof Refused ? error.message : "The page failed on this image; reload it and try again.";
  }
}

function addExample(name) {
  const item = examples.appendChild(document.createElement("li"));
  const button = item.appendChild(document.createElement("button"));
  const picture = button.appendChild(new Image());
  picture.src = name;
  picture.alt = "";
  button.type = "button";
  button.append(name.replace("-", " ").replace(".jpeg", ""));
  button.addEventListener("click", async () => take(await (await fetch(name)).blob()));
}

file.addEventListener("change", () => {
  if (file.files.length) take(file.files[0]);
  file.value = ""; // the same file can be chosen again
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
force.addEventListener("click", () => {
  show(true);
  answer.tabIndex = -1; // the button is gone: keep the keyboard's place
  answer.focus();
});
heat.addEventListener("change", () => show(true));

const ready = load();
ready.then(
  (settings) => settings.examples.forEach(addExample),
  (error) => (answer.textContent = error.message),
);
