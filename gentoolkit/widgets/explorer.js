// The latent explorer: a pad on which a handle is moved by mouse or keyboard, and the image that
// is decoded there. A grid of decodes lies in the buffer, so a picture is there at once; where a
// kernel answers, its exact decode takes the place of the interpolated one.

import { asView, guardKeys, inflate, make } from "./clock.js";
import { paintShades } from "./layers.js";
import { INK } from "./plot.js";
import { Stage } from "./stage.js";

const STEP = 0.02; // of the extent, per key press; five times as much with Shift
const QUIET_MS = 350; // the position is read out when the handle has rested this long

const number = (value) => value.toFixed(2).replace("-", "\u2212");

/** Bilinear interpolation in the grid of decodes, into `out`. */
function interpolate(decodes, { grid, extent, image }, z, out) {
  const size = image[0] * image[1];
  const cell = z.map((v) => ((v - extent[0]) / (extent[1] - extent[0])) * (grid - 1));
  const low = cell.map((c) => Math.max(0, Math.min(grid - 2, Math.floor(c))));
  const [a, b] = cell.map((c, k) => c - low[k]);
  const at = (dx, dy) => ((low[1] + dy) * grid + low[0] + dx) * size; // row = second coordinate
  const corners = [[at(0, 0), (1 - a) * (1 - b)], [at(1, 0), a * (1 - b)],
    [at(0, 1), (1 - a) * b], [at(1, 1), a * b]];
  for (let i = 0; i < size; i++) {
    out[i] = corners.reduce((sum, [from, weight]) => sum + weight * decodes[from + i], 0);
  }
}

/**
 * Build the view. `source`: spec(), bytes(), z(), exact() -> DataView or null, changed(z),
 * listen({ data, z, image }).
 */
