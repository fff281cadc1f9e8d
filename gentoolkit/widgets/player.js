// The player: a scene with play, step, scrub and speed. Two entries, one view: `render` for a live
// model (anywidget) and `mountStatic` for a page without a kernel.

import { asView, clockOf, guardKeys, inflate, make, prefersReducedMotion } from "./clock.js";
import { cardWidth } from "./plot.js";
import { mountProbes } from "./probe.js";
import { Stage } from "./stage.js";

const ICONS = {
  play: "M5 3.2v9.6a.6.6 0 0 0 .92.5l7.4-4.8a.6.6 0 0 0 0-1L5.92 2.7A.6.6 0 0 0 5 3.2z",
  pause: "M4 3h3v10H4zM9 3h3v10H9z",
  previous: "M3.5 3h2v10h-2zM13 3.4v9.2L6.4 8z",
  next: "M10.5 3h2v10h-2zM3 3.4v9.2L9.6 8z",
  less: "M10.6 2.9 12 4.3 8.3 8l3.7 3.7-1.4 1.4L5.5 8z",
  more: "M5.4 2.9 4 4.3 7.7 8 4 11.7l1.4 1.4L10.5 8z",
};
const SPEEDS = [0.25, 0.5, 1, 2, 4];

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function timeText(spec, frame) {
  const value = spec.times ? spec.times[frame] : frame;
  const whole = !spec.times || spec.times.every((t) => Number.isInteger(t));
  const range = spec.times ? Math.abs(spec.times.at(-1) - spec.times[0]) : 0;
  const digits = whole ? 0 : range > 0 && range < 0.2 ? 4 : range < 20 ? 2 : 1;
  return `${spec.time_label} = ${value.toFixed(digits).replace("-", "\u2212")}`;
}

/** The controls' elements, without behaviour. */
function controls() {
  const word = make("span", {}, "Play");
  const parts = {
    back: make("button", { type: "button", class: "gt-step", "aria-label": "Step back" }, icon("previous")),
    play: make("button", { type: "button", class: "gt-play" }, icon("play"), word),
    ahead: make("button", { type: "button", class: "gt-step", "aria-label": "Step forward" }, icon("next")),
    range: make("input", { type: "range", class: "gt-range", min: 0, step: 1, value: 0, "aria-label": "Frame" }),
    time: make("output", { class: "gt-time" }),
    speed: make("select", { class: "gt-speed", "aria-label": "Speed" },
      ...SPEEDS.map((s) => make("option", { value: s }, `${s}\u00d7`))),
  };
  const bar = make("div", { class: "gt-bar" }, ...Object.values(parts));
  return { ...parts, word, bar };
}

/** What moves the selection from particle to particle, for scenes with accounts. */
function picker() {
  const button = (name, label, key) => make("button",
    { type: "button", class: "gt-step", "aria-label": label, "aria-keyshortcuts": key, title: `${label} (${key})` },
    icon(name));
  const parts = {
    less: button("less", "Previous point", "["),
    picked: make("span", { class: "gt-picked" }),
    more: button("more", "Next point", "]"),
  };
  return { ...parts, pick: make("div", { class: "gt-pick" }, ...Object.values(parts)) };
}

/**
 * Build the view. `source` gives spec and bytes, and is told of changes:
 * spec(), bytes(), get(name), changed({frame, playing, selected}), listen(names, callback).
 */
