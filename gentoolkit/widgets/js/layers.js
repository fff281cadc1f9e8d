// How each kind of layer is drawn on a canvas.

import { FONT, INK, pencil } from "./axes.js";
import { Pen } from "./clip.js";
import { ribbon } from "./ribbon.js";

/**
 * @import { Box, Layer } from "./types.d.ts"
 * @import { Arrays } from "./arrays.js"
 * @import { Stage } from "./stage.js"
 */
/** @typedef {ArrayLike<number>} Numbers */
/** @typedef {[number, number]} Place in pixels */
/** @typedef {CanvasRenderingContext2D} Canvas */
/** @typedef {{ color: string, width: number, dash: boolean, alpha: number }} Stroke */

const SHADES = 32; // distinct disc colours along a colour map
const WRONG = "#b2182b"; // crosses: what missed its aim
const HALO = "rgba(255,255,255,0.85)"; // keeps lines apart from what lies behind

/**
 * @param {Numbers} map
 * @param {number} value from 0 to 255
 */
function colorAt(map, value) {
  const k = 3 * Math.max(0, Math.min(255, Math.round(value)));
  return `rgb(${map[k]},${map[k + 1]},${map[k + 2]})`;
}

/**
 * Paint numbers from 0 to 255 as pixels, `rows` by `columns` of them from an offset on.
 * @param {Numbers} map
 * @param {Numbers} values
 * @param {number} offset
 * @param {number} rows
 * @param {number} columns
 * @param {boolean} upward row 0 lies below
 * @param {HTMLCanvasElement} canvas
 */
export function paintShades(map, values, offset, rows, columns, upward, canvas) {
  canvas.width = columns;
  canvas.height = rows;
  const g = pencil(canvas);
  const image = g.createImageData(columns, rows);
  const out = image.data;
  for (let r = 0; r < rows; r++) {
    const from = offset + (upward ? rows - 1 - r : r) * columns;
    for (let c = 0; c < columns; c++) {
      const k = 3 * ((values[from + c] + 0.5) | 0);
      const o = 4 * (r * columns + c);
      out[o] = map[k];
      out[o + 1] = map[k + 1];
      out[o + 2] = map[k + 2];
      out[o + 3] = 255;
    }
  }
  g.putImageData(image, 0, 0);
}

/**
 * The pixels of the places in an array of shares.
 * @param {Box} b
 * @param {Numbers} xy
 * @returns {(index: number) => Place}
 */
export const pixelsOf = (b, xy) => (i) => [b.sx(xy[2 * i]), b.sy(xy[2 * i + 1])];

/**
 * @param {Canvas} g
 * @param {Stroke} layer
 */
function stroke(g, layer) {
  g.strokeStyle = layer.color;
  g.lineWidth = layer.width;
  g.globalAlpha = layer.alpha;
  g.lineJoin = "round";
  g.lineCap = layer.dash ? "butt" : "round";
  g.setLineDash(layer.dash ? [3.5 * layer.width + 2, 2.5 * layer.width + 1] : []);
}

/**
 * Stroke a polyline of `count` places, and on to `end` if it is given.
 * @param {Canvas} g
 * @param {Box} b
 * @param {number} count
 * @param {(vertex: number) => Place} at
 * @param {Place} [end]
 */
export function trace(g, b, count, at, end) {
  const pen = Pen.on(g, b);
  g.beginPath();
  pen.line(count, at);
  if (end) pen.lineTo(...end);
  g.stroke();
}

/**
 * Stroke the same lines twice: pale and wide, then in their colour.
 * @param {Canvas} g
 * @param {number} width
 * @param {() => void} draw
 */
export function haloed(g, width, draw) {
  for (const [style, wide] of /** @type {[string, number][]} */ ([[HALO, width + 2.5], [INK, width]])) {
    g.strokeStyle = style;
    g.lineWidth = wide;
    draw();
  }
}

/**
 * A filled circle.
 * @param {Canvas} g
 * @param {Place} at
 * @param {number} radius
 */
function circle(g, at, radius) {
  g.beginPath();
  g.arc(...at, radius, 0, 2 * Math.PI);
  g.fill();
}

