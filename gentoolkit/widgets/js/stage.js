// The drawing of a scene: one canvas per panel, still layers painted once, moving layers per frame.

import { Arrays } from "./arrays.js";
import { drawAxes, drawGround, INK, pencil, ruler } from "./axes.js";
import { foretell, haloed, isMoving, paint, pixelsOf, trace } from "./layers.js";
import { layout } from "./layout.js";
import { numberText, readingPower } from "./numbers.js";
import { Sprites } from "./sprites.js";

/** @import { Accounts, Box, Layer, Pair, Panel, Points, Probe, Spec } from "./types.d.ts" */

const NEAR = 12; // pixels from a click to the point it means

/**
 * The layers of one kind.
 * @template {Layer["kind"]} K
 * @param {Panel} panel
 * @param {K} kind
 */
export const layersOf = (panel, kind) =>
  panel.layers.filter((layer) => layer.kind === kind).map((layer) => /** @type {Extract<Layer, { kind: K }>} */ (layer));

export class Stage {
  selected = -1;
  tile = document.createElement("canvas"); // small pictures on their way to a panel
  sprites = new Sprites(1);
  /** @type {Box[]} */
  boxes = []; // empty until the first layout
  /** @type {{ canvas: HTMLCanvasElement, rest: Layer[] }[]} */
  #grounds = [];
  /** @type {{ layer: Accounts, panel: Panel }[]} */
  #accounts;

  /**
   * Canvases for `spec` inside of `row`; `view` holds its numbers.
   * @param {HTMLElement} row
   * @param {Spec} spec
   * @param {DataView} view
   */
  constructor(row, spec, view) {
    this.spec = spec;
    this.arrays = new Arrays(spec.arrays, view);
    this.#accounts = spec.panels.flatMap((panel) => layersOf(panel, "accounts").map((layer) => ({ layer, panel })));
    const [probe] = spec.panels.flatMap((panel) => layersOf(panel, "probe"));
    /** @type {Pair} */
    this.handle = probe ? [...probe.start] : [NaN, NaN];
    this.probed = Boolean(probe);
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
    return this.selected < 0 && this.#accounts.length ? 0 : this.selected;
  }

  /** How many particles have an account. */
  get accounted() {
    return this.#accounts.length ? this.arrays.shape(this.#accounts[0].layer.y)[0] : 0;
  }

