// The drawing of a scene: one canvas per panel, still layers painted once, moving layers per frame.

import { foretell, isMoving, PAINTERS } from "./layers.js";
import { drawAxes, drawGround, INK, layout } from "./plot.js";

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };

/** The scene's arrays, read from one buffer and handed out per (fractional) frame. */
class Arrays {
  constructor(table, view) {
    // One copy, so that every array starts on a multiple of its item size.
    const buffer = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    this.entries = {};
    for (const [name, entry] of Object.entries(table)) {
      const size = entry.shape.reduce((a, b) => a * b, 1);
      const shape = entry.moving ? entry.shape.slice(1) : entry.shape;
      const stride = entry.moving ? size / entry.shape[0] : size;
      this.entries[name] = {
        data: new TYPES[entry.dtype](buffer, entry.offset, size),
        moving: entry.moving, last: entry.moving ? entry.shape[0] - 1 : 0,
        shape, stride, lo: entry.lo, hi: entry.hi, dtype: entry.dtype,
        scratch: new Float32Array(stride), at: -1,
      };
    }
  }

  shape(name) {
    return this.entries[name].shape;
  }

  moving(name) {
    return name !== undefined && this.entries[name].moving;
  }

  raw(name) {
    return this.entries[name].data;
  }

  /** Values at a position between two frames; positions in data units, the rest as stored. */
  read(name, position) {
    const e = this.entries[name];
    const at = e.moving ? Math.min(position, e.last) : 0;
    if (e.at === at) return e.scratch;
    e.at = at;
    const frame = Math.min(Math.floor(at), e.last);
    const from = frame * e.stride;
    const share = at - frame;
    const { data, scratch, stride } = e;
    if (share > 0) {
      for (let i = 0; i < stride; i++) {
        const value = data[from + i];
        scratch[i] = value + share * (data[from + stride + i] - value);
      }
    } else {
      for (let i = 0; i < stride; i++) scratch[i] = data[from + i];
    }
    if (e.dtype === "uint16") {
      const [x0, y0] = e.lo;
      const kx = (e.hi[0] - x0) / 65535;
      const ky = (e.hi[1] - y0) / 65535;
      for (let i = 0; i < stride; i += 2) {
        scratch[i] = x0 + scratch[i] * kx;
        scratch[i + 1] = y0 + scratch[i + 1] * ky;
      }
    }
    return scratch;
  }

  /** One point of a moving array at a whole frame, without touching the rest. */
  point(name, frame, index) {
    const e = this.entries[name];
    const i = (e.moving ? Math.min(frame, e.last) : 0) * e.stride + 2 * index;
    const scale = (k) => e.lo[k] + (e.data[i + k] * (e.hi[k] - e.lo[k])) / 65535;
    return [scale(0), scale(1)];
  }
}

/** A disc painted once and stamped many times: far cheaper than one arc per particle. */
function disc(color, size, ratio) {
  const side = Math.ceil(size * ratio) + 2;
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const g = canvas.getContext("2d");
  g.fillStyle = color;
  g.beginPath();
  g.arc(side / 2, side / 2, (size * ratio) / 2, 0, 2 * Math.PI);
  g.fill();
  return { canvas, side: side / ratio };
}

/** A cross with a white rim, painted once. */
function cross(color, size, ratio) {
  const arm = 0.45 * size + 1.5;
  const side = Math.ceil((2 * arm + 4) * ratio);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const g = canvas.getContext("2d");
  g.translate(side / 2, side / 2);
  g.scale(ratio, ratio);
  for (const [style, width] of [["rgba(255,255,255,0.8)", 4], [color, 2]]) {
    g.strokeStyle = style;
    g.lineWidth = width;
    g.beginPath();
    g.moveTo(-arm, -arm);
    g.lineTo(arm, arm);
    g.moveTo(-arm, arm);
    g.lineTo(arm, -arm);
    g.stroke();
  }
  return { canvas, side: side / ratio };
}

export class Stage {
  /** Canvases for `spec` inside of `row`; `view` is the DataView of its buffer. */
  constructor(row, spec, view) {
    this.row = row;
    this.spec = spec;
    this.arrays = new Arrays(spec.arrays, view);
    this.tile = document.createElement("canvas"); // small pictures on their way to a panel
    this.sprites = new Map();
    this.selected = -1;
    this.accounts = spec.panels.flatMap((p) => p.layers.filter((l) => l.kind === "accounts"));
    const probe = spec.panels.flatMap((p) => p.layers).find((l) => l.kind === "probe");
    this.probed = probe ? [...probe.start] : null;
    this.canvases = spec.panels.map((panel) => {
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", panel.title ? `${spec.alt} Panel: ${panel.title}` : spec.alt);
      return canvas;
    });
    row.replaceChildren(...this.canvases);
  }

  /** The particle whose path and account are shown: the selected one; 0 where accounts need one. */
  get chosen() {
    return this.selected < 0 && this.accounts.length ? 0 : this.selected;
  }

  /** How many particles have an account. */
  get accounted() {
    return this.accounts.length ? this.arrays.shape(this.accounts[0].y)[0] : 0;
  }

  /** The chosen particle's account at a frame, in words. */
  account(frame) {
    const { chosen, accounted } = this;
    if (chosen < 0 || chosen >= accounted) return "";
    const numbers = this.accounts.map((layer) => {
      const value = this.arrays.raw(layer.y)[chosen * this.spec.frames + frame];
      return `${layer.name} ${value.toFixed(2).replace("-", "\u2212")}`;
    });
    return `point ${chosen + 1} of ${accounted}: ${numbers.join(", ")}`;
  }

