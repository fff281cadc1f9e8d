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

  /** @param {{ frames: number, fps: number, loop: boolean }} run */
  play({ frames, fps, loop }) {
    const from = Math.round(this.position());
    Object.assign(this, { frames, fps, loop });
    this.#set(from >= frames - 1 ? 0 : from, true); // Play at the end starts again
  }

  pause(position = Math.round(this.position())) {
    this.#set(position, false);
  }

  /** @param {number} speed */
  setSpeed(speed) {
    const position = this.position();
    this.speed = speed;
    this.#set(position, this.playing);
  }

  /**
   * @param {number} position
   * @param {boolean} playing
   */
  #set(position, playing) {
    this.start = position;
    this.since = performance.now();
    this.playing = playing;
    this.dispatchEvent(new Event("change"));
  }
}

/**
 * The clock of a named group, shared by all modules of the page; a new one without a name.
 * @param {string | null} group
 * @returns {Clock}
 */
export function clockOf(group) {
  if (!group) return new Clock();
  const clocks = (window.gentoolkitClocks ??= new Map());
  if (!clocks.has(group)) clocks.set(group, new Clock());
  return clocks.get(group);
}
