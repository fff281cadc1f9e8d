// Time: which frame is shown, whether it runs, and how fast. Every view of one group of linked
// players listens to the same Clock and computes the frame from it, so nothing is sent back and
// forth while it runs and no view can echo another.

const HOLD_SECONDS = 0.9; // the last frame rests this long before the loop starts again

export class Clock extends EventTarget {
  constructor() {
    super();
    this.start = 0; // position, in frames, at the moment `since`
    this.since = performance.now();
    this.playing = false;
    this.speed = 1;
    this.frames = 1; // set by the view on which Play was pressed
    this.fps = 20;
    this.loop = true;
  }

  /** The position now, in frames with a fraction, never past the last frame. */
  position(now = performance.now()) {
    const last = this.frames - 1;
    if (!this.playing) return this.start;
    const run = this.start + ((now - this.since) / 1000) * this.fps * this.speed;
    const period = last + HOLD_SECONDS * this.fps * this.speed;
    return Math.min(this.loop ? run % period : run, last);
  }

  /** Whether a run without loop has come to its end. */
  finished(now = performance.now()) {
    return this.playing && !this.loop && this.position(now) >= this.frames - 1;
  }

  play({ frames, fps, loop, speed }) {
    const from = Math.round(this.position());
    Object.assign(this, { frames, fps, loop, speed: speed ?? this.speed });
    this.#set(from >= frames - 1 ? 0 : from, true); // Play at the end starts again
  }

  pause(position = Math.round(this.position())) {
    this.#set(position, false);
  }

  setSpeed(speed) {
    const position = this.position();
    this.speed = speed;
    this.#set(position, this.playing);
  }

  #set(position, playing) {
    this.start = position;
    this.since = performance.now();
    this.playing = playing;
    this.dispatchEvent(new Event("change"));
  }
}

/** The clock of a named group, shared by all modules of the page; a new one without a name. */
export function clockOf(group) {
  if (!group) return new Clock();
  const clocks = (window.gentoolkitClocks ??= new Map());
  if (!clocks.has(group)) clocks.set(group, new Clock());
  return clocks.get(group);
}

export const prefersReducedMotion = () =>
  window.matchMedia("(prefers-reduced-motion: reduce)").matches;

const MOVING_KEYS = /^(Arrow(Left|Right|Up|Down)|Home|End|PageUp|PageDown)$/;

/**
 * Keep the moving keys for `element` while it has the focus.
 *
 * JupyterLab listens on the document in the capture phase and, outside of text fields, moves its
 * cell selection with these keys. The window's capture phase comes before. A native range input
 * still moves, for that is the browser's default action; another element gets them in `onKey`.
 * Returns a function that removes the listener.
 */
export function guardKeys(element, onKey) {
  const guard = (event) => {
    if (event.target !== element || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!MOVING_KEYS.test(event.key)) return;
    event.stopPropagation();
    if (onKey) {
      event.preventDefault();
      onKey(event);
    }
  };
  window.addEventListener("keydown", guard, true);
  return () => window.removeEventListener("keydown", guard, true);
}

/** Make an element: make("button", { class: "x", "aria-label": "y" }, child, "text"). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Inflate the base64 text of a page without a kernel. */
export async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new DataView(await new Response(stream).arrayBuffer());
}

/** Live models deliver a DataView; whatever comes, give the bytes. */
export function asView(buffer) {
  if (buffer instanceof DataView) return buffer;
  const bytes = buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : buffer;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
