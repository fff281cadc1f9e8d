// Elements, keys and bytes: what every view needs of the browser.

/** @import { Model } from "./types.d.ts" */

export const prefersReducedMotion = () =>
  window.matchMedia("(prefers-reduced-motion: reduce)").matches;

export const screenRatio = () => Math.min(3, window.devicePixelRatio || 1);

const MOVING_KEYS = /^(Arrow(Left|Right|Up|Down)|Home|End|PageUp|PageDown)$/;

/**
 * Keep the moving keys for `element` while it has the focus.
 *
 * JupyterLab listens on the document in the capture phase and, outside of text fields, moves its
 * cell selection with these keys. The window's capture phase comes before. A native range input
 * still moves, for that is the browser's default action; another element gets them in `onKey`.
 * Returns a function that removes the listener.
 * @param {HTMLElement} element
 * @param {(event: KeyboardEvent) => void} [onKey]
 */
export function guardKeys(element, onKey) {
  const guard = (/** @type {KeyboardEvent} */ event) => {
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

/**
 * Steps of a handle in the plane by key: [right, up], a multiple of `step` of each axis.
 * @param {KeyboardEvent} event
 * @returns {[number, number] | undefined}
 */
export function keyMove(event) {
  const by = event.shiftKey ? 5 : 1;
  /** @type {Record<string, [number, number]>} */
  const moves = {
    ArrowLeft: [-by, 0], ArrowRight: [by, 0], ArrowUp: [0, by], ArrowDown: [0, -by],
    PageUp: [0, 5 * by], PageDown: [0, -5 * by],
  };
  return moves[event.key];
}

/**
 * Make an element: make("button", { class: "x", "aria-label": "y" }, child, "text").
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, string | number | null | undefined>} [attributes]
 * @param {...(Node | string)} children
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children);
  return element;
}

/**
 * One call of `send` per animation frame at most, however often it is asked for: the latest wins.
 * @param {() => void} send
 */
export function oncePerFrame(send) {
  let waiting = 0;
  return () => {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      send();
    });
  };
}

/**
 * Listen to changes of a model's traits; returns a function that stops it.
 * @param {Model} model
 * @param {Record<string, () => void>} callbacks
 */
export function onChange(model, callbacks) {
  const bound = Object.entries(callbacks);
  for (const [name, callback] of bound) model.on(`change:${name}`, callback);
  return () => bound.forEach(([name, callback]) => model.off(`change:${name}`, callback));
}

/**
 * Inflate the base64 text of a page without a kernel.
 * @param {string} text
 */
export async function inflate(text) {
  const packed = Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new DataView(await new Response(stream).arrayBuffer());
}

/**
 * Live models deliver a DataView; whatever comes, give the bytes.
 * @param {DataView | ArrayBuffer | Uint8Array} buffer
 */
export function asView(buffer) {
  if (buffer instanceof DataView) return buffer;
  const bytes = buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : buffer;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
