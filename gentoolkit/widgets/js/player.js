// The player: a scene with play, step, scrub and speed.

import { clockOf } from "./clock.js";
import { Bar, Picker, pickingKey } from "./controls.js";
import { asView, guardKeys, make, prefersReducedMotion, screenRatio } from "./dom.js";
import { cardWidth } from "./layout.js";
import { Probes } from "./probe.js";
import { Stage } from "./stage.js";

/** @import { Panel, PlayerSource } from "./types.d.ts" */

export class Player {
  #bar = new Bar({
    toggle: () => this.#toggle(),
    step: (by) => this.#seek(this.#frame + by),
    seek: (frame) => this.#clock.pause(frame),
    pace: (speed) => this.#clock.setSpeed(speed),
  });
  #picker = new Picker((by) => this.#next(by));
  #row = make("div", { class: "gt-row" });
  #note = make("p", { class: "gt-note" });
  #told = make("p", { class: "gt-told" });
  #spoken = make("span", { class: "gt-spoken", role: "status", "aria-live": "polite" });
  #root = make("figure", { class: "gt-player" },
    this.#row, this.#note, this.#told, this.#picker.root, this.#bar.root, this.#spoken);
  #calm = prefersReducedMotion();
  #onClock = () => this.#clockChanged();

  #visible = true;
  #frozen = false; // stopped because it left the screen, not by the reader
  #shown = -1; // the frame that controls and note show
  #ticking = 0; // the request for the next frame while it plays
  #due = 0; // the request for one redraw

  /**
   * @param {HTMLElement} place
   * @param {PlayerSource} source
   */
  constructor(place, source) {
    this.#source = source;
    place.replaceChildren(this.#root);
    this.#root.addEventListener("keydown", (event) => this.#key(event));
    this.#spec = source.spec();
    this.#clock = clockOf(this.#spec.group);
    this.#stage = new Stage(this.#row, this.#spec, asView(source.bytes()));
    this.#probes = this.#handles();
    this.#clock.addEventListener("change", this.#onClock);
    this.#arrange();
    this.#resume();
    this.#stops = [this.#follow(), guardKeys(this.#bar.range), this.#watchScreen(), this.#watchSize()];
  }

  /** @type {PlayerSource} */
  #source;
  /** @type {ReturnType<PlayerSource["spec"]>} */
  #spec;
  /** @type {ReturnType<typeof clockOf>} */
  #clock;
  /** @type {Stage} */
  #stage;
  /** @type {Probes} */
  #probes;
  /** @type {(() => void)[]} */
  #stops;

  get #frame() {
    return Math.min(Math.round(this.#clock.position()), this.#spec.frames - 1);
  }

  /** Take another scene; the reader's place, frame and handle stay where they can. */
  #load() {
    const group = this.#spec.group;
    this.#spec = this.#source.spec();
    if (group !== this.#spec.group) {
      this.#clock.removeEventListener("change", this.#onClock);
      this.#clock = clockOf(this.#spec.group);
      this.#clock.addEventListener("change", this.#onClock);
    }
    const { handle, probed } = this.#stage;
    this.#probes.stop();
    this.#stage = new Stage(this.#row, this.#spec, asView(this.#source.bytes()));
    if (probed && this.#stage.probed) this.#stage.handle = handle;
    this.#probes = this.#handles();
    this.#arrange();
  }

  #handles() {
    return new Probes(this.#row, this.#stage, {
      redraw: (only) => this.#redraw(only),
      rest: () => this.#say(this.#told.textContent ?? ""),
    });
  }

  /** Bring everything around the stage in line with its scene. */
  #arrange() {
    const { spec, canvases, accounted, probed } = this.#stage;
    this.#stage.selected = this.#source.state().selected;
    canvases.forEach((canvas, i) => canvas.addEventListener("click", (event) => this.#pick(i, event)));
    this.#told.hidden = !probed;
    this.#bar.load(spec);
    this.#picker.load(accounted);
    this.#shown = -1;
    this.#root.setAttribute("aria-label", spec.alt);
    this.#root.style.maxWidth = `${cardWidth(spec.panels)}px`;
    this.#fit();
    if (!this.#clock.playing && this.#frame !== this.#clock.position()) this.#clock.pause(this.#frame);
  }

  /** Start where the source says. */
  #resume() {
    const { frame, playing } = this.#source.state();
    const clock = this.#clock;
    if (this.#calm && clock.speed === 1) clock.speed = 0.5;
    this.#bar.run(clock.playing, clock.speed);
    if (frame !== this.#frame && !clock.playing) this.#seek(frame);
    if (playing && !clock.playing && !this.#spec.group) this.#source.changed({ playing: false });
  }

  #fit() {
    const width = this.#row.clientWidth;
    if (!width) return; // not laid out yet; the ResizeObserver calls again
    this.#stage.resize(width, screenRatio());
    this.#draw();
  }

  /**
   * Draw the picture for now, and bring the controls in line.
   * @param {(panel: Panel) => boolean} [only]
   */
  #draw(only) {
    this.#due = 0;
    if (!this.#stage.boxes.length) return;
    const glide = this.#clock.playing && this.#spec.smooth && !this.#calm;
    const position = glide ? Math.min(this.#clock.position(), this.#spec.frames - 1) : this.#frame;
    this.#stage.draw(position, only);
    this.#told.textContent = this.#probes.place(position);
    this.#label();
    const { dataset } = this.#root;
    dataset.draws = String(Number(dataset.draws ?? 0) + 1);
    dataset.painted ??= String(performance.timeOrigin + performance.now());
  }

  /**
   * A handle was moved: its panels are drawn once per animation frame, unless all are anyway.
   * @param {(panel: Panel) => boolean} only
   */
  #redraw(only) {
    if (!this.#ticking) this.#due ||= requestAnimationFrame(() => this.#draw(only));
  }

  /** Controls and note for now; also while the picture is out of sight. */
  #label() {
    const frame = this.#frame;
    if (frame === this.#shown) return;
    this.#shown = frame;
    this.#bar.show(frame);
    this.#root.dataset.frame = String(frame);
    this.#note.hidden = !this.#spec.notes;
    this.#note.textContent = this.#spec.notes?.[frame] ?? "";
    this.#picker.words = this.#stage.account(frame);
  }

  #tick() {
    this.#ticking = 0;
    if (this.#clock.finished()) this.#clock.pause(); // the last frame of a run without loop
    if (!this.#clock.playing || !this.#visible) return;
    this.#draw();
    this.#ticking = requestAnimationFrame(() => this.#tick());
  }

  /** The clock was moved, started or stopped, here or in a linked view. */
  #clockChanged() {
    const { playing, speed } = this.#clock;
    this.#root.dataset.playing = String(playing);
    this.#bar.run(playing, speed);
    if (playing && this.#visible) this.#ticking ||= requestAnimationFrame(() => this.#tick());
    if (!playing) {
      this.#shown = -1;
      if (this.#visible) this.#draw();
      else this.#label();
      this.#say(`${this.#note.textContent} ${this.#picker.words}`.trim());
    }
    this.#source.changed(playing ? { playing } : { playing, frame: this.#frame });
  }

  /** @param {string} words */
  #say(words) {
    if (this.#spoken.textContent !== words) this.#spoken.textContent = words;
  }

  #toggle() {
    if (this.#clock.playing) this.#clock.pause();
    else this.#clock.play({ frames: this.#spec.frames, fps: this.#spec.fps, loop: !this.#calm });
  }

  /** @param {number} frame */
  #seek(frame) {
    this.#clock.pause(Math.max(0, Math.min(this.#spec.frames - 1, frame)));
  }

  /**
   * @param {number} i
   * @param {MouseEvent} event
   */
  #pick(i, event) {
    const index = this.#stage.pick(i, event, this.#clock.position());
    if (index !== null) this.#choose(index);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const by = pickingKey(event);
    if (!by || !this.#stage.accounted) return;
    event.preventDefault();
    event.stopPropagation();
    this.#next(by);
  }

  /** @param {number} by */
  #next(by) {
    const { chosen, accounted } = this.#stage;
    this.#choose((chosen + by + accounted) % accounted);
  }

  /**
   * Show the path of a particle, and its account where the scene has one.
   * @param {number} index
   */
  #choose(index) {
    this.#show(index);
    this.#source.changed({ selected: index });
    this.#say(this.#picker.words);
  }

  /** @param {number} selected */
  #show(selected) {
    this.#stage.selected = selected;
    this.#shown = -1;
    this.#draw();
  }

  /** Do as Python says. */
  #follow() {
    return this.#source.listen({
      data: () => this.#load(),
      frame: () => {
        const { frame } = this.#source.state();
        if (!this.#clock.playing && frame !== this.#frame) this.#seek(frame);
      },
      playing: () => {
        if (this.#source.state().playing !== this.#clock.playing) this.#toggle();
      },
      selected: () => this.#show(this.#source.state().selected),
    });
  }

  /** Rest while out of sight. A linked clock runs on for the views that are still seen. */
  #watchScreen() {
    const seen = new IntersectionObserver((entries) => {
      this.#visible = entries.at(-1)?.isIntersecting ?? true;
      if (!this.#visible && this.#clock.playing && !this.#spec.group) {
        this.#frozen = true;
        this.#clock.pause(this.#clock.position());
      } else if (this.#visible && this.#frozen) {
        this.#frozen = false;
        this.#toggle();
      } else if (this.#visible) {
        this.#clockChanged();
      }
    });
    seen.observe(this.#root);
    return () => seen.disconnect();
  }

  #watchSize() {
    const sized = new ResizeObserver(() => this.#fit());
    sized.observe(this.#row);
    return () => sized.disconnect();
  }

  stop() {
    cancelAnimationFrame(this.#ticking);
    cancelAnimationFrame(this.#due);
    this.#probes.stop();
    this.#stops.forEach((stop) => stop());
    this.#clock.removeEventListener("change", this.#onClock);
    if (this.#clock.playing && !this.#spec.group) this.#clock.pause();
  }
}