function mountPlayer(place, source) {
  const ui = { ...controls(), ...picker() };
  const row = make("div", { class: "gt-row" });
  const note = make("p", { class: "gt-note" });
  const told = make("p", { class: "gt-told" });
  const spoken = make("span", { class: "gt-spoken", role: "status", "aria-live": "polite" });
  const root = make("figure", { class: "gt-player" }, row, note, told, ui.pick, ui.bar, spoken);
  place.replaceChildren(root);
  const calm = prefersReducedMotion();

  let spec, stage, clock, probes, due = 0, request = 0, visible = true, shown = -1;

  const frameNow = () => Math.min(Math.round(clock.position()), spec.frames - 1);

  function load() {
    const group = source.spec().group;
    if (!clock || group !== spec.group) {
      clock?.removeEventListener("change", onClock);
      clock = clockOf(group);
      clock.addEventListener("change", onClock);
    }
    spec = source.spec();
    const before = stage?.probed;
    probes?.stop();
    stage = new Stage(row, spec, asView(source.bytes()));
    if (before && stage.probed) stage.probed = before; // the reader's place, in the next scene too
    probes = mountProbes(row, stage, redraw, () => say(told.textContent));
    told.hidden = !stage.probed;
    stage.selected = source.get("selected");
    stage.canvases.forEach((canvas, i) => canvas.addEventListener("click", (event) => onPick(i, event)));
    ui.range.max = spec.frames - 1;
    ui.bar.hidden = spec.frames < 2; // a still picture needs no controls
    ui.pick.hidden = !stage.accounted;
    ui.less.hidden = ui.more.hidden = stage.accounted < 2; // one point has no neighbour
    shown = -1;
    root.setAttribute("aria-label", spec.alt);
    root.style.maxWidth = `${cardWidth(spec.panels)}px`;
    fit();
    if (!clock.playing && frameNow() !== clock.position()) clock.pause(frameNow());
  }

  function fit() {
    const width = row.clientWidth;
    if (!width) return; // not laid out yet; the ResizeObserver calls again
    stage.resize(width, Math.min(3, window.devicePixelRatio || 1));
    draw();
  }

  /** Draw the picture for now, and bring the controls in line. */
  function draw(only) {
    due = 0;
    if (!stage.boxes) return;
    const glide = clock.playing && spec.smooth && !calm;
    const position = glide ? Math.min(clock.position(), spec.frames - 1) : frameNow();
    stage.draw(position, only);
    told.textContent = probes.place(position);
    label();
    root.dataset.draws = Number(root.dataset.draws || 0) + 1;
    root.dataset.painted ??= performance.timeOrigin + performance.now();
  }

  /** A handle was moved: its panels are drawn once per animation frame, unless all are anyway. */
  function redraw(only) {
    if (!request) due ||= requestAnimationFrame(() => draw(only));
  }

  /** Controls and note for now; also while the picture is out of sight. */
  function label() {
    const frame = frameNow();
    if (frame === shown) return;
    shown = frame;
    const text = timeText(spec, frame);
    ui.range.value = frame;
    ui.range.setAttribute("aria-valuetext", `${text}, ${frame + 1} of ${spec.frames}`);
    ui.range.style.setProperty("--done", `${(100 * frame) / Math.max(1, spec.frames - 1)}%`);
    ui.time.textContent = text;
    root.dataset.frame = frame;
    note.hidden = !spec.notes;
    note.textContent = spec.notes?.[frame] ?? "";
    ui.picked.textContent = stage.account(frame);
  }

  function tick() {
    request = 0;
    if (clock.finished()) clock.pause(); // the last frame of a run without loop
    if (!clock.playing || !visible) return;
    draw();
    request = requestAnimationFrame(tick);
  }

  /** The clock was moved, started or stopped, here or in a linked view. */
  function onClock() {
    const { playing } = clock;
    root.dataset.playing = playing;
    ui.word.textContent = playing ? "Pause" : "Play";
    ui.play.firstChild.replaceWith(icon(playing ? "pause" : "play"));
    ui.speed.value = clock.speed;
    if (playing && visible && !request) request = requestAnimationFrame(tick);
    if (!playing) {
      shown = -1;
      if (visible) draw();
      else label();
      say(`${note.textContent} ${ui.picked.textContent}`.trim());
    }
    source.changed(playing ? { playing } : { playing, frame: frameNow() });
  }

  function say(words) {
    if (spoken.textContent !== words) spoken.textContent = words;
  }

  function onPick(i, event) {
    const index = stage.pick(i, event, clock.position());
    if (index !== null) choose(index); // null: nothing moves in this panel
  }

  /** Show the path of a particle, and its account where the scene has one. */
  function choose(index) {
    stage.selected = index;
    source.changed({ selected: index });
    shown = -1;
    draw();
    say(ui.picked.textContent);
  }

  function onKey(event) {
    const by = { "[": -1, "]": 1 }[event.key];
    const typed = !event.metaKey && (!event.ctrlKey || event.altKey); // AltGr reports both
    if (!by || !stage.accounted || !typed) return;
    event.preventDefault();
    event.stopPropagation();
    next(by);
  }

  const next = (by) => choose((stage.chosen + by + stage.accounted) % stage.accounted);

  function toggle() {
    if (clock.playing) clock.pause();
    else clock.play({ frames: spec.frames, fps: spec.fps, loop: !calm });
  }

  const step = (by) => clock.pause(Math.max(0, Math.min(spec.frames - 1, frameNow() + by)));
  ui.play.addEventListener("click", toggle);
  ui.back.addEventListener("click", () => step(-1));
  ui.ahead.addEventListener("click", () => step(1));
  ui.less.addEventListener("click", () => next(-1));
  ui.more.addEventListener("click", () => next(1));
  root.addEventListener("keydown", onKey);
  ui.range.addEventListener("input", () => clock.pause(Number(ui.range.value)));
  ui.speed.addEventListener("change", () => clock.setSpeed(Number(ui.speed.value)));

  load();
  if (calm && clock.speed === 1) clock.speed = 0.5;
  ui.speed.value = clock.speed;
  const saved = source.get("frame");
  if (saved !== frameNow() && !clock.playing) clock.pause(Math.min(saved, spec.frames - 1));
  if (source.get("playing") && !clock.playing && !spec.group) source.changed({ playing: false });

  let frozen = false; // stopped because it left the screen, not by the reader
  const seen = new IntersectionObserver((entries) => {
    visible = entries.at(-1).isIntersecting;
    // A linked clock runs on for the views that are still seen; an own one waits.
    if (!visible && clock.playing && !spec.group) {
      frozen = true;
      clock.pause(clock.position());
    } else if (visible && frozen) {
      frozen = false;
      toggle();
    } else if (visible) {
      onClock();
    }
  });
  seen.observe(root);
  const sized = new ResizeObserver(fit);
  sized.observe(row);
  const freeKeys = guardKeys(ui.range);
  const stopListening = source.listen({
    data: load,
    frame: () => {
      const frame = Math.max(0, Math.min(spec.frames - 1, source.get("frame")));
      if (!clock.playing && frame !== frameNow()) clock.pause(frame);
    },
    playing: () => {
      if (source.get("playing") !== clock.playing) toggle();
    },
    selected: () => {
      stage.selected = source.get("selected");
      shown = -1;
      draw();
    },
  });

  return () => {
    cancelAnimationFrame(request);
    cancelAnimationFrame(due);
    probes.stop();
    seen.disconnect();
    sized.disconnect();
    freeKeys();
    stopListening();
    clock.removeEventListener("change", onClock);
    if (clock.playing && !spec.group) clock.pause();
  };
}

