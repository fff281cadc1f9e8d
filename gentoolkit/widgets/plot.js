// Coordinate systems: where a panel lies, its ticks, its axes. Sizes are in CSS pixels.

export const FONT = '"Inter", "Segoe UI", system-ui, -apple-system, "Helvetica Neue", Arial, sans-serif';
export const INK = "#1f2933";
const FAINT = "#52606d";
const GRID = "#e9edf1";
const FRAME = "#b8c2cc";
const TEXT = 14;
const GAP = 20; // between panels
const WIDEST = 460; // a panel of weight 1

const measure = document.createElement("canvas").getContext("2d");

/** Tick values 1, 2 or 5 times a power of ten, about `count` of them. */
export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) {
    found.push(k * step);
  }
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return found.map((value) => ({ value, text: label(value, digits) }));
}

function label(value, digits) {
  const text = Math.abs(value) >= 1e5 ? value.toExponential(0) : value.toFixed(Math.min(digits, 6));
  return text.replace(/^-(?=0*\.?0*$)/, "").replace("-", "\u2212");
}

/** The width that an axis needs on its left: tick labels, and the axis' name turned upright. */
function leftMargin(panel) {
  if (!panel.axes) return 1;
  measure.font = `${TEXT}px ${FONT}`;
  const widest = Math.max(...ticks(...panel.y, 5).map((t) => measure.measureText(t.text).width));
  return Math.ceil(widest) + 12 + (panel.y_label ? 24 : 0);
}

/**
 * Place the panels in rows that fit `width`. Panels of a row share their top, their height and
 * their bottom margin, so that plot areas stand in line.
 */
export function layout(panels, width) {
  const perRow = fit(panels, width);
  const boxes = [];
  for (let i = 0; i < panels.length; i += perRow) {
    const row = panels.slice(i, i + perRow);
    const weights = row.reduce((sum, p) => sum + p.weight, 0);
    const free = Math.min(width, rowWidth(row)) - GAP * (row.length - 1);
    const top = row.some((p) => p.title) ? 32 : 8;
    const bottom = row.some((p) => p.axes) ? 28 + (row.some((p) => p.axes && p.x_label) ? 22 : 0) : 4;
    const placed = row.map((panel) => {
      const outer = Math.floor((free * panel.weight) / weights);
      const left = leftMargin(panel);
      return { panel, outer, left, w: outer - left - (panel.axes ? 12 : 1) };
    });
    const equal = placed.filter((b) => b.panel.equal);
    const natural = (b) => (b.w * (b.panel.y[1] - b.panel.y[0])) / (b.panel.x[1] - b.panel.x[0]);
    const heights = equal.length ? equal.map(natural) : [placed[0].w / 1.6];
    const alike = heights.filter((h) => h >= 0.75 * Math.max(...heights)); // get the same height
    const height = Math.round(Math.min(...alike, 620));
    for (const box of placed) {
      const { panel } = box;
      const h = panel.equal ? Math.min(height, Math.round(natural(box))) : height;
      // A tall panel whose height was cut keeps its unit lengths and gives up width.
      const w = panel.equal ? Math.min(box.w, Math.round((box.w * h) / natural(box))) : box.w;
      boxes.push({
        panel, left: box.left, top, w, h,
        outerW: box.outer, outerH: top + height + bottom,
        px: (x) => box.left + ((x - panel.x[0]) / (panel.x[1] - panel.x[0])) * w,
        py: (y) => top + h - ((y - panel.y[0]) / (panel.y[1] - panel.y[0])) * h,
      });
    }
  }
  return boxes;
}

/** The width that panels take in one row when there is room. */
export function rowWidth(panels) {
  return WIDEST * panels.reduce((sum, p) => sum + p.weight, 0) + GAP * (panels.length - 1);
}

/** Wide enough for all panels in a row, and for the controls below. */
export function cardWidth(panels) {
  return Math.min(1040, Math.max(600, rowWidth(panels) + 38));
}

function fit(panels, width) {
  const narrowest = panels.length > 2 ? 250 : 280;
  const most = Math.max(1, Math.min(panels.length, Math.floor((width + GAP) / (narrowest + GAP))));
  return Math.ceil(panels.length / Math.ceil(panels.length / most)); // rows of about equal length
}

/** Ground and grid, below all layers. */
export function drawGround(g, box) {
  const { left, top, w, h, panel, px, py } = box;
  g.fillStyle = "#ffffff";
  g.fillRect(0, 0, box.outerW, box.outerH);
  if (!panel.axes) return;
  g.strokeStyle = GRID;
  g.lineWidth = 1;
  g.beginPath();
  for (const { value } of ticks(...panel.x, w / 70)) {
    const x = Math.round(px(value)) + 0.5;
    g.moveTo(x, top);
    g.lineTo(x, top + h);
  }
  for (const { value } of ticks(...panel.y, 5)) {
    const y = Math.round(py(value)) + 0.5;
    g.moveTo(left, y);
    g.lineTo(left + w, y);
  }
  g.stroke();
}

/** Frame, ticks, labels and title, above all layers. */
export function drawAxes(g, box) {
  const { left, top, w, h, panel, px, py } = box;
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
  g.font = `${TEXT}px ${FONT}`;
  g.fillStyle = FAINT;
  g.beginPath();
  g.textAlign = "center";
  g.textBaseline = "top";
  for (const { value, text } of ticks(...panel.x, w / 70)) {
    const x = Math.round(px(value)) + 0.5;
    g.moveTo(x, top + h);
    g.lineTo(x, top + h + 4);
    g.fillText(text, x, top + h + 8);
  }
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const { value, text } of ticks(...panel.y, 5)) {
    const y = Math.round(py(value)) + 0.5;
    g.moveTo(left - 4, y);
    g.lineTo(left, y);
    g.fillText(text, left - 7, y);
  }
  g.stroke();
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
