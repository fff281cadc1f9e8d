// Handles on the canvases of a scene: dragged by pointer or moved by keys, without a kernel.

import { guardKeys, keyMove, make } from "./dom.js";
import { numberText, readingPower } from "./numbers.js";
import { layersOf } from "./stage.js";

/** @import { Box, Pair, Panel } from "./types.d.ts" */
/** @import { Stage } from "./stage.js" */

const NUDGE = 0.01; // of the panel's width, per key press; five times as much with Shift
const REST_MS = 350; // the place is read out when the handle has rested this long

/**
 * A place in words.
 * @param {Pair} place
 * @param {Pick<Panel, "x" | "y">} panel
 */
export const placeText = ([x, y], panel) =>
  `(${numberText(x, readingPower(panel.x))}, ${numberText(y, readingPower(panel.y))})`;

/** @param {Panel} panel */
const probeOf = (panel) => layersOf(panel, "probe").at(0);

/** The handles over the panels with a probe; all show one place. */
export class Probes {
  /** @type {{ handle: HTMLElement, panel: Panel, i: number }[]} */
  #handles = [];
  /** @type {(() => void)[]} */
  #free = [];
  #quiet = 0;

  /**
   * @param {HTMLElement} row where the canvases are
   * @param {Stage} stage
   * @param {{ redraw(only: (panel: Panel) => boolean): void, rest(): void }} on a handle was moved,
   *   and has rested
   */
  constructor(row, stage, on) {
    this.stage = stage;
    this.on = on;
    stage.spec.panels.forEach((panel, i) => {
      if (probeOf(panel)) row.append(this.#handle(panel, i));
    });
  }

  /**
   * @param {Panel} panel
   * @param {number} i
   */
  #handle(panel, i) {
    const handle = make("div", {
      class: "gt-handle", tabindex: 0, role: "application",
      "aria-roledescription": "two-dimensional slider",
    });
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      handle.setPointerCapture(event.pointerId);
      handle.focus({ preventScroll: true });
      event.preventDefault();
    });
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) this.#drag(event, panel, i);
    });
    this.#free.push(guardKeys(handle, (event) => this.#key(event, panel)));
    this.#handles.push({ handle, panel, i });
    return handle;
  }

  /**
   * @param {PointerEvent} event
   * @param {Panel} panel
   * @param {number} i
   */
  #drag(event, panel, i) {
    const bounds = this.stage.canvases[i].getBoundingClientRect();
    const box = this.stage.boxes[i];
    const across = (event.clientX - bounds.left - box.left) / box.w;
    const up = (bounds.top + box.top + box.h - event.clientY) / box.h;
    this.#moveTo(panel, panel.x[0] + across * (panel.x[1] - panel.x[0]),
      panel.y[0] + up * (panel.y[1] - panel.y[0]));
  }

  /**
   * @param {KeyboardEvent} event
   * @param {Panel} panel
   */
  #key(event, panel) {
    const [dx, dy] = [panel.x, panel.y].map(([low, high]) => NUDGE * (high - low));
    const [x, y] = this.stage.handle;
    const move = keyMove(event);
    const start = probeOf(panel)?.start;
    if (event.key === "Home" && start) this.#moveTo(panel, ...start);
    else if (move) this.#moveTo(panel, x + move[0] * dx, y + move[1] * dy);
  }

  /**
   * @param {Panel} panel
   * @param {number} x
   * @param {number} y
   */
  #moveTo(panel, x, y) {
    const clamp = (/** @type {number} */ value, /** @type {Pair} */ [low, high]) => Math.max(low, Math.min(high, value));
    this.stage.handle = [clamp(x, panel.x), clamp(y, panel.y)];
    this.on.redraw((other) => Boolean(probeOf(other)));
    clearTimeout(this.#quiet);
    this.#quiet = setTimeout(() => this.on.rest(), REST_MS);
  }

  /**
   * Where the handle is and what lies ahead of it, in words.
   * @param {number} position
   */
  words(position) {
    const box = this.stage.boxes.find(({ panel }) => probeOf(panel));
    const layer = box && probeOf(box.panel);
    if (!layer) return "";
    const ahead = this.stage.foretold(layer, box, position);
    return `handle at ${placeText(this.stage.handle, box.panel)}: ${layer.name} ${placeText(ahead, box.panel)}`;
  }

  /**
   * Bring the handles to where the stage has drawn them; returns the words.
   * @param {number} position
   */
  place(position) {
    const told = this.words(position);
    const [x, y] = this.stage.handle;
    for (const { handle, panel, i } of this.#handles) {
      const box = this.stage.boxes[i];
      const canvas = this.stage.canvases[i];
      handle.style.left = `${canvas.offsetLeft + box.px(x)}px`;
      handle.style.top = `${canvas.offsetTop + box.py(y)}px`;
      handle.setAttribute("aria-label",
        `${panel.title || "Plane"}, ${told}. Arrow keys move, Shift moves faster, Home returns.`);
    }
    return told;
  }

  stop() {
    clearTimeout(this.#quiet);
    this.#free.forEach((free) => free());
  }
}
