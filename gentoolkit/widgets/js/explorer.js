// The latent explorer: a pad on which a handle is moved by mouse or keyboard, and the image that
// is decoded there. A grid of decodes lies in the buffer, so a picture is there at once; where a
// kernel answers, its exact decode takes the place of the interpolated one.

import { INK, pencil } from "./axes.js";
import { asView, guardKeys, keyMove, make, screenRatio } from "./dom.js";
import { paintShades, pixelsOf } from "./layers.js";
import { placeText } from "./probe.js";
import { Stage } from "./stage.js";

/** @import { ExplorerOptions, ExplorerSource, Pair, Spec } from "./types.d.ts" */

const STEP = 0.02; // of the extent, per key press; five times as much with Shift
const QUIET_MS = 350; // the position is read out when the handle has rested this long

/**
 * Bilinear interpolation in the grid of decodes, into `out`.
 * @param {ArrayLike<number>} decodes
 * @param {Pick<ExplorerOptions, "grid" | "extent" | "image">} options
 * @param {Pair} z
 * @param {Float32Array} out
 */
export function interpolate(decodes, { grid, extent, image }, z, out) {
  const size = image[0] * image[1];
  const cell = z.map((v) => ((v - extent[0]) / (extent[1] - extent[0])) * (grid - 1));
  const low = cell.map((c) => Math.max(0, Math.min(grid - 2, Math.floor(c))));
  const [a, b] = cell.map((c, k) => c - low[k]);
  const at = (/** @type {number} */ dx, /** @type {number} */ dy) => ((low[1] + dy) * grid + low[0] + dx) * size;
  const corners = [[at(0, 0), (1 - a) * (1 - b)], [at(1, 0), a * (1 - b)], // row = second coordinate
    [at(0, 1), (1 - a) * b], [at(1, 1), a * b]];
  for (let i = 0; i < size; i++) {
    out[i] = corners.reduce((sum, [from, weight]) => sum + weight * decodes[from + i], 0);
  }
}

/**
 * The decode in an answer of the kernel, if it belongs to this very place.
 * @param {DataView | null} answer the place as two float32, then the pixels
 * @param {Pair} z
 * @param {number} size pixels
 */
export function answered(answer, z, size) {
  if (!answer || answer.byteLength !== 8 + size) return null;
  const same = [0, 4].every((o, k) => Math.abs(answer.getFloat32(o, true) - z[k]) < 1e-5);
  return same ? new Uint8Array(answer.buffer, answer.byteOffset + 8, size) : null;
}