/** anywidget: while it plays the frame stays here; Python hears it on pause and seek. */
function render({ model, el }) {
  let waiting = 0; // one message per animation frame at most; the latest wins
  const send = () => {
    waiting = 0;
    model.save_changes();
  };
  return mountPlayer(el, {
    spec: () => model.get("spec"),
    bytes: () => model.get("buf"),
    get: (name) => model.get(name),
    changed(values) {
      const news = Object.entries(values).filter(([name, value]) => model.get(name) !== value);
      for (const [name, value] of news) model.set(name, value);
      if (news.length && !waiting) waiting = requestAnimationFrame(send);
    },
    listen(callbacks) {
      let due = false; // spec and bytes come in one message but as two events
      const data = () => {
        if (due) return;
        due = true;
        queueMicrotask(() => {
          due = false;
          callbacks.data();
        });
      };
      const bound = [["spec", data], ["buf", data]].concat(
        ["frame", "playing", "selected"].map((name) => [name, callbacks[name]]),
      );
      for (const [name, callback] of bound) model.on(`change:${name}`, callback);
      return () => bound.forEach(([name, callback]) => model.off(`change:${name}`, callback));
    },
  });
}

/** A page without a kernel: `data` is the buffer, deflated, as base64. */
export async function mountStatic(place, spec, data) {
  const view = await inflate(data);
  const state = { frame: 0, playing: false, selected: -1 };
  return mountPlayer(place, {
    spec: () => spec,
    bytes: () => view,
    get: (name) => state[name],
    changed: (values) => Object.assign(state, values),
    listen: () => () => {},
  });
}

export default { render };
