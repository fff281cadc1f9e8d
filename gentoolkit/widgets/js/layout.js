// Where the panels of a scene lie. Sizes are in CSS pixels.

import { fittingTicks, ticks } from "./numbers.js";

/** @import { Box, Panel } from "./types.d.ts" */

const GAP = 20; // between panels
const WIDEST = 460; // a panel of weight 1

/** @typedef {(text: string) => number} Measure the width of a tick's label */

/**
 * The width that an axis needs on its left: tick labels, and the axis' name turned upright.
 * @param {Panel} panel
 * @param {Measure} measure
 */
function leftMargin(panel, measure) {
  if (!panel.axes) return 1;
  const widest = Math.max(0, ...ticks(...panel.y, 5).map(({ text }) => measure(text)));
  return Math.ceil(widest) + 12 + (panel.y_label ? 24 : 0);
}

/**
 * Place the panels in rows that fit `width`. Panels of a row share their top, their height and
 * their bottom margin, so that plot areas stand in line.
 * @param {Panel[]} panels
 * @param {number} width
 * @param {Measure} measure
 */
export function layout(panels, width, measure) {
  const perRow = inOneRow(panels, width);
  /** @type {Box[]} */
  const boxes = [];
  for (let i = 0; i < panels.length; i += perRow) {
    boxes.push(...placeRow(panels.slice(i, i + perRow), width, measure));
  }
  return boxes;
}

/**
 * @param {Panel[]} row
 * @param {number} width
 * @param {Measure} measure
 * @returns {Box[]}
 */
function placeRow(row, width, measure) {
  const weights = row.reduce((sum, p) => sum + p.weight, 0);
  const free = Math.min(width, rowWidth(row)) - GAP * (row.length - 1);
  const top = row.some((p) => p.title) ? 32 : 8;
  const bottom = row.some((p) => p.axes) ? 28 + (row.some((p) => p.axes && p.x_label) ? 22 : 0) : 4;
  const placed = row.map((panel) => {
    const outer = Math.floor((free * panel.weight) / weights);
    const left = leftMargin(panel, measure);
    const w = outer - left - (panel.axes ? 12 : 1);
    return { panel, outer, left, w, natural: (w * (panel.y[1] - panel.y[0])) / (panel.x[1] - panel.x[0]) };
  });
  const equal = placed.filter(({ panel }) => panel.equal).map(({ natural }) => natural);
  const heights = equal.length ? equal : [placed[0].w / 1.6];
  const alike = heights.filter((h) => h >= 0.75 * Math.max(...heights)); // get the same height
  const height = Math.round(Math.min(...alike, 620));
  return placed.map(({ panel, outer, left, w: room, natural }) => {
    const h = panel.equal ? Math.min(height, Math.round(natural)) : height;
    // A tall panel whose height was cut keeps its unit lengths and gives up width.
    const w = panel.equal ? Math.min(room, Math.round((room * h) / natural)) : room;
    const area = { panel, left, top, w, h, outerW: outer, outerH: top + height + bottom };
    return { ...area, ...projection(area), ...marks(panel, w, measure) };
  });
}

/**
 * How coordinates become pixels, y downward.
 * @param {Pick<Box, "panel" | "left" | "top" | "w" | "h">} area
 */
export function projection({ panel: { x, y }, left, top, w, h }) {
  const sx = (/** @type {number} */ share) => left + share * w;
  const sy = (/** @type {number} */ share) => top + h - share * h;
  return {
    sx, sy,
    px: (/** @type {number} */ value) => sx((value - x[0]) / (x[1] - x[0])),
    py: (/** @type {number} */ value) => sy((value - y[0]) / (y[1] - y[0])),
  };
}

/**
 * @param {Panel} panel
 * @param {number} width
 * @param {Measure} measure
 */
function marks(panel, width, measure) {
  if (!panel.axes) return { across: [], up: [] };
  return { across: fittingTicks(panel.x, width, measure), up: ticks(...panel.y, 5) };
}

/**
 * The width that panels take in one row when there is room.
 * @param {Pick<Panel, "weight">[]} panels
 */
export function rowWidth(panels) {
  return WIDEST * panels.reduce((sum, p) => sum + p.weight, 0) + GAP * (panels.length - 1);
}

/**
 * Wide enough for all panels in a row, and for the controls below.
 * @param {Pick<Panel, "weight">[]} panels
 */
export function cardWidth(panels) {
  return Math.min(1040, Math.max(600, rowWidth(panels) + 38));
}

/**
 * @param {Panel[]} panels
 * @param {number} width
 */
function inOneRow(panels, width) {
  const narrowest = panels.length > 2 ? 250 : 280;
  const most = Math.max(1, Math.min(panels.length, Math.floor((width + GAP) / (narrowest + GAP))));
  return Math.ceil(panels.length / Math.ceil(panels.length / most)); // rows of about equal length
}
