// Lines are cut where they leave the picture, as lines: their slope is kept. A canvas clips too,
// but its arithmetic is single precision, in which far ends bend.

/** @import { Box } from "./types.d.ts" */

/** @typedef {[left: number, top: number, right: number, bottom: number]} Bounds */

const REACH = 2000; // pixels around a panel: dashes of what is a little outside stay where they are

/**
 * The part of a segment inside of a rectangle (Liang and Barsky, 1984), from 0 at its start to 1 at
 * its end; null if there is none.
 * @param {number} x0
 * @param {number} y0
 * @param {number} x1
 * @param {number} y1
 * @param {Bounds} bounds
 * @returns {[from: number, to: number] | null}
 */
export function inside(x0, y0, x1, y1, [left, top, right, bottom]) {
  let from = 0, to = 1;
  const [dx, dy] = [x1 - x0, y1 - y0];
  for (const [run, room] of [[-dx, x0 - left], [dx, right - x0], [-dy, y0 - top], [dy, bottom - y0]]) {
    if (run === 0) {
      if (room < 0) return null; // along this edge, outside
      continue;
    }
    const share = room / run;
    if (run < 0) from = Math.max(from, share);
    else to = Math.min(to, share);
  }
  return from <= to ? [from, to] : null;
}

/** Draws polylines on a canvas, cut at a rectangle: moveTo and lineTo as of the canvas itself. */
export class Pen {
  #x = 0;
  #y = 0;
  #down = false;

  /**
   * @param {Pick<CanvasRenderingContext2D, "moveTo" | "lineTo">} g
   * @param {Bounds} bounds
   */
  constructor(g, bounds) {
    this.g = g;
    this.bounds = bounds;
  }

  /**
   * A pen for a panel.
   * @param {CanvasRenderingContext2D} g
   * @param {Box} box
   */
  static on(g, { left, top, w, h }) {
    return new Pen(g, [left - REACH, top - REACH, left + w + REACH, top + h + REACH]);
  }

  /**
   * Whether a place is near enough to be drawn.
   * @param {number} x
   * @param {number} y
   */
  holds(x, y) {
    const [left, top, right, bottom] = this.bounds;
    return x >= left && x <= right && y >= top && y <= bottom;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  moveTo(x, y) {
    this.#x = x;
    this.#y = y;
    this.#down = false;
  }

  /**
   * @param {number} x
   * @param {number} y
   */
  lineTo(x, y) {
    const [x0, y0] = [this.#x, this.#y];
    const part = this.#down && this.holds(x, y) ? [0, 1] : inside(x0, y0, x, y, this.bounds);
    if (part) {
      const [from, to] = part;
      if (!this.#down || from > 0) this.g.moveTo(x0 + from * (x - x0), y0 + from * (y - y0));
      if (to === 1) this.g.lineTo(x, y);
      else this.g.lineTo(x0 + to * (x - x0), y0 + to * (y - y0));
    }
    this.#down = part !== null && part[1] === 1;
    this.#x = x;
    this.#y = y;
  }

  /**
   * A polyline through `count` places.
   * @param {number} count
   * @param {(vertex: number) => [number, number]} at
   */
  line(count, at) {
    for (let v = 0; v < count; v++) {
      if (v) this.lineTo(...at(v));
      else this.moveTo(...at(v));
    }
  }
}
