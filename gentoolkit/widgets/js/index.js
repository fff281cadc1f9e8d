// The entries: `default.render` for a live model (anywidget), `mountStatic` for a page without a
// kernel. Every widget of the package is in this one module; the model's `view` says which.

import { asView, inflate, oncePerFrame, onChange } from "./dom.js";
import { Explorer } from "./explorer.js";
import { mountKnobs } from "./knobs.js";
import { Player } from "./player.js";

/** @import { ExplorerSource, Model, Pair, PlayerSource, PlayerState, Spec } from "./types.d.ts" */

/**
 * While it plays the frame stays here; Python hears it on pause and seek.
 * @param {Model} model
 * @returns {PlayerSource}
 */
function livePlayer(model) {
  const send = oncePerFrame(() => model.save_changes());
  return {
    spec: () => model.get("spec"),
    bytes: () => model.get("buf"),
    state: () => ({ frame: model.get("frame"), playing: model.get("playing"), selected: model.get("selected") }),
    changed(values) {
      const news = Object.entries(values).filter(([name, value]) => model.get(name) !== value);
      for (const [name, value] of news) model.set(name, value);
      if (news.length) send();
    },
    listen({ data, frame, playing, selected }) {
      let due = false; // spec and bytes come in one message but as two events
      const once = () => {
        if (due) return;
        due = true;
        queueMicrotask(() => {
          due = false;
          data();
        });
      };
      return onChange(model, { spec: once, buf: once, frame, playing, selected });
    },
  };
}

/**
 * The position goes to Python, which answers with the exact decode.
 * @param {Model} model
 * @returns {ExplorerSource}
 */
function liveExplorer(model) {
  return {
    spec: () => model.get("spec"),
    bytes: () => model.get("buf"),
    z: () => model.get("z"),
    exact: () => asView(model.get("image")),
    changed(z) {
      model.set("z", z);
      model.save_changes();
    },
    listen: ({ data, z, image }) => onChange(model, { buf: data, z, image }),
  };
}

/** @param {{ model: Model, el: HTMLElement }} view */
function render({ model, el }) {
  const view = model.get("view");
  if (view === "knobs") return mountKnobs(el, model);
  const shown = view === "explorer" ? new Explorer(el, liveExplorer(model)) : new Player(el, livePlayer(model));
  return () => shown.stop();
}

/**
 * A page without a kernel.
 * @param {HTMLElement} place
 * @param {Spec} spec
 * @param {string} data the buffer, deflated, as base64
 * @param {number} [frame] the one at first
 */
export async function mountStatic(place, spec, data, frame = 0) {
  const view = await inflate(data);
  const listen = () => () => {};
  if (spec.explorer) {
    /** @type {Pair} */
    let z = spec.explorer.start;
    const changed = (/** @type {Pair} */ values) => (z = values);
    return new Explorer(place, { spec: () => spec, bytes: () => view, z: () => z, exact: () => null, changed, listen });
  }
  /** @type {PlayerState} */
  const state = { frame, playing: false, selected: -1 };
  const changed = (/** @type {Partial<PlayerState>} */ values) => Object.assign(state, values);
  return new Player(place, { spec: () => spec, bytes: () => view, state: () => state, changed, listen });
}

export default { render };
