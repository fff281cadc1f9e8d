// Flows along lines, as wide as they are strong. Sizes are in pixels, y downward.

import { Pen } from "./clip.js";

/** @import { Box } from "./types.d.ts" */
/** @typedef {[number, number][]} Polyline */

/**
 * A polyline moved to the right of its direction.
 * @param {Polyline} line
 * @param {number} away
 * @returns {Polyline}
 */
export function aside(line, away) {
  return line.map(([x, y], v) => {
    const [a, b] = [line[Math.max(0, v - 1)], line[Math.min(line.length - 1, v + 1)]];
    const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
    const length = Math.hypot(dx, dy) || 1;
    return [x - (away * dy) / length, y + (away * dx) / length];
  });
}

/**
 * The first pixels of a polyline.
 * @param {Polyline} line
 * @param {number} length
 */
export function cut(line, length) {
  /** @type {Polyline} */
  const kept = [line[0]];
  for (let v = 1, gone = 0; v < line.length; v++) {
    const [a, b] = [line[v - 1], line[v]];
    const step = Math.hypot(b[0] - a[0], b[1] - a[1]);
    if (gone + step >= length) {
      const share = (length - gone) / (step || 1);
      kept.push([a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]);
      break;
    }
    gone += step;
    kept.push(b);
  }
  return kept;
}

/**
 * One flow: a shaft and a head, or half of one where another flow may run beside it.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 * @param {Polyline} line
 * @param {number} width
 * @param {{ dash: boolean, beside: boolean }} style
 */
export function ribbon(g, box, line, width, { dash, beside }) {
  const total = line.slice(1).reduce((sum, [x, y], v) => sum + Math.hypot(x - line[v][0], y - line[v][1]), 0);
  const shaft = cut(line, total - Math.min(6 + 0.8 * width, 0.6 * total));
  const barb = 4 + 0.25 * width;
  const [low, high] = beside ? [1, 1 + width] : [-0.5 * width, 0.5 * width];
  const pen = Pen.on(g, box);
  g.lineWidth = width;
  g.setLineDash(dash ? [9, 5] : []);
  g.beginPath();
  const middle = aside(shaft, 0.5 * (low + high));
  pen.line(middle.length, (v) => middle[v]);
  g.stroke();
  const [end, tip] = [shaft.slice(-2), aside(line.slice(-2), beside ? low : 0)[1]];
  if (!pen.holds(...tip)) return; // a head is small: as far away as its tip
  g.beginPath();
  g.moveTo(...tip);
  g.lineTo(...aside(end, beside ? low : low - barb)[1]);
  g.lineTo(...aside(end, high + barb)[1]);
  g.fill();
}
