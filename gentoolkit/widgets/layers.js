// How each kind of layer is drawn on a canvas.

import { FONT, INK } from "./plot.js";
import { ribbon } from "./ribbon.js";

const SHADES = 32; // distinct disc colours along a colour map
const WRONG = "#b2182b"; // crosses: what missed its aim

function colorAt(map, value) {
  const k = 3 * Math.max(0, Math.min(255, Math.round(value)));
  return `rgb(${map[k]},${map[k + 1]},${map[k + 2]})`;
}

export function paintShades(map, values, offset, rows, columns, upward, canvas) {
  canvas.width = columns;
  canvas.height = rows;
  const g = canvas.getContext("2d");
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

function stroke(g, layer) {
  g.strokeStyle = layer.color;
  g.lineWidth = layer.width;
  g.globalAlpha = layer.alpha;
  g.lineJoin = "round";
  g.lineCap = layer.dash ? "butt" : "round";
  g.setLineDash(layer.dash ? [3.5 * layer.width + 2, 2.5 * layer.width + 1] : []);
}

/** Stroke the vertices `from` to `to`, and on to `end` if it is given; `at(v)` gives pixels. */
function trace(g, from, to, at, end) {
  g.beginPath();
  for (let v = from; v <= to; v++) {
    if (v > from) g.lineTo(...at(v));
    else g.moveTo(...at(v));
  }
  if (end) g.lineTo(...end);
  g.stroke();
}

/** A curve with one vertex per frame: pale ahead of the current position, and a dot there. */
function running(g, layer, position, last, at) {
  const frame = Math.min(Math.floor(position), last);
  const [a, b] = [at(frame), at(Math.min(frame + 1, last))];
  const share = Math.min(position, last) - frame;
  const here = [0, 1].map((k) => a[k] + share * (b[k] - a[k]));
  g.globalAlpha = 0.28;
  trace(g, 0, last, at);
  g.globalAlpha = 1;
  trace(g, 0, frame, at, here);
  g.setLineDash([]);
  g.fillStyle = layer.color;
  g.strokeStyle = "#ffffff";
  g.lineWidth = 2;
  g.beginPath();
  g.arc(...here, 6, 0, 2 * Math.PI);
  g.fill();
  g.stroke();
}

/** A dashed line from a place to the ring around another, in pixels. */
export function foretell(g, here, there) {
  for (const [style, width, dash] of [["rgba(255,255,255,0.85)", 5, []], [INK, 2, [7, 5]]]) {
    g.strokeStyle = style;
    g.lineWidth = width;
    g.setLineDash(dash);
    g.beginPath();
    g.moveTo(...here);
    g.lineTo(...there);
    g.stroke();
    g.setLineDash([]);
    g.lineWidth = Math.max(width, 2.5);
    g.beginPath();
    g.arc(...there, 9, 0, 2 * Math.PI);
    g.stroke();
  }
}

/** How each kind of layer is drawn. `s` is the stage, `b` the box of the panel. */
export const PAINTERS = {
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
    const xy = s.arrays.read(layer.xy, position);
    const crossed = layer.crossed ? s.arrays.raw(layer.crossed) : null;
    const stamp = (i, { canvas, side }) =>
      g.drawImage(canvas, b.px(xy[2 * i]) - side / 2, b.py(xy[2 * i + 1]) - side / 2, side, side);
    const crosses = () => { // on top of the discs
      const cross = crossed && s.cross(WRONG, layer.size);
      g.globalAlpha = 1;
      crossed?.forEach((yes, i) => yes && stamp(i, cross));
    };
    g.globalAlpha = layer.alpha;
    if (!layer.values) {
      const dot = s.sprite(layer.color, layer.size);
      for (let i = 0; i < xy.length / 2; i++) if (!crossed?.[i]) stamp(i, dot);
      crosses();
      return;
    }
    const values = s.arrays.read(layer.values, position);
    const map = s.arrays.raw(layer.colormap);
    const exact = s.spec.arrays[layer.colormap].colormap === "classes"; // labels, not a scale
    for (let i = 0; i < values.length; i++) {
      if (crossed?.[i]) continue;
      const shade = exact ? values[i] : (Math.round((values[i] * SHADES) / 255) * 255) / SHADES;
      stamp(i, s.sprite(colorAt(map, shade), layer.size));
    }
    crosses();
  },

  probe(g, s, b, layer, position) {
    const [x, y] = s.probed;
    const [u, v] = s.foretold(layer, position);
    foretell(g, [b.px(x), b.py(y)], [b.px(u), b.py(v)]);
    for (const [radius, color] of [[9, INK], [6.5, "#ffffff"], [3, INK]]) {
      g.fillStyle = color;
      g.beginPath();
      g.arc(b.px(x), b.py(y), radius, 0, 2 * Math.PI);
      g.fill();
    }
  },

  lines(g, s, b, layer, position) {
    const [count, vertices] = s.arrays.shape(layer.xy);
    const xy = s.arrays.read(layer.xy, position);
    stroke(g, layer);
    g.beginPath();
    for (let p = 0; p < count; p++) {
      for (let v = 0; v < vertices; v++) {
        const i = 2 * (p * vertices + v);
        if (v) g.lineTo(b.px(xy[i]), b.py(xy[i + 1]));
        else g.moveTo(b.px(xy[i]), b.py(xy[i + 1]));
      }
    }
    g.stroke();
  },

  trails(g, s, b, layer, position) {
    const count = s.arrays.shape(layer.xy)[0];
    const now = s.arrays.read(layer.xy, position);
    const last = Math.floor(position);
    stroke(g, layer);
    g.beginPath();
    for (let n = 0; n < count; n++) {
      for (let f = Math.max(0, last - layer.length + 1), pen = false; f <= last; f++, pen = true) {
        const [x, y] = s.arrays.point(layer.xy, f, n);
        if (pen) g.lineTo(b.px(x), b.py(y));
        else g.moveTo(b.px(x), b.py(y));
      }
      g.lineTo(b.px(now[2 * n]), b.py(now[2 * n + 1]));
    }
    g.stroke();
  },

  arrows(g, s, b, layer, position) {
    const tails = s.arrays.read(layer.xy, position);
    const heads = s.arrays.read(layer.heads, position);
    stroke(g, layer);
    g.beginPath();
    for (let i = 0; i < tails.length; i += 2) {
      const [x0, y0, x1, y1] =
        [b.px(tails[i]), b.py(tails[i + 1]), b.px(heads[i]), b.py(heads[i + 1])];
      const length = Math.hypot(x1 - x0, y1 - y0);
      if (length < 0.5) continue; // no direction to show
      const barb = Math.min(7, length * 0.45);
      const angle = Math.atan2(y1 - y0, x1 - x0);
      g.moveTo(x0, y0);
      g.lineTo(x1, y1);
      for (const side of [-0.5, 0.5]) {
        g.moveTo(x1, y1);
        g.lineTo(x1 - barb * Math.cos(angle + side), y1 - barb * Math.sin(angle + side));
      }
    }
    g.stroke();
  },

  ribbons(g, s, b, layer, position) {
    const [count, vertices] = s.arrays.shape(layer.xy);
    const xy = s.arrays.read(layer.xy, position);
    const widths = s.arrays.read(layer.widths, position);
    g.strokeStyle = g.fillStyle = layer.color;
    g.globalAlpha = layer.alpha;
    for (let p = 0; p < count; p++) {
      if (widths[p] < 0.4) continue;
      const line = Array.from({ length: vertices }, (_, v) => {
        const i = 2 * (p * vertices + v);
        return [b.px(xy[i]), b.py(xy[i + 1])];
      });
      ribbon(g, line, widths[p], layer.dash, layer.beside);
    }
  },

  graph(g, s, b, layer, position) {
    const xy = s.arrays.read(layer.xy, position);
    const widths = s.arrays.read(layer.widths, position);
    const map = layer.values && s.arrays.raw(layer.colormap);
    const values = layer.values && s.arrays.read(layer.values, position);
    g.strokeStyle = layer.color;
    g.lineCap = "round";
    g.globalAlpha = 0.55; // crossing edges stay readable
    layer.edges.forEach(([from, to], e) => {
      if (widths[e] <= 0) return;
      g.lineWidth = widths[e];
      g.beginPath();
      g.moveTo(b.px(xy[2 * from]), b.py(xy[2 * from + 1]));
      g.lineTo(b.px(xy[2 * to]), b.py(xy[2 * to + 1]));
      g.stroke();
    });
    g.globalAlpha = 1;
    g.lineWidth = 2;
    g.strokeStyle = "#ffffff";
    for (let i = 0; i < xy.length / 2; i++) {
      g.fillStyle = values ? colorAt(map, values[i]) : layer.color;
      g.beginPath();
      g.arc(b.px(xy[2 * i]), b.py(xy[2 * i + 1]), layer.size / 2, 0, 2 * Math.PI);
      g.fill();
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
    const xy = s.arrays.read(layer.xy, 0);
    const at = (v) => [b.px(xy[2 * v]), b.py(xy[2 * v + 1])];
    stroke(g, layer);
    if (layer.marker) running(g, layer, position, xy.length / 2 - 1, at);
    else trace(g, 0, xy.length / 2 - 1, at);
  },

  accounts(g, s, b, layer, position) {
    const x = s.arrays.raw(layer.x);
    const y = s.arrays.raw(layer.y);
    const from = s.chosen * x.length;
    if (from >= y.length) return; // another scene's particle
    const at = (v) => [b.px(x[v]), b.py(y[from + v])];
    g.strokeStyle = "rgba(255,255,255,0.85)"; // apart from the faint curves behind
    g.lineWidth = layer.width + 3;
    trace(g, 0, x.length - 1, at);
    stroke(g, layer);
    running(g, layer, position, x.length - 1, at);
  },

  text(g, s, b, layer, position) {
    const [x, y] = s.arrays.read(layer.xy, position);
    const words = layer.texts[Math.min(Math.floor(position), layer.texts.length - 1)];
    g.font = `600 ${layer.size}px ${FONT}`;
    g.textAlign = layer.anchor;
    g.textBaseline = "middle";
    g.lineJoin = "round";
    g.lineWidth = 4;
    g.strokeStyle = "rgba(255,255,255,0.9)"; // a halo keeps words readable on any heat map
    g.strokeText(words, b.px(x), b.py(y));
    g.fillStyle = layer.color;
    g.fillText(words, b.px(x), b.py(y));
  },
};

const ARRAY_KEYS = ["xy", "values", "heads", "widths", "heights"];

/** Whether a layer changes from frame to frame. */
export function isMoving(arrays, layer) {
  if (layer.kind === "curve") return layer.marker;
  if (layer.kind === "accounts" || layer.kind === "probe") return true; // what moves is on top
  if (layer.kind === "text" && layer.texts.length > 1) return true;
  return ARRAY_KEYS.some((key) => arrays.moving(layer[key]));
}
