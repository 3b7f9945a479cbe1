// Pillow's resize and a center crop, bit for bit: a browser's own filters
// differ, and so would the scores.

const FILTERS = {
  bilinear: { support: 1, weight: (x) => 1 - x },
  bicubic: {
    support: 2,
    weight: (x) =>
      x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((2.5 - 0.5 * x) * x - 4) * x + 2,
  },
};

// Weights are whole multiples of this.
const UNIT = 2 ** -22;

/** Returns the source pixels and their weights for pixels of a resized row. */
function windows(from, to, start, count, { support, weight }) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  return Array.from({ length: count }, (_, i) => {
    const center = (start + i + 0.5) * scale;
    const reach = support * stretch;
    const first = Math.max(Math.trunc(center - reach + 0.5), 0);
    const end = Math.min(Math.trunc(center + reach + 0.5), from);
    const weights = [];
    for (let j = first; j < end; j++) {
      const x = Math.abs(j - center + 0.5) / stretch;
      weights.push(x < support ? weight(x) : 0);
    }
    const sum = weights.reduce((a, b) => a + b, 0);
    const whole = weights.map((each) => {
      const value = each / sum / UNIT;
      return Math.trunc(value + (value < 0 ? -0.5 : 0.5));
    });
    return { first, end, weights: whole };
  });
}

/** Rounds half to even, as Python does. */
function round(x) {
  return x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x);
}

/** Returns the resized sides of an image, and the start of the crop. */
export function geometry(width, height, resize, crop) {
  const short = Math.min(width, height);
  const scaled = (side) =>
    side === short ? resize : Math.trunc((resize * side) / short);
  const [w, h] = [scaled(width), scaled(height)];
  return { w, h, left: round((w - crop) / 2), top: round((h - crop) / 2) };
}

/**
 * Returns the pixels that a model takes.
 *
 * @param {{width: number, height: number, row: (y: number) => Uint8Array}}
 *   image Its rows, requested from the top, are RGBA; alpha is dropped.
 * @param {{resize: number, crop: number, interpolation: string}} transform
 * @returns {Uint8Array} RGB, of shape (crop, crop, 3).
 */
export function prepare(image, { resize, crop, interpolation }) {
  const { width, height, row } = image;
  const filter = FILTERS[interpolation];
  const { w, h, left, top } = geometry(width, height, resize, crop);
  const columns = windows(width, w, left, crop, filter);
  const rows = windows(height, h, top, crop, filter);
  const above = rows[0].first;
  const below = rows[crop - 1].end;

  // Bytes between the two passes, as in Pillow.
  const narrow = new Uint8ClampedArray((below - above) * crop * 3);
  for (let y = above, out = 0; y < below; y++) {
    const data = row(y);
    for (const { first, weights } of columns) {
      let [red, green, blue] = [0, 0, 0];
      let at = 4 * first;
      for (const weight of weights) {
        red += weight * data[at];
        green += weight * data[at + 1];
        blue += weight * data[at + 2];
        at += 4;
      }
      narrow[out++] = Math.floor(red * UNIT + 0.5);
      narrow[out++] = Math.floor(green * UNIT + 0.5);
      narrow[out++] = Math.floor(blue * UNIT + 0.5);
    }
  }
  const pixels = new Uint8ClampedArray(crop * crop * 3);
  const line = crop * 3;
  rows.forEach(({ first, weights }, y) => {
    for (let x = 0; x < line; x++) {
      let sum = 0;
      weights.forEach((weight, i) => {
        sum += weight * narrow[(first - above + i) * line + x];
      });
      pixels[y * line + x] = Math.floor(sum * UNIT + 0.5);
    }
  });
  return new Uint8Array(pixels.buffer);
}