/**
 * A curve with one vertex per frame: pale ahead of the current position, and a dot there.
 * @param {Canvas} g
 * @param {Box} b
 * @param {Stroke} layer
 * @param {number} position
 * @param {number} last
 * @param {(vertex: number) => Place} at
 */
function running(g, b, layer, position, last, at) {
  const frame = Math.min(Math.floor(position), last);
  const [[x0, y0], [x1, y1]] = [at(frame), at(Math.min(frame + 1, last))];
  const share = Math.min(position, last) - frame;
  /** @type {Place} */
  const here = [x0 + share * (x1 - x0), y0 + share * (y1 - y0)];
  g.globalAlpha = 0.28;
  trace(g, b, last + 1, at);
  g.globalAlpha = 1;
  trace(g, b, frame + 1, at, here);
  g.setLineDash([]);
  g.fillStyle = layer.color;
  g.strokeStyle = "#ffffff";
  g.lineWidth = 2;
  circle(g, here, 6);
  g.stroke();
}

/**
 * A dashed line from a place to the ring around another.
 * @param {Canvas} g
 * @param {Box} b
 * @param {Place} here
 * @param {Place} there
 */
export function foretell(g, b, here, there) {
  for (const [style, width, dash] of /** @type {[string, number, number[]][]} */ ([[HALO, 5, []], [INK, 2, [7, 5]]])) {
    g.strokeStyle = style;
    g.lineWidth = width;
    g.setLineDash(dash);
    trace(g, b, 2, (v) => (v ? there : here));
    g.setLineDash([]);
    g.lineWidth = Math.max(width, 2.5);
    g.beginPath();
    g.arc(...there, 9, 0, 2 * Math.PI);
    g.stroke();
  }
}

/**
 * The colour of each point: its own, or the layer's.
 * @param {Stage} s
 * @param {{ color: string, values?: string, colormap?: string }} layer
 * @param {number} position
 * @param {number} [shades] distinct colours along the map; all if left out
 * @returns {(index: number) => string}
 */
function colorsOf(s, { color, values, colormap }, position, shades) {
  if (values === undefined || colormap === undefined) return () => color;
  const numbers = s.arrays.read(values, position);
  const map = s.arrays.raw(colormap);
  const exact = !shades || s.spec.arrays[colormap].colormap === "classes"; // labels, not a scale
  return (i) => colorAt(map, exact ? numbers[i] : (Math.round((numbers[i] * shades) / 255) * 255) / shades);
}

/**
 * @template {Layer["kind"]} K
 * @typedef {(g: Canvas, s: Stage, b: Box, layer: Extract<Layer, { kind: K }>, position: number) => void} Painter
 */