export class Explorer {
  #pad = make("div", { class: "gt-pad" });
  #picture = make("canvas", { class: "gt-decoded", role: "img" });
  #where = make("p", { class: "gt-where" });
  #origin = make("p", { class: "gt-origin" });
  #row = make("div", { class: "gt-row" }, this.#pad, make("div", { class: "gt-side" },
    make("p", { class: "gt-title" }, "decoded image"), this.#picture, this.#where, this.#origin));
  #spoken = make("span", { class: "gt-spoken", role: "status", "aria-live": "polite" });
  #root = make("figure", { class: "gt-explorer" }, this.#row, make("p", { class: "gt-help" },
    "Drag the handle, or focus the plane and use the arrow keys (Shift: faster, Home: centre)."), this.#spoken);
  #due = 0;
  #quiet = 0;
  /** @type {Pair} */
  #z = [0, 0];
  #freeKeys = () => {};

  /**
   * @param {HTMLElement} place
   * @param {ExplorerSource} source
   */
  constructor(place, source) {
    this.#source = source;
    this.#spec = source.spec();
    this.#stage = new Stage(this.#pad, this.#spec, asView(source.bytes()));
    place.replaceChildren(this.#root);
    this.#load();
    const sized = new ResizeObserver(() => this.#fit());
    sized.observe(this.#row);
    const free = source.listen({
      data: () => this.#load(),
      image: () => this.#draw(),
      z: () => this.#follow(),
    });
    this.#stops = [() => sized.disconnect(), free];
  }

  /** @type {ExplorerSource} */
  #source;
  /** @type {Spec} */
  #spec;
  /** @type {Stage} */
  #stage;
  /** @type {Uint8Array} */
  #decodes = new Uint8Array();
  #pixels = new Float32Array();
  /** @type {(() => void)[]} */
  #stops;

  get #options() {
    if (!this.#spec.explorer) throw new Error("the scene is no explorer; got no 'explorer' in its spec; use Player");
    return this.#spec.explorer;
  }

  get #canvas() {
    return this.#stage.canvases[0];
  }

  #load() {
    this.#spec = this.#source.spec();
    const { grid, image, offset } = this.#options;
    const view = asView(this.#source.bytes());
    this.#decodes = new Uint8Array(view.buffer, view.byteOffset + offset, grid ** 2 * image[0] * image[1]);
    this.#pixels = new Float32Array(image[0] * image[1]);
    this.#stage = new Stage(this.#pad, this.#spec, view);
    const canvas = this.#canvas;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "two-dimensional slider");
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) this.#moveTo(event);
    });
    this.#freeKeys();
    this.#freeKeys = guardKeys(canvas, (event) => this.#key(event));
    this.#root.setAttribute("aria-label", this.#spec.alt);
    this.#take(this.#source.z());
    this.#fit();
  }

  #fit() {
    const width = this.#row.clientWidth;
    if (!width) return; // not laid out yet; the ResizeObserver calls again
    const ratio = screenRatio();
    const beside = width >= 560;
    const padWidth = beside ? Math.min(460, Math.round(width * 0.56)) : width;
    this.#stage.resize(padWidth, ratio);
    const tall = this.#stage.boxes[0].h;
    const across = Math.min(beside ? width - padWidth - 30 : width, tall * 0.82, 340);
    const down = (across * this.#options.image[0]) / this.#options.image[1];
    this.#picture.width = Math.round(across * ratio);
    this.#picture.height = Math.round(down * ratio);
    this.#picture.style.width = `${this.#picture.width / ratio}px`;
    this.#picture.style.height = `${this.#picture.height / ratio}px`;
    this.#draw();
  }

  /** @param {number} value */
  #bound(value) {
    const [low, high] = this.#options.extent;
    return Math.max(low, Math.min(high, value));
  }

  /** @param {Pair} values */
  #take([x, y]) {
    this.#z = [this.#bound(x), this.#bound(y)];
  }

  #nearest() {
    const { names, points, labels } = this.#options;
    if (!names.length || points === null || labels === null) return "";
    const at = pixelsOf(this.#stage.boxes[0], this.#stage.arrays.read(points, 0));
    const classes = this.#stage.arrays.raw(labels);
    const [x, y] = this.#handle();
    let [best, distance] = [0, Infinity];
    for (let i = 0; i < classes.length; i++) {
      const away = Math.hypot(at(i)[0] - x, at(i)[1] - y);
      if (away < distance) [best, distance] = [i, away];
    }
    return names[classes[best]];
  }

  /** @returns {Pair} */
  #handle() {
    const [box] = this.#stage.boxes;
    return [box.px(this.#z[0]), box.py(this.#z[1])];
  }

  #draw() {
    this.#due = 0;
    if (!this.#stage.boxes.length) return;
    this.#stage.draw(0);
    this.#drawHandle();
    const found = answered(this.#source.exact(), this.#z, this.#pixels.length);
    if (found) this.#pixels.set(found);
    else interpolate(this.#decodes, this.#options, this.#z, this.#pixels);
    const { image: [rows, columns], colormap } = this.#options;
    const { arrays, tile } = this.#stage;
    paintShades(arrays.raw(colormap), this.#pixels, 0, rows, columns, false, tile);
    const g = pencil(this.#picture);
    g.imageSmoothingEnabled = false; // the pixels are what the model says
    g.drawImage(tile, 0, 0, this.#picture.width, this.#picture.height);
    this.#describe(found !== null);
  }

  /** @param {boolean} exact */
  #describe(exact) {
    const near = this.#nearest();
    const place = `z = ${placeText(this.#z, this.#spec.panels[0])}`;
    const where = near === "" ? place : `${place}, nearest example: ${near}`;
    this.#where.textContent = where;
    this.#origin.textContent = exact ? "decoded by the kernel" : "interpolated between stored decodes";
    this.#picture.setAttribute("aria-label", `Image decoded at ${where}`);
    this.#canvas.setAttribute("aria-label",
      `Latent plane, ${place}. Arrow keys move, Shift moves faster, Home centres. ${this.#spec.alt}`);
    const { dataset } = this.#root;
    dataset.z = this.#z.map((v) => v.toFixed(4)).join(" ");
    dataset.exact = String(exact);
    dataset.painted ??= String(performance.timeOrigin + performance.now());
  }

  #drawHandle() {
    const [{ left, top, w, h }] = this.#stage.boxes;
    const g = pencil(this.#canvas);
    const [x, y] = this.#handle();
    g.save();
    g.strokeStyle = "rgba(31,41,51,0.45)";
    g.lineWidth = 1;
    g.setLineDash([4, 4]);
    g.beginPath();
    g.moveTo(x, top);
    g.lineTo(x, top + h);
    g.moveTo(left, y);
    g.lineTo(left + w, y);
    g.stroke();
    g.setLineDash([]);
    g.beginPath();
    g.arc(x, y, 9, 0, 2 * Math.PI);
    g.fillStyle = "#ffffff";
    g.fill();
    g.lineWidth = 3;
    g.strokeStyle = INK;
    g.stroke();
    g.beginPath();
    g.arc(x, y, 3, 0, 2 * Math.PI);
    g.fillStyle = INK;
    g.fill();
    g.restore();
  }

  /**
   * Move the handle: one redraw and one message per animation frame, the latest wins.
   * @param {Pair} values
   */
  #move(values) {
    this.#take(values);
    this.#due ||= requestAnimationFrame(() => {
      this.#draw();
      this.#source.changed([...this.#z]);
    });
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => (this.#spoken.textContent = this.#where.textContent), QUIET_MS);
  }

  /** @param {PointerEvent} event */
  #moveTo(event) {
    const [box] = this.#stage.boxes;
    const [low, high] = this.#options.extent;
    const scale = (/** @type {number} */ part) => low + part * (high - low);
    this.#move([scale((event.offsetX - box.left) / box.w), scale((box.top + box.h - event.offsetY) / box.h)]);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    if (event.button !== 0) return;
    this.#canvas.setPointerCapture(event.pointerId);
    this.#canvas.focus({ preventScroll: true });
    this.#moveTo(event);
    event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const [low, high] = this.#options.extent;
    const by = (high - low) * STEP;
    const move = keyMove(event);
    if (event.key === "Home") this.#move([(low + high) / 2, (low + high) / 2]);
    else if (move) this.#move([this.#z[0] + move[0] * by, this.#z[1] + move[1] * by]);
  }

  /** Go where Python says. */
  #follow() {
    const news = this.#source.z();
    if (this.#due || !news.some((v, k) => Math.abs(this.#bound(v) - this.#z[k]) > 1e-9)) return;
    this.#take(news);
    this.#draw();
  }

  stop() {
    cancelAnimationFrame(this.#due);
    clearTimeout(this.#quiet);
    this.#freeKeys();
    this.#stops.forEach((stop) => stop());
  }
}
