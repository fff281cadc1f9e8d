// The scene's numbers, read from one buffer and handed out per (fractional) frame.

/** @import { Entry } from "./types.d.ts" */

const TYPES = { uint8: Uint8Array, uint16: Uint16Array, float32: Float32Array };
const GREATEST = { uint8: 1, uint16: 65535, float32: 1 };

/**
 * @typedef {object} Stored
 * @property {Uint8Array | Uint16Array | Float32Array} data
 * @property {boolean} moving
 * @property {number} last index of the last frame
 * @property {number[]} shape of one frame
 * @property {number} stride numbers of one frame
 * @property {number[]} start what is added, for even and odd indices
 * @property {number[]} scale what the stored number is multiplied by before
 * @property {Float64Array} scratch the frame that was read last
 * @property {number} at its position
 */

/**
 * @param {Entry} entry
 * @param {ArrayBuffer} buffer
 * @returns {Stored}
 */
function stored(entry, buffer) {
  const size = entry.shape.reduce((a, b) => a * b, 1);
  const stride = entry.moving ? size / entry.shape[0] : size;
  const { x, y, lo, hi } = entry;
  let [start, scale] = [[entry.origin ?? 0, entry.origin ?? 0], [1, 1]];
  if (x && y) {
    // Shares of the panel's range: exact also where the coordinates lie far from zero.
    const spans = [x[1] - x[0], y[1] - y[0]];
    start = [(lo[0] - x[0]) / spans[0], (lo[1] - y[0]) / spans[1]];
    scale = [0, 1].map((k) => (hi[k] - lo[k]) / spans[k] / GREATEST[entry.dtype]);
  }
  return {
    data: new TYPES[entry.dtype](buffer, entry.offset, size),
    moving: entry.moving, last: entry.moving ? entry.shape[0] - 1 : 0,
    shape: entry.moving ? entry.shape.slice(1) : entry.shape,
    stride, start, scale, scratch: new Float64Array(stride), at: -1,
  };
}

export class Arrays {
  /** @type {Record<string, Stored>} */
  #entries = {};

  /**
   * @param {Record<string, Entry>} table
   * @param {DataView} view
   */
  constructor(table, view) {
    // One copy, so that every array starts on a multiple of its item size.
    const { buffer } = new Uint8Array(view.buffer, view.byteOffset, view.byteLength).slice();
    for (const [name, entry] of Object.entries(table)) this.#entries[name] = stored(entry, buffer);
  }

  /** @param {string} name */
  shape(name) {
    return this.#entries[name].shape;
  }

  /** @param {string | undefined} name */
  moving(name) {
    return name !== undefined && this.#entries[name].moving;
  }

  /**
   * The numbers as they are stored.
   * @param {string} name
   */
  raw(name) {
    return this.#entries[name].data;
  }

  /**
   * One number of a still array.
   * @param {string} name
   * @param {number} index
   */
  number(name, index) {
    const { data, start } = this.#entries[name];
    return start[0] + data[index];
  }

  /**
   * The numbers at a position between two frames: places as shares of the panel's range, x and y
   * in turn; colour values from 0 to 255; all others as they are.
   * @param {string} name
   * @param {number} position
   */
  read(name, position) {
    const e = this.#entries[name];
    const at = e.moving ? Math.min(position, e.last) : 0;
    const { data, scratch, stride, start, scale } = e;
    if (e.at === at) return scratch;
    e.at = at;
    const frame = Math.min(Math.floor(at), e.last);
    const from = frame * stride;
    const share = at - frame;
    for (let i = 0; i < stride; i++) {
      const value = data[from + i];
      const between = share > 0 ? value + share * (data[from + stride + i] - value) : value;
      scratch[i] = start[i & 1] + scale[i & 1] * between;
    }
    return scratch;
  }

  /**
   * One place of a moving array at a whole frame, without touching the rest.
   * @param {string} name
   * @param {number} frame
   * @param {number} index
   * @returns {[number, number]}
   */
  place(name, frame, index) {
    const { data, moving, last, stride, start, scale } = this.#entries[name];
    const i = (moving ? Math.min(frame, last) : 0) * stride + 2 * index;
    return [start[0] + scale[0] * data[i], start[1] + scale[1] * data[i + 1]];
  }
}