/** @type {{ [K in Layer["kind"]]: Painter<K> }} */
const PAINTERS = {
  heat(g, s, b, layer, position) {
    const [rows, columns] = s.arrays.shape(layer.values);
    const values = s.arrays.read(layer.values, position);
    paintShades(s.arrays.raw(layer.colormap), values, 0, rows, columns, true, s.tile);
    g.globalAlpha = layer.alpha;
    g.imageSmoothingEnabled = true;
    g.imageSmoothingQuality = "high";
    g.drawImage(s.tile, b.left, b.top, b.w, b.h);
  },

  images(g, s, b, layer, position) {
    const [count, rows, columns] = s.arrays.shape(layer.values);
    const values = s.arrays.read(layer.values, position);
    const perRow = Math.round(b.panel.x[1] - b.panel.x[0]);
    const cell = b.w / perRow;
    const inset = Math.max(1, cell * 0.04);
    const pitch = cell * (1 + layer.gap);
    g.imageSmoothingEnabled = false; // pixels of a small image are meant to be seen
    for (let i = 0; i < count; i++) {
      const x = b.left + (i % perRow) * cell + inset;
      const y = b.top + Math.floor(i / perRow) * pitch + inset;
      const side = cell - 2 * inset;
      const map = s.arrays.raw(layer.colormap);
      paintShades(map, values, i * rows * columns, rows, columns, false, s.tile);
      g.drawImage(s.tile, x, y, side, side);
      g.strokeStyle = "#cfd6dd";
      g.lineWidth = 1;
      g.strokeRect(x, y, side, side);
    }
  },

  points(g, s, b, layer, position) {
    const at = pixelsOf(b, s.arrays.read(layer.xy, position));
    const [count] = s.arrays.shape(layer.xy);
    const crossed = layer.crossed === undefined ? null : s.arrays.raw(layer.crossed);
    const stamp = (/** @type {number} */ i, /** @type {import("./sprites.js").Sprite} */ { canvas, side }) => {
      const [x, y] = at(i);
      g.drawImage(canvas, x - side / 2, y - side / 2, side, side);
    };
    const colors = colorsOf(s, layer, position, SHADES);
    g.globalAlpha = layer.alpha;
    for (let i = 0; i < count; i++) if (!crossed?.[i]) stamp(i, s.sprites.disc(colors(i), layer.size));
    if (!crossed) return;
    g.globalAlpha = 1;
    const cross = s.sprites.cross(WRONG, layer.size);
    for (let i = 0; i < count; i++) if (crossed[i]) stamp(i, cross); // on top of the discs
  },

  probe(g, s, b, layer, position) {
    const [x, y] = s.handle;
    const [u, v] = s.foretold(layer, b, position);
    foretell(g, b, [b.px(x), b.py(y)], [b.px(u), b.py(v)]);
    for (const [radius, color] of /** @type {[number, string][]} */ ([[9, INK], [6.5, "#ffffff"], [3, INK]])) {
      g.fillStyle = color;
      circle(g, [b.px(x), b.py(y)], radius);
    }
  },

  lines(g, s, b, layer, position) {
    const [count, vertices] = s.arrays.shape(layer.xy);
    const at = pixelsOf(b, s.arrays.read(layer.xy, position));
    const pen = Pen.on(g, b);
    stroke(g, layer);
    g.beginPath();
    for (let p = 0; p < count; p++) pen.line(vertices, (v) => at(p * vertices + v));
    g.stroke();
  },

  trails(g, s, b, layer, position) {
    const [count] = s.arrays.shape(layer.xy);
    const now = pixelsOf(b, s.arrays.read(layer.xy, position));
    const last = Math.floor(position);
    const first = Math.max(0, last - layer.length + 1);
    const pen = Pen.on(g, b);
    stroke(g, layer);
    g.beginPath();
    for (let n = 0; n < count; n++) {
      pen.line(last - first + 1, (v) => pixelsOf(b, s.arrays.place(layer.xy, first + v, n))(0));
      pen.lineTo(...now(n));
    }
    g.stroke();
  },

  arrows(g, s, b, layer, position) {
    const [count] = s.arrays.shape(layer.xy);
    const tail = pixelsOf(b, s.arrays.read(layer.xy, position));
    const head = pixelsOf(b, s.arrays.read(layer.heads, position));
    const pen = Pen.on(g, b);
    stroke(g, layer);
    g.beginPath();
    for (let i = 0; i < count; i++) {
      const [[x0, y0], [x1, y1]] = [tail(i), head(i)];
      const length = Math.hypot(x1 - x0, y1 - y0);
      if (length < 0.5) continue; // no direction to show
      const barb = Math.min(7, length * 0.45);
      const angle = Math.atan2(y1 - y0, x1 - x0);
      pen.moveTo(x0, y0);
      pen.lineTo(x1, y1);
      for (const side of [-0.5, 0.5]) {
        pen.moveTo(x1, y1);
        pen.lineTo(x1 - barb * Math.cos(angle + side), y1 - barb * Math.sin(angle + side));
      }
    }
    g.stroke();
  },

  ribbons(g, s, b, layer, position) {
    const [count, vertices] = s.arrays.shape(layer.xy);
    const at = pixelsOf(b, s.arrays.read(layer.xy, position));
    const widths = s.arrays.read(layer.widths, position);
    g.strokeStyle = g.fillStyle = layer.color;
    g.globalAlpha = layer.alpha;
    for (let p = 0; p < count; p++) {
      if (widths[p] < 0.4) continue;
      ribbon(g, b, Array.from({ length: vertices }, (_, v) => at(p * vertices + v)), widths[p], layer);
    }
  },

  graph(g, s, b, layer, position) {
    const [count] = s.arrays.shape(layer.xy);
    const at = pixelsOf(b, s.arrays.read(layer.xy, position));
    const widths = s.arrays.read(layer.widths, position);
    const colors = colorsOf(s, layer, position);
    g.strokeStyle = layer.color;
    g.lineCap = "round";
    g.globalAlpha = 0.55; // crossing edges stay readable
    layer.edges.forEach(([from, to], e) => {
      if (widths[e] <= 0) return;
      g.lineWidth = widths[e];
      trace(g, b, 2, (v) => at(v ? to : from));
    });
    g.globalAlpha = 1;
    g.lineWidth = 2;
    g.strokeStyle = "#ffffff";
    for (let i = 0; i < count; i++) {
      g.fillStyle = colors(i);
      circle(g, at(i), layer.size / 2);
      g.stroke();
    }
  },

  bars(g, s, b, layer, position) {
    const heights = s.arrays.read(layer.heights, position);
    const centres = s.arrays.read(layer.positions, position);
    g.fillStyle = layer.color;
    g.globalAlpha = layer.alpha;
    for (let i = 0; i < heights.length; i++) {
      const x0 = b.px(centres[i] - layer.width / 2);
      const x1 = b.px(centres[i] + layer.width / 2);
      g.fillRect(x0, b.py(Math.max(0, heights[i])), x1 - x0, b.py(0) - b.py(Math.abs(heights[i])));
    }
  },

  curve(g, s, b, layer, position) {
    const [count] = s.arrays.shape(layer.xy);
    const at = pixelsOf(b, s.arrays.read(layer.xy, 0));
    stroke(g, layer);
    if (layer.marker) running(g, b, layer, position, count - 1, at);
    else trace(g, b, count, at);
  },

  accounts(g, s, b, layer, position) {
    const [count] = s.arrays.shape(layer.x);
    const from = s.chosen * count;
    if (s.chosen >= s.arrays.shape(layer.y)[0]) return; // another scene's particle
    /** @type {(v: number) => Place} */
    const at = (v) => [b.px(s.arrays.number(layer.x, v)), b.py(s.arrays.number(layer.y, from + v))];
    g.strokeStyle = HALO; // apart from the faint curves behind
    g.lineWidth = layer.width + 3;
    trace(g, b, count, at);
    stroke(g, layer);
    running(g, b, layer, position, count - 1, at);
  },

  text(g, s, b, layer, position) {
    const [x, y] = pixelsOf(b, s.arrays.read(layer.xy, position))(0);
    const words = layer.texts[Math.min(Math.floor(position), layer.texts.length - 1)];
    g.font = `600 ${layer.size}px ${FONT}`;
    g.textAlign = layer.anchor;
    g.textBaseline = "middle";
    g.lineJoin = "round";
    g.lineWidth = 4;
    g.strokeStyle = "rgba(255,255,255,0.9)"; // a halo keeps words readable on any heat map
    g.strokeText(words, x, y);
    g.fillStyle = layer.color;
    g.fillText(words, x, y);
  },
};

/**
 * Draw a layer of a panel at a position in frames.
 * @param {Canvas} g
 * @param {Stage} stage
 * @param {Box} box
 * @param {Layer} layer
 * @param {number} position
 */
export function paint(g, stage, box, layer, position) {
  const painter = /** @type {Painter<any>} */ (PAINTERS[layer.kind]);
  g.save();
  painter(g, stage, box, layer, position);
  g.restore();
}

const ARRAY_KEYS = ["xy", "values", "heads", "widths", "heights"];

/**
 * Whether a layer changes from frame to frame.
 * @param {Arrays} arrays
 * @param {Layer} layer
 */
export function isMoving(arrays, layer) {
  if (layer.kind === "curve") return layer.marker;
  if (layer.kind === "accounts" || layer.kind === "probe") return true; // what moves is on top
  if (layer.kind === "text" && layer.texts.length > 1) return true;
  const named = /** @type {Record<string, any>} */ (layer);
  return ARRAY_KEYS.some((key) => arrays.moving(named[key]));
}
