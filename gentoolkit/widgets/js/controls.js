// The bar under a picture: play, step, scrub and speed; and what moves the selection.

import { make } from "./dom.js";
import { numberText, timeTexts } from "./numbers.js";

/** @import { Spec } from "./types.d.ts" */

const ICONS = {
  play: "M5 3.2v9.6a.6.6 0 0 0 .92.5l7.4-4.8a.6.6 0 0 0 0-1L5.92 2.7A.6.6 0 0 0 5 3.2z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  previous: "M3.5 3h2v10h-2zM13 3.4v9.2L6.4 8z",
  next: "M10.5 3h2v10h-2zM3 3.4v9.2L9.6 8z",
  less: "M10.6 2.9 12 4.3 8.3 8l3.7 3.7-1.4 1.4L5.5 8z",
  more: "M5.4 2.9 4 4.3 7.7 8 4 11.7l1.4 1.4L10.5 8z",
};
const SPEEDS = [0.25, 0.5, 1, 2, 4];

/** @param {keyof typeof ICONS} name */
function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

/**
 * A small button with a drawing and words for those who do not see it.
 * @param {keyof typeof ICONS} name
 * @param {string} label
 * @param {string} [key] on the keyboard
 */
function small(name, label, key) {
  const title = key && `${label} (${key})`;
  return make("button",
    { type: "button", class: "gt-step", "aria-label": label, "aria-keyshortcuts": key, title }, icon(name));
}

/** Play, step, scrub and speed. */
export class Bar {
  #word = make("span", {}, "Play");
  #back = small("previous", "Step back");
  #play = make("button", { type: "button", class: "gt-play" }, icon("play"), this.#word);
  #ahead = small("next", "Step forward");
  range = make("input", { type: "range", class: "gt-range", min: 0, step: 1, value: 0, "aria-label": "Frame" });
  #time = make("output", { class: "gt-time" });
  #speed = make("select", { class: "gt-speed", "aria-label": "Speed" },
    ...SPEEDS.map((s) => make("option", { value: s }, `${s}\u00d7`)));
  root = make("div", { class: "gt-bar" },
    this.#back, this.#play, this.#ahead, this.range, this.#time, this.#speed);
  /** @type {string[]} */
  #times = [];

  /** @param {{ toggle(): void, step(by: number): void, seek(frame: number): void, pace(speed: number): void }} on */
  constructor(on) {
    this.#play.addEventListener("click", () => on.toggle());
    this.#back.addEventListener("click", () => on.step(-1));
    this.#ahead.addEventListener("click", () => on.step(1));
    this.range.addEventListener("input", () => on.seek(Number(this.range.value)));
    this.#speed.addEventListener("change", () => on.pace(Number(this.#speed.value)));
  }

  /** @param {Spec} spec */
  load({ frames, times, time_label }) {
    const texts = times ? timeTexts(times) : Array.from({ length: frames }, (_, k) => numberText(k, 0));
    this.#times = texts.map((text) => `${time_label} = ${text}`);
    this.range.max = String(frames - 1);
    this.root.hidden = frames < 2; // a still picture needs no controls
  }

  /** @param {number} frame */
  show(frame) {
    const count = this.#times.length;
    this.range.value = String(frame);
    this.range.setAttribute("aria-valuetext", `${this.#times[frame]}, ${frame + 1} of ${count}`);
    this.range.style.setProperty("--done", `${(100 * frame) / Math.max(1, count - 1)}%`);
    this.#time.textContent = this.#times[frame];
  }

  /**
   * @param {boolean} playing
   * @param {number} speed
   */
  run(playing, speed) {
    this.#word.textContent = playing ? "Pause" : "Play";
    this.#play.firstChild?.replaceWith(icon(playing ? "pause" : "play"));
    this.#speed.value = String(speed);
  }
}

/** Moves the selection from particle to particle, for scenes with accounts. */
export class Picker {
  #less = small("less", "Previous point", "[");
  #words = make("span", { class: "gt-picked" });
  #more = small("more", "Next point", "]");
  root = make("div", { class: "gt-pick" }, this.#less, this.#words, this.#more);

  /** @param {(by: number) => void} move */
  constructor(move) {
    this.#less.addEventListener("click", () => move(-1));
    this.#more.addEventListener("click", () => move(1));
  }

  /** @param {number} count of particles that can be selected */
  load(count) {
    this.root.hidden = !count;
    this.#less.hidden = this.#more.hidden = count < 2; // one point has no neighbour
  }

  get words() {
    return this.#words.textContent ?? "";
  }

  set words(text) {
    this.#words.textContent = text;
  }
}

/**
 * Which way a key moves the selection: -1, 1, or 0 for other keys.
 * @param {KeyboardEvent} event
 */
export function pickingKey(event) {
  const typed = !event.metaKey && (!event.ctrlKey || event.altKey); // AltGr reports both
  if (!typed) return 0;
  return event.key === "[" ? -1 : event.key === "]" ? 1 : 0;
}