  sprite(color, size) {
    const key = `${color}/${size}`;
    if (!this.sprites.has(key)) this.sprites.set(key, disc(color, size, this.ratio));
    return this.sprites.get(key);
  }

  cross(color, size) {
    const key = `cross ${color}/${size}`;
    if (!this.sprites.has(key)) this.sprites.set(key, cross(color, size, this.ratio));
    return this.sprites.get(key);
  }

  /** What the field of a probe gives for the handle's place, between its grid points. */
  foretold(layer, position) {
    const [rows, columns] = this.arrays.shape(layer.field);
    const field = this.arrays.read(layer.field, position);
    const { panel } = this.boxes.find((box) => box.panel.layers.includes(layer));
    const cell = [panel.x, panel.y].map(([low, high], k) =>
      ((this.probed[k] - low) / (high - low)) * ([columns, rows][k] - 1));
    const [c, r] = cell.map((v, k) => Math.max(0, Math.min([columns, rows][k] - 2, Math.floor(v))));
    const [a, b] = [cell[0] - c, cell[1] - r];
    return [0, 1].map((k) => {
      const at = (row, column) => field[2 * (row * columns + column) + k];
      return (1 - b) * ((1 - a) * at(r, c) + a * at(r, c + 1)) +
        b * ((1 - a) * at(r + 1, c) + a * at(r + 1, c + 1));
    });
  }

  /** Lay out for a width and paint what never changes. */
  resize(width, ratio) {
    this.ratio = ratio;
    this.sprites.clear();
    this.boxes = layout(this.spec.panels, width);
    this.grounds = this.boxes.map((box, i) => {
      const canvas = this.canvases[i];
      canvas.width = Math.round(box.outerW * ratio);
      canvas.height = Math.round(box.outerH * ratio);
      canvas.style.width = `${box.outerW}px`;
      canvas.style.height = `${box.outerH}px`;
      const layers = box.panel.layers;
      const moving = layers.findIndex((layer) => isMoving(this.arrays, layer));
      const ground = document.createElement("canvas");
      ground.width = canvas.width;
      ground.height = canvas.height;
      const g = ground.getContext("2d");
      g.scale(ratio, ratio);
      drawGround(g, box);
      this.#paint(g, box, moving < 0 ? layers : layers.slice(0, moving), 0);
      return { canvas: ground, rest: moving < 0 ? [] : layers.slice(moving) };
    });
  }

  /** Draw the panels at a position in frames: all, or those that `only` accepts. */
  draw(position, only = () => true) {
    this.boxes.forEach((box, i) => {
      if (!only(box.panel)) return;
      const g = this.canvases[i].getContext("2d");
      g.setTransform(1, 0, 0, 1, 0, 0);
      g.drawImage(this.grounds[i].canvas, 0, 0);
      g.scale(this.ratio, this.ratio);
      this.#paint(g, box, this.grounds[i].rest, position);
      this.#paintSelected(g, box, position);
      drawAxes(g, box);
    });
  }

  #paint(g, box, layers, position) {
    g.save();
    g.beginPath();
    g.rect(box.left, box.top, box.w, box.h);
    g.clip();
    for (const layer of layers) {
      g.save();
      PAINTERS[layer.kind](g, this, box, layer, position);
      g.restore();
    }
    g.restore();
  }

  #movingPoints(panel) {
    return panel.layers.find((l) => l.kind === "points" && this.arrays.moving(l.xy));
  }

  #paintSelected(g, box, position) {
    const layer = this.#movingPoints(box.panel);
    const { chosen } = this;
    if (!layer || chosen < 0 || chosen >= this.arrays.shape(layer.xy)[0]) return;
    g.save();
    g.beginPath();
    g.rect(box.left, box.top, box.w, box.h);
    g.clip();
    g.beginPath();
    for (let f = 0; f < this.spec.frames; f++) {
      const [x, y] = this.arrays.point(layer.xy, f, chosen);
      if (f) g.lineTo(box.px(x), box.py(y));
      else g.moveTo(box.px(x), box.py(y));
    }
    g.lineJoin = "round";
    for (const [style, width] of [["rgba(255,255,255,0.85)", 4.5], [INK, 2]]) {
      g.strokeStyle = style;
      g.lineWidth = width;
      g.stroke();
    }
    const xy = this.arrays.read(layer.xy, position);
    if (layer.ghosts) {
      const there = this.arrays.read(layer.ghosts, position);
      const pixels = (at) => [box.px(at[2 * chosen]), box.py(at[2 * chosen + 1])];
      foretell(g, pixels(xy), pixels(there));
    }
    g.strokeStyle = INK;
    g.lineWidth = 2;
    g.beginPath();
    g.arc(box.px(xy[2 * chosen]), box.py(xy[2 * chosen + 1]), 7, 0, 2 * Math.PI);
    g.fillStyle = layer.color;
    g.fill();
    g.stroke();
    g.restore();
  }

  /** The moving point nearest to a click on canvas `i`, or -1. */
  pick(i, event, position) {
    const box = this.boxes[i];
    const layer = this.#movingPoints(box.panel);
    if (!layer) return null;
    const xy = this.arrays.read(layer.xy, position);
    let best = -1;
    let distance = 12; // pixels
    for (let k = 0; k < xy.length / 2; k++) {
      const away = Math.hypot(box.px(xy[2 * k]) - event.offsetX, box.py(xy[2 * k + 1]) - event.offsetY);
      if (away < distance) [best, distance] = [k, away];
    }
    return best;
  }
}
