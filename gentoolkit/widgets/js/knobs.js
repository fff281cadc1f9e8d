// Sliders with names under a player. Native range inputs: they follow the keyboard everywhere.

import { guardKeys, make, oncePerFrame, onChange } from "./dom.js";
import { cardWidth } from "./layout.js";
import { distinctTexts, numberText, powerOf } from "./numbers.js";

/** @import { KnobSpec, Model } from "./types.d.ts" */

/**
 * How a knob writes its values: their names, or as many digits as tell neighbours apart.
 * @param {KnobSpec} knob
 * @returns {(value: number) => string}
 */
export function knobTexts({ low, high, step, choices, names }) {
  if (choices) {
    const texts = names ?? distinctTexts(choices);
    return (value) => texts[choices.indexOf(value)] ?? String(value);
  }
  // A step such as 0.025 needs more digits than its size says.
  const even = (/** @type {number} */ power) => Math.abs(step / 10 ** power - Math.round(step / 10 ** power)) < 1e-6;
  const coarse = powerOf(step);
  const power = [coarse, coarse - 1, coarse - 2].find(even) ?? coarse;
  return (value) => numberText(value, power, Math.max(Math.abs(low), Math.abs(high)));
}

/** One slider with its name and its value. */
class Knob {
  #words;
  #shown = make("output", { class: "gt-time" });

  /**
   * @param {KnobSpec} spec
   * @param {(value: number, released: boolean) => void} turned
   */
  constructor(spec, turned) {
    const { label, low, high, step, choices } = spec;
    this.spec = spec;
    this.#words = knobTexts(spec);
    // With choices the slider counts them, so that each key press is one.
    const scale = choices ? { min: 0, max: choices.length - 1, step: 1 } : { min: low, max: high, step };
    this.range = make("input", { type: "range", class: "gt-range", "aria-label": label, ...scale });
    this.root = make("label", { class: "gt-knob" }, make("span", {}, label), this.range, this.#shown);
    this.stop = guardKeys(this.range);
    this.range.addEventListener("input", () => {
      this.show(this.#value);
      turned(this.#value, false);
    });
    this.range.addEventListener("change", () => turned(this.#value, true));
  }

  get #value() {
    const at = Number(this.range.value);
    return this.spec.choices ? this.spec.choices[at] : at;
  }

  /** @param {number} value */
  show(value) {
    const { label, choices } = this.spec;
    const { range } = this;
    range.value = String(choices ? choices.indexOf(value) : value);
    this.#shown.textContent = this.#words(value);
    range.setAttribute("aria-valuetext", `${label} ${this.#words(value)}`);
    const [at, low, high] = [range.value, range.min, range.max].map(Number);
    range.style.setProperty("--done", `${(100 * (at - low)) / (high - low)}%`);
  }
}

/**
 * All knobs of a scene, and the sentence under them; returns what removes them.
 * @param {HTMLElement} place
 * @param {Model} model
 */
export function mountKnobs(place, model) {
  const send = oncePerFrame(() => model.save_changes());
  const knobs = /** @type {KnobSpec[]} */ (model.get("knobs")).map((spec) => new Knob(spec, (value, released) => {
    if (!released && !model.get("continuous")) return;
    if (model.get("values")[spec.name] === value) return; // a release where the drag had come to
    model.set("values", { ...model.get("values"), [spec.name]: value });
    send();
  }));
  const message = make("p", { class: "gt-message", role: "alert" });
  const root = make("div", { class: "gt-knobs" }, ...knobs.map((knob) => knob.root), message);
  root.style.maxWidth = `${cardWidth(model.get("panels"))}px`; // as wide as the player above
  place.replaceChildren(root);
  const values = () => knobs.forEach((knob) => knob.show(model.get("values")[knob.spec.name]));
  const words = () => {
    message.textContent = model.get("message");
    message.hidden = !message.textContent;
  };
  values();
  words();
  const forget = onChange(model, { values, message: words });
  return () => {
    knobs.forEach((knob) => knob.stop());
    forget();
  };
}
