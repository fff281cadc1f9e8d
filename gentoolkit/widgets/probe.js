// Handles on the canvases of a scene: dragged by pointer or moved by keys, without a kernel.

import { guardKeys, make } from "./clock.js";

const NUDGE = 0.01; // of the panel's width, per key press; five times as much with Shift
const REST_MS = 350; // the place is read out when the handle has rested this long

const signed = (value) => value.toFixed(2).replace("-", "\u2212");
const pair = ([x, y]) => `(${signed(x)}, ${signed(y)})`;

const probeOf = (panel) => panel.layers.find((layer) => layer.kind === "probe");

/**
 * Put a handle over each panel with a probe. `stage` has been laid out; `redraw(only)` paints at
 * the next animation frame; `say(words)` reads out. Returns { place, words, stop }.
 */
export function mountProbes(row, stage, redraw, say) {
  let quiet = 0;
  const free = [];
  const handles = [];

  /** Where the handle is and what lies ahead of it, in words. */
  function words(position) {
    const layer = stage.probed && stage.boxes?.map((box) => probeOf(box.panel)).find(Boolean);
    if (!layer) return "";
    return `handle at ${pair(stage.probed)}: ${layer.name} ${pair(stage.foretold(layer, position))}`;
  }

  function moveTo(panel, x, y) {
    const clamp = (value, [low, high]) => Math.max(low, Math.min(high, value));
    stage.probed = [clamp(x, panel.x), clamp(y, panel.y)];
    redraw((other) => Boolean(probeOf(other)));
    clearTimeout(quiet);
    quiet = setTimeout(say, REST_MS);
  }

  function onKey(event, panel) {
    const by = (event.shiftKey ? 5 : 1) * NUDGE;
    const [dx, dy] = [panel.x, panel.y].map(([low, high]) => by * (high - low));
    const [x, y] = stage.probed;
    const moves = {
      ArrowLeft: [-dx, 0], ArrowRight: [dx, 0], ArrowUp: [0, dy], ArrowDown: [0, -dy],
      PageUp: [0, 5 * dy], PageDown: [0, -5 * dy],
    };
    if (event.key === "Home") moveTo(panel, ...probeOf(panel).start);
    else if (moves[event.key]) moveTo(panel, x + moves[event.key][0], y + moves[event.key][1]);
  }

  stage.spec.panels.forEach((panel, i) => {
    if (!probeOf(panel)) return;
    const handle = make("div", {
      class: "gt-handle", tabindex: 0, role: "application",
      "aria-roledescription": "two-dimensional slider",
    });
    const inPanel = (event) => {
      const bounds = stage.canvases[i].getBoundingClientRect();
      const box = stage.boxes[i];
      const across = (event.clientX - bounds.left - box.left) / box.w;
      const up = (bounds.top + box.top + box.h - event.clientY) / box.h;
      moveTo(panel, panel.x[0] + across * (panel.x[1] - panel.x[0]),
        panel.y[0] + up * (panel.y[1] - panel.y[0]));
    };
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      handle.setPointerCapture(event.pointerId);
      handle.focus({ preventScroll: true });
      event.preventDefault();
    });
    handle.addEventListener("pointermove", (event) => {
      if (handle.hasPointerCapture(event.pointerId)) inPanel(event);
    });
    free.push(guardKeys(handle, (event) => onKey(event, panel)));
    handles.push({ handle, panel, i });
    row.append(handle);
  });

  return {
    words,
    /** Bring the handles to where the stage has drawn them. */
    place(position) {
      const told = handles.length ? words(position) : "";
      for (const { handle, panel, i } of handles) {
        const box = stage.boxes[i];
        const canvas = stage.canvases[i];
        handle.style.left = `${canvas.offsetLeft + box.px(stage.probed[0])}px`;
        handle.style.top = `${canvas.offsetTop + box.py(stage.probed[1])}px`;
        handle.setAttribute("aria-label",
          `${panel.title || "Plane"}, ${told}. Arrow keys move, Shift moves faster, Home returns.`);
      }
      return told;
    },
    stop() {
      clearTimeout(quiet);
      free.forEach((one) => one());
    },
  };
}
