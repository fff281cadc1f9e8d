// The ground of a panel below its layers, and its frame, ticks and names above them.

/** @import { Box } from "./types.d.ts" */

export const FONT = '"Inter", "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, sans-serif';
export const INK = "#1f2933";
const FAINT = "#52606d";
const GRID = "#e9edf1";
const FRAME = "#b8c2cc";
const TICK_FONT = `14px ${FONT}`;

/**
 * Measures tick labels.
 * @returns {(text: string) => number}
 */
export function ruler() {
  const g = pencil(document.createElement("canvas"));
  g.font = TICK_FONT;
  return (text) => g.measureText(text).width;
}

/**
 * A canvas' drawing context.
 * @param {HTMLCanvasElement} canvas
 */
export function pencil(canvas) {
  const g = canvas.getContext("2d");
  if (!g) throw new Error("this browser cannot draw on a canvas; got no 2d context; open the page in another one");
  return g;
}

/**
 * Ground and grid, below all layers.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 */
export function drawGround(g, box) {
  const { left, top, w, h, panel, px, py } = box;
  g.fillStyle = "#ffffff";
  g.fillRect(0, 0, box.outerW, box.outerH);
  if (!panel.axes) return;
  g.strokeStyle = GRID;
  g.lineWidth = 1;
  g.beginPath();
  for (const { value } of box.across) {
    const x = Math.round(px(value)) + 0.5;
    g.moveTo(x, top);
    g.lineTo(x, top + h);
  }
  for (const { value } of box.up) {
    const y = Math.round(py(value)) + 0.5;
    g.moveTo(left, y);
    g.lineTo(left + w, y);
  }
  g.stroke();
}

/**
 * Frame, ticks, labels and title, above all layers.
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 */
export function drawAxes(g, box) {
  const { left, top, w, h, panel } = box;
  g.fillStyle = INK;
  g.textAlign = "left";
  g.textBaseline = "alphabetic";
  if (panel.title) {
    g.font = `600 15px ${FONT}`;
    g.fillText(panel.title, left, top - 12, w);
  }
  if (!panel.axes) return;
  g.strokeStyle = FRAME;
  g.lineWidth = 1;
  g.strokeRect(left + 0.5, top + 0.5, w - 1, h - 1);
  g.font = TICK_FONT;
  drawTicks(g, box);
  g.fillStyle = INK;
  g.textAlign = "center";
  g.textBaseline = "alphabetic";
  if (panel.x_label) g.fillText(panel.x_label, left + w / 2, top + h + 42, w);
  if (panel.y_label) {
    g.save();
    g.translate(14, top + h / 2);
    g.rotate(-Math.PI / 2);
    g.fillText(panel.y_label, 0, 0, h);
    g.restore();
  }
}

/**
 * @param {CanvasRenderingContext2D} g
 * @param {Box} box
 */
function drawTicks(g, { left, top, h, px, py, across, up }) {
  g.fillStyle = FAINT;
  g.beginPath();
  g.textAlign = "center";
  g.textBaseline = "top";
  for (const { value, text } of across) {
    const x = Math.round(px(value)) + 0.5;
    g.moveTo(x, top + h);
    g.lineTo(x, top + h + 4);
    g.fillText(text, x, top + h + 8);
  }
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const { value, text } of up) {
    const y = Math.round(py(value)) + 0.5;
    g.moveTo(left - 4, y);
    g.lineTo(left, y);
    g.fillText(text, left - 7, y);
  }
  g.stroke();
}