  /**
   * The chosen particle's account at a frame, in words.
   * @param {number} frame
   */
  account(frame) {
    const { chosen, accounted } = this;
    if (chosen < 0 || chosen >= accounted) return "";
    const numbers = this.#accounts.map(({ layer, panel }) => {
      const value = this.arrays.number(layer.y, chosen * this.spec.frames + frame);
      return `${layer.name} ${numberText(value, readingPower(panel.y), Math.max(...panel.y.map(Math.abs)))}`;
    });
    return `point ${chosen + 1} of ${accounted}: ${numbers.join(", ")}`;
  }

  /**
   * What the field of a probe gives for the handle's place, between its grid points.
   * @param {Probe} layer
   * @param {{ panel: Panel }} box
   * @param {number} position
   * @returns {Pair}
   */
  foretold(layer, { panel }, position) {
    const [rows, columns] = this.arrays.shape(layer.field);
    const field = this.arrays.read(layer.field, position);
    const ranges = [panel.x, panel.y];
    const cell = ranges.map(([low, high], k) =>
      ((this.handle[k] - low) / (high - low)) * ([columns, rows][k] - 1));
    const [c, r] = cell.map((v, k) => Math.max(0, Math.min([columns, rows][k] - 2, Math.floor(v))));
    const [a, b] = [cell[0] - c, cell[1] - r];
    const [x, y] = ranges.map(([low, high], k) => {
      const at = (/** @type {number} */ row, /** @type {number} */ column) => field[2 * (row * columns + column) + k];
      const share = (1 - b) * ((1 - a) * at(r, c) + a * at(r, c + 1)) +
        b * ((1 - a) * at(r + 1, c) + a * at(r + 1, c + 1));
      return low + share * (high - low);
    });
    return [x, y];
  }

  /**
   * Lay out for a width and paint what never changes.
   * @param {number} width
   * @param {number} ratio device pixels of a CSS pixel
   */
  resize(width, ratio) {
    this.sprites = new Sprites(ratio);
    this.boxes = layout(this.spec.panels, width, ruler());
    this.#grounds = this.boxes.map((box, i) => {
      const canvas = this.canvases[i];
      // Whole pixels of the screen, also where it has a fraction of them to a CSS pixel.
      canvas.width = Math.floor(box.outerW * ratio);
      canvas.height = Math.floor(box.outerH * ratio);
      canvas.style.width = `${canvas.width / ratio}px`;
      canvas.style.height = `${canvas.height / ratio}px`;
      const { layers } = box.panel;
      const moving = layers.findIndex((layer) => isMoving(this.arrays, layer));
      const ground = document.createElement("canvas");
      ground.width = canvas.width;
      ground.height = canvas.height;
      const g = pencil(ground);
      g.scale(ratio, ratio);
      drawGround(g, box);
      this.#paint(g, box, moving < 0 ? layers : layers.slice(0, moving), 0);
      return { canvas: ground, rest: moving < 0 ? [] : layers.slice(moving) };
    });
  }

  /**
   * Draw the panels at a position in frames: all, or those that `only` accepts.
   * @param {number} position
   * @param {(panel: Panel) => boolean} [only]
   */
  draw(position, only = () => true) {
    this.boxes.forEach((box, i) => {
      if (!only(box.panel)) return;
      const g = pencil(this.canvases[i]);
      g.setTransform(1, 0, 0, 1, 0, 0);
      g.drawImage(this.#grounds[i].canvas, 0, 0);
      g.scale(this.sprites.ratio, this.sprites.ratio);
      this.#paint(g, box, this.#grounds[i].rest, position);
      this.#paintSelected(g, box, position);
      drawAxes(g, box);
    });
  }

  /**
   * @param {CanvasRenderingContext2D} g
   * @param {Box} box
   */
  #clip(g, { left, top, w, h }) {
    g.save();
    g.beginPath();
    g.rect(left, top, w, h);
    g.clip();
  }

  /**
   * @param {CanvasRenderingContext2D} g
   * @param {Box} box
   * @param {Layer[]} layers
   * @param {number} position
   */
  #paint(g, box, layers, position) {
    this.#clip(g, box);
    for (const layer of layers) paint(g, this, box, layer, position);
    g.restore();
  }

  /**
   * The points of a panel that move, which can be selected.
   * @param {Panel} panel
   * @returns {Points | undefined}
   */
  #movingPoints(panel) {
    return layersOf(panel, "points").find((layer) => this.arrays.moving(layer.xy));
  }

  /**
   * @param {CanvasRenderingContext2D} g
   * @param {Box} box
   * @param {number} position
   */
  #paintSelected(g, box, position) {
    const layer = this.#movingPoints(box.panel);
    const { chosen } = this;
    if (!layer || chosen < 0 || chosen >= this.arrays.shape(layer.xy)[0]) return;
    this.#clip(g, box);
    g.lineJoin = "round";
    const path = (/** @type {number} */ frame) => pixelsOf(box, this.arrays.place(layer.xy, frame, chosen))(0);
    haloed(g, 2, () => trace(g, box, this.spec.frames, path));
    const here = pixelsOf(box, this.arrays.read(layer.xy, position))(chosen);
    if (layer.ghosts) {
      foretell(g, box, here, pixelsOf(box, this.arrays.read(layer.ghosts, position))(chosen));
    }
    g.strokeStyle = INK;
    g.lineWidth = 2;
    g.beginPath();
    g.arc(...here, 7, 0, 2 * Math.PI);
    g.fillStyle = layer.color;
    g.fill();
    g.stroke();
    g.restore();
  }

  /**
   * The moving point nearest to a click on canvas `i`, or -1; null where nothing moves.
   * @param {number} i
   * @param {MouseEvent} event
   * @param {number} position
   */
  pick(i, event, position) {
    const box = this.boxes[i];
    const layer = this.#movingPoints(box.panel);
    if (!layer) return null;
    const at = pixelsOf(box, this.arrays.read(layer.xy, position));
    let [best, distance] = [-1, NEAR];
    for (let k = 0; k < this.arrays.shape(layer.xy)[0]; k++) {
      const [x, y] = at(k);
      const away = Math.hypot(x - event.offsetX, y - event.offsetY);
      if (away < distance) [best, distance] = [k, away];
    }
    return best;
  }
}