function mountExplorer(place, source) {
  const row = make("div", { class: "gt-row" });
  const pad = make("div", { class: "gt-pad" });
  const picture = make("canvas", { class: "gt-decoded", role: "img" });
  const title = make("p", { class: "gt-title" }, "decoded image");
  const where = make("p", { class: "gt-where" });
  const origin = make("p", { class: "gt-origin" });
  const side = make("div", { class: "gt-side" }, title, picture, where, origin);
  const help = make("p", { class: "gt-help" },
    "Drag the handle, or focus the plane and use the arrow keys (Shift: faster, Home: centre).");
  const spoken = make("span", { class: "gt-spoken", role: "status", "aria-live": "polite" });
  const root = make("figure", { class: "gt-explorer" }, row, help, spoken);
  row.append(pad, side);
  place.replaceChildren(root);

  let spec, options, stage, decodes, pixels, canvas, due = 0, quiet = 0, freeKeys = () => {};
  const z = [0, 0];

  function load() {
    spec = source.spec();
    options = spec.explorer;
    const view = asView(source.bytes());
    const count = options.grid ** 2 * options.image[0] * options.image[1];
    decodes = new Uint8Array(view.buffer, view.byteOffset + options.offset, count);
    pixels = new Float32Array(options.image[0] * options.image[1]);
    stage = new Stage(pad, spec, view);
    [canvas] = stage.canvases;
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "two-dimensional slider");
    canvas.addEventListener("pointerdown", onDown);
    canvas.addEventListener("pointermove", onMove);
    freeKeys();
    freeKeys = guardKeys(canvas, onKey);
    root.setAttribute("aria-label", spec.alt);
    take(source.z());
    fit();
  }

  function fit() {
    const width = row.clientWidth;
    if (!width) return; // not laid out yet; the ResizeObserver calls again
    const ratio = Math.min(3, window.devicePixelRatio || 1);
    const beside = width >= 560;
    const padWidth = beside ? Math.min(460, Math.round(width * 0.56)) : width;
    stage.resize(padWidth, ratio);
    const tall = stage.boxes[0].h;
    const across = Math.min(beside ? width - padWidth - 30 : width, tall * 0.82, 340);
    const down = (across * options.image[0]) / options.image[1];
    picture.width = Math.round(across * ratio);
    picture.height = Math.round(down * ratio);
    picture.style.width = `${Math.round(across)}px`;
    picture.style.height = `${Math.round(down)}px`;
    draw();
  }

  const bound = (value) => Math.max(options.extent[0], Math.min(options.extent[1], value));

  function take(values) {
    z[0] = bound(values[0]);
    z[1] = bound(values[1]);
  }

  /** The exact decode, if the kernel has answered for this very position. */
  function exact() {
    const answer = source.exact();
    if (!answer || answer.byteLength !== 8 + pixels.length) return null;
    const same = [0, 4].every((o, k) => Math.abs(answer.getFloat32(o, true) - z[k]) < 1e-5);
    return same ? new Uint8Array(answer.buffer, answer.byteOffset + 8, pixels.length) : null;
  }

  function nearest() {
    if (!options.names.length) return "";
    const xy = stage.arrays.read(options.points, 0);
    const labels = stage.arrays.raw(options.labels);
    let best = 0, distance = Infinity;
    for (let i = 0; i < labels.length; i++) {
      const away = (xy[2 * i] - z[0]) ** 2 + (xy[2 * i + 1] - z[1]) ** 2;
      if (away < distance) [best, distance] = [i, away];
    }
    return options.names[labels[best]];
  }

  function draw() {
    due = 0;
    if (!stage.boxes) return;
    stage.draw(0);
    drawHandle();
    const found = exact();
    if (found) pixels.set(found);
    else interpolate(decodes, options, z, pixels);
    const [rows, columns] = options.image;
    paintShades(stage.arrays.raw(options.colormap), pixels, 0, rows, columns, false, stage.tile);
    const g = picture.getContext("2d");
    g.imageSmoothingEnabled = false; // the pixels are what the model says
    g.drawImage(stage.tile, 0, 0, picture.width, picture.height);
    const near = nearest();
    const place = `z = (${number(z[0])}, ${number(z[1])})`;
    where.textContent = near === "" ? place : `${place}, nearest example: ${near}`;
    origin.textContent = found ? "decoded by the kernel" : "interpolated between stored decodes";
    picture.setAttribute("aria-label", `Image decoded at ${where.textContent}`);
    canvas.setAttribute("aria-label",
      `Latent plane, ${place}. Arrow keys move, Shift moves faster, Home centres. ${spec.alt}`);
    root.dataset.z = z.map((v) => v.toFixed(4)).join(" ");
    root.dataset.exact = Boolean(found);
    root.dataset.painted ??= performance.timeOrigin + performance.now();
  }

  function drawHandle() {
    const [box] = stage.boxes;
    const g = canvas.getContext("2d");
    const [x, y] = [box.px(z[0]), box.py(z[1])];
    g.save();
    g.strokeStyle = "rgba(31,41,51,0.45)";
    g.lineWidth = 1;
    g.setLineDash([4, 4]);
    g.beginPath();
    g.moveTo(x, box.top);
    g.lineTo(x, box.top + box.h);
    g.moveTo(box.left, y);
    g.lineTo(box.left + box.w, y);
    g.stroke();
    g.setLineDash([]);
    g.beginPath();
    g.arc(x, y, 9, 0, 2 * Math.PI);
    g.fillStyle = "#ffffff";
    g.fill();
    g.lineWidth = 3;
    g.strokeStyle = INK;
    g.stroke();
    g.beginPath();
    g.arc(x, y, 3, 0, 2 * Math.PI);
    g.fillStyle = INK;
    g.fill();
    g.restore();
  }

  /** Move the handle: one redraw and one message per animation frame, the latest wins. */
  function move(values) {
    take(values);
    due ||= requestAnimationFrame(() => {
      draw();
      source.changed([...z]);
    });
    clearTimeout(quiet);
    quiet = setTimeout(() => (spoken.textContent = where.textContent), QUIET_MS);
  }

  function moveTo(event) {
    const [box] = stage.boxes;
    const [low, high] = options.extent;
    const scale = (part) => low + part * (high - low);
    move([scale((event.offsetX - box.left) / box.w), scale((box.top + box.h - event.offsetY) / box.h)]);
  }

  function onDown(event) {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    canvas.focus({ preventScroll: true });
    moveTo(event);
    event.preventDefault();
  }

  function onMove(event) {
    if (canvas.hasPointerCapture(event.pointerId)) moveTo(event);
  }

  function onKey(event) {
    const by = (options.extent[1] - options.extent[0]) * STEP * (event.shiftKey ? 5 : 1);
    const moves = {
      ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by],
      PageUp: [0, 5 * by], PageDown: [0, -5 * by],
    };
    const centre = (options.extent[0] + options.extent[1]) / 2;
    if (event.key === "Home") move([centre, centre]);
    else if (moves[event.key]) move(moves[event.key].map((d, k) => z[k] + d));
  }

  load();
  const sized = new ResizeObserver(fit);
  sized.observe(row);
  const stopListening = source.listen({
    data: load,
    image: draw,
    z: () => {
      const news = source.z();
      if (news.some((v, k) => Math.abs(bound(v) - z[k]) > 1e-9) && !due) {
        take(news);
        draw();
      }
    },
  });

  return () => {
    cancelAnimationFrame(due);
    clearTimeout(quiet);
    sized.disconnect();
    freeKeys();
    stopListening();
  };
}

/** anywidget: the position goes to Python, which answers with the exact decode. */
function render({ model, el }) {
  return mountExplorer(el, {
    spec: () => model.get("spec"),
    bytes: () => model.get("buf"),
    z: () => model.get("z"),
    exact: () => asView(model.get("image")),
    changed(z) {
      model.set("z", z);
      model.save_changes();
    },
    listen(callbacks) {
      const bound = [["buf", callbacks.data], ["z", callbacks.z], ["image", callbacks.image]];
      for (const [name, callback] of bound) model.on(`change:${name}`, callback);
      return () => bound.forEach(([name, callback]) => model.off(`change:${name}`, callback));
    },
  });
}

/** A page without a kernel: `data` is the buffer, deflated, as base64. */
export async function mountStatic(place, spec, data) {
  const view = await inflate(data);
  let z = spec.explorer.start;
  return mountExplorer(place, {
    spec: () => spec,
    bytes: () => view,
    z: () => z,
    exact: () => null,
    changed: (values) => (z = values),
    listen: () => () => {},
  });
}

export default { render };
