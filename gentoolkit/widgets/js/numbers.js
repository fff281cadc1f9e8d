// Numbers as text: as many digits as tell neighbours apart, and no more. Ticks, knobs, times and
// accounts all write their numbers here.

/** @import { Pair, Tick } from "./types.d.ts" */

const LARGE = 1e6; // from here on powers of ten, if few digits tell neighbours apart
const SMALL = 1e-3; // below, powers of ten, if many decimals would be needed
const DECIMALS = 4;
const APART = 50; // pixels between ticks of short labels
const SUPERSCRIPTS = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";

/**
 * The power of ten of the last digit that multiples of `step` need.
 * @param {number} step
 */
export const powerOf = (step) => Math.floor(Math.log10(step) + 1e-9);

/**
 * The power of ten of the last digit with which a number in a range is read out.
 * @param {Pair} range
 */
export const readingPower = ([low, high]) => Math.min(-2, powerOf((high - low) / 20));

/**
 * Write a number up to the digit of 10^power. `scale` is the greatest size of the numbers beside
 * it, so that all of an axis are written alike.
 * @param {number} value
 * @param {number} power
 * @param {number} [scale]
 */
export function numberText(value, power, scale = Math.abs(value)) {
  const lead = powerOf(scale || 1) - power;
  const large = scale >= LARGE && (lead <= 3 || scale >= 1e15);
  if (large || (scale < SMALL && -power > DECIMALS)) return scientific(value, power);
  return grouped(value.toFixed(Math.min(100, Math.max(0, -power))));
}

/**
 * @param {number} value
 * @param {number} power
 */
function scientific(value, power) {
  if (Math.abs(value) < 0.5 * 10 ** power) return "0";
  const digits = Math.max(0, Math.min(15, powerOf(Math.abs(value)) - power));
  const [mantissa, exponent] = value.toExponential(digits).split("e");
  const raised = [...exponent.replace("+", "")].map((c) => (c === "-" ? "\u207b" : SUPERSCRIPTS[Number(c)]));
  return `${grouped(mantissa)}\u00d710${raised.join("")}`;
}

/**
 * A true minus, no minus before zero, and commas from five digits on.
 * @param {string} text
 */
function grouped(text) {
  const [whole, decimals] = text.replace(/^-(?=0*\.?0*$)/, "").replace("-", "\u2212").split(".");
  const far = whole.replace("\u2212", "").length > 4;
  const parted = far ? whole.replace(/\B(?=(\d{3})+$)/g, ",") : whole;
  return decimals === undefined ? parted : `${parted}.${decimals}`;
}

/**
 * Tick values 1, 2 or 5 times a power of ten, about `count` of them.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 * @returns {Tick[]}
 */
export function ticks(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999) ?? 10 * power;
  const first = Math.ceil(low / step - 1e-9);
  const found = Math.max(0, Math.floor(high / step + 1e-9) - first + 1);
  const scale = Math.max(Math.abs(low), Math.abs(high));
  return Array.from({ length: found }, (_, k) => {
    const value = (first + k) * step;
    return { value, text: numberText(value, powerOf(step), scale) };
  });
}

/**
 * Ticks whose labels leave a gap between each other.
 * @param {Pair} range
 * @param {number} room pixels along the axis
 * @param {(text: string) => number} measure
 */
export function fittingTicks([low, high], room, measure) {
  const widest = (/** @type {Tick[]} */ some) => Math.max(...some.map(({ text }) => measure(text)));
  const pixels = (/** @type {Tick[]} */ some) => ((some[1].value - some[0].value) / (high - low)) * room;
  let known = ticks(low, high, room / APART);
  for (let count = room / APART; count > 0.7; count *= 0.7) {
    const found = ticks(low, high, count);
    if (found.length < 2) break;
    if (widest(found) + 12 <= pixels(found)) return found;
    known = found;
  }
  return known.slice(0, 1);
}

/**
 * Write the values of a set, all different: alike if few decimals do, else each for itself.
 * @param {number[]} values
 */
export function distinctTexts(values) {
  const different = (/** @type {string[]} */ texts) => new Set(texts).size === new Set(values).size;
  const gap = Math.min(...values.slice(1).map((v, k) => Math.abs(v - values[k])));
  for (let digits = 0; digits <= DECIMALS; digits++) {
    const texts = values.map((value) => grouped(value.toFixed(digits)));
    const near = values.every((v) => Math.abs(Number(v.toFixed(digits)) - v) <= Math.min(5e-4 * Math.abs(v), 0.1 * gap));
    if (near && different(texts)) return texts;
  }
  for (let digits = 3; digits < 16; digits++) {
    const texts = values.map((value) => {
      const rounded = Number(value.toExponential(digits));
      const size = Math.abs(rounded);
      if (rounded === 0 || (size >= SMALL && size < LARGE)) return grouped(String(rounded));
      const [mantissa] = rounded.toExponential().split("e");
      return scientific(rounded, powerOf(size) - Math.max(0, mantissa.replace(/[-.]/g, "").length - 1));
    });
    if (different(texts)) return texts;
  }
  return values.map(String);
}

/**
 * The value of each frame, with the digits that tell neighbouring frames apart.
 * @param {number[]} times
 */
export function timeTexts(times) {
  const span = Math.max(...times) - Math.min(...times);
  const gaps = times.slice(1).map((t, k) => Math.abs(t - times[k])).filter((gap) => gap > 0);
  const whole = times.every((t) => Number.isInteger(t));
  const power = whole || !gaps.length ? (whole ? 0 : -2) : Math.min(0, Math.max(powerOf(Math.min(...gaps)), powerOf(span) - 3));
  const scale = Math.max(...times.map(Math.abs));
  return times.map((t) => numberText(t, power, scale));
}
