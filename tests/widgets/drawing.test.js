// What the canvas is told: clipping, decoding, projection, and the layers made of lines.

import assert from "node:assert/strict";
import test from "node:test";

import { Arrays } from "../../gentoolkit/widgets/js/arrays.js";
import { inside, Pen } from "../../gentoolkit/widgets/js/clip.js";
import { answered, interpolate } from "../../gentoolkit/widgets/js/explorer.js";
import { paint } from "../../gentoolkit/widgets/js/layers.js";
import { layout, projection } from "../../gentoolkit/widgets/js/layout.js";
import { aside, cut } from "../../gentoolkit/widgets/js/ribbon.js";

const near = (found, wanted, by = 1e-9) => {
  assert.equal(found.length, wanted.length);
  found.forEach((value, i) => assert.ok(Math.abs(value - wanted[i]) <= by, `${found} is not ${wanted}`));
};

/** A canvas that writes down every call, as [name, ...arguments]. */
function recorder() {
  const calls = [];
  const g = new Proxy({}, {
    get: (kept, name) => kept[name] ?? ((...given) => void calls.push([name, ...given])),
    set: (kept, name, value) => Reflect.set(kept, name, value),
  });
  return { g, calls, lines: () => calls.filter(([name]) => name === "moveTo" || name === "lineTo") };
}

test("a segment is cut with its slope kept", () => {
  // Bug: (0,0)-(100,10) in [-1,1]^2 drawn with slope 1, x and y clipped one by one.
  const square = [-1, -1, 1, 1];
  near(inside(0, 0, 100, 10, square), [0, 0.01]);
  near(inside(-2, 0, 2, 0, square), [0.25, 0.75]);
  near(inside(0, 0, 0.5, 0.5, square), [0, 1]);
  assert.equal(inside(2, -1, 2, 1, square), null);
  assert.equal(inside(-3, 0, 0, 3, square), null); // passes by the corner
  near(inside(0, -5, 0, 5, square), [0.4, 0.6]);
});

test("a pen leaves out what lies outside and comes back where the line does", () => {
  // Bug: a path that goes on along the edge, or that is joined across the gap.
  const { g, lines } = recorder();
  const pen = new Pen(g, [0, 0, 10, 10]);
  const places = [[5, 5], [25, 10], [25, -10], [5, 0], [1, 1]];
  pen.line(places.length, (v) => places[v]);
  const drawn = lines();
  assert.deepEqual(drawn.map(([name]) => name), ["moveTo", "lineTo", "moveTo", "lineTo", "lineTo"]);
  near(drawn[0].slice(1), [5, 5]);
  near(drawn[1].slice(1), [10, 6.25]);
  near(drawn.at(-1).slice(1), [1, 1]);
  for (const [, x, y] of drawn) assert.ok(x >= 0 && x <= 10 && y >= 0 && y <= 10);
});

const PANEL = { x: [-1, 1], y: [-1, 1], title: "", x_label: "", y_label: "", equal: true, axes: true, weight: 1, layers: [] };

function boxOf(panel) {
  const area = { panel, left: 0, top: 0, w: 200, h: 200 };
  return { ...area, ...projection(area) };
}

/** A stage with float32 positions, given as shares of the panel. */
function stageOf(arrays, frames = 1) {
  const numbers = Object.values(arrays).flatMap(({ data }) => data);
  const table = {};
  let offset = 0;
  for (const [name, { shape, data, moving = false, plain = false }] of Object.entries(arrays)) {
    table[name] = { dtype: "float32", shape, offset, moving, lo: [-1, -1], hi: [1, 1], ...(plain ? {} : { x: [-1, 1], y: [-1, 1] }) };
    offset += 4 * data.length;
  }
  return { arrays: new Arrays(table, new DataView(new Float32Array(numbers).buffer)), spec: { frames, arrays: table }, chosen: 0 };
}

const STROKE = { color: "#000000", width: 1, dash: false, alpha: 1 };
const FAR = [0.5, 0.5, 50.5, 5.5]; // (0, 0) and (100, 10) in a panel from -1 to 1

for (const [kind, layer, arrays] of [
  ["lines", { xy: "a" }, { a: { shape: [1, 2, 2], data: FAR } }],
  ["curve", { xy: "a", marker: false }, { a: { shape: [2, 2], data: FAR } }],
  ["curve", { xy: "a", marker: true }, { a: { shape: [2, 2], data: FAR } }],
  ["trails", { xy: "a", length: 2 }, { a: { shape: [2, 1, 2], data: FAR, moving: true } }],
  ["arrows", { xy: "a", heads: "b" }, { a: { shape: [1, 2], data: FAR.slice(0, 2) }, b: { shape: [1, 2], data: FAR.slice(2) } }],
  ["ribbons", { xy: "a", widths: "b", beside: false }, { a: { shape: [1, 2, 2], data: FAR }, b: { shape: [1], data: [4], plain: true } }],
  ["graph", { xy: "a", widths: "b", edges: [[0, 1]], size: 5 }, { a: { shape: [2, 2], data: FAR }, b: { shape: [1], data: [4], plain: true } }],
]) {
  test(`${kind} keep their slope far beyond the panel, inside of what a canvas can draw (${JSON.stringify(layer)})`, () => {
    const { g, lines } = recorder();
    paint(g, stageOf(arrays, 2), boxOf(PANEL), { ...STROKE, ...layer, kind }, 1);
    const drawn = lines();
    assert.equal(drawn[0][0], "moveTo");
    const end = drawn.find(([name]) => name === "lineTo");
    const [dx, dy] = [end[1] - drawn[0][1], drawn[0][2] - end[2]];
    assert.ok(dx > 1000, `drawn over ${dx} pixels only`);
    assert.ok(Math.abs(dy / dx - 0.1) < 1e-6, `slope ${dy / dx}`);
    assert.ok(drawn.every(([, x, y]) => Math.hypot(x, y) < 1e4));
  });
}

test("stored places become shares of the panel, exactly also far from zero", () => {
  // Bug: coordinates near a million rounded to single precision, a hundredth of the panel off.
  const x = [1e6, 1e6 + 1], y = [-1e6, -1e6 + 2];
  const entry = { dtype: "uint16", shape: [2, 1, 2], offset: 2, moving: true, x, y,
    lo: [1e6 - 1, -1e6 - 2], hi: [1e6 + 2, -1e6 + 4] };
  const bytes = new Uint8Array(12);
  new Uint16Array(bytes.buffer).set([0, 0, 21845, 43690, 65535, 0]); // one number before them
  const arrays = new Arrays({ a: { ...entry, offset: 4 } }, new DataView(bytes.buffer));
  near(arrays.read("a", 0), [0, 1]);
  near(arrays.read("a", 1), [2, -1]);
  near(arrays.read("a", 0.5), [1, 0]);
  near(arrays.place("a", 1, 0), [2, -1]);
  assert.deepEqual(arrays.shape("a"), [1, 2]);
  const numbers = new DataView(new Float32Array([0.25, 0.5]).buffer);
  const far = new Arrays({ b: { dtype: "float32", shape: [2], offset: 0, moving: false, lo: [], hi: [], origin: 1e8 } }, numbers);
  assert.equal(far.number("b", 1), 1e8 + 0.5);
  near(far.read("b", 0), [1e8 + 0.25, 1e8 + 0.5]);
});

test("a buffer that starts anywhere is read", () => {
  // Bug: a typed array that must start on a multiple of its item size.
  const bytes = new Uint8Array(13);
  new DataView(bytes.buffer).setFloat32(9, 2.5, true);
  const view = new DataView(bytes.buffer, 5, 8);
  const arrays = new Arrays({ a: { dtype: "float32", shape: [1], offset: 4, moving: false, lo: [], hi: [] } }, view);
  near(arrays.read("a", 0), [2.5]);
});

test("panels project their corners, y upward", () => {
  const { px, py, sx, sy } = projection({ panel: { ...PANEL, x: [1e9, 1e9 + 4], y: [0, 2] }, left: 10, top: 20, w: 100, h: 50 });
  near([px(1e9), px(1e9 + 1), py(0), py(2), sx(0.5), sy(1)], [10, 35, 70, 20, 60, 20]);
});

test("rows share their height and leave room for the longest label", () => {
  // Bug: plot areas of a row that do not stand in line, or labels cut at the canvas' edge.
  const measure = (text) => 8 * text.length;
  const wide = { ...PANEL, y: [0, 100000], equal: false };
  const boxes = layout([PANEL, wide, PANEL], 900, measure);
  assert.deepEqual(new Set(boxes.map((box) => box.top)).size, 1);
  assert.deepEqual(new Set(boxes.map((box) => box.outerH)).size, 1);
  assert.ok(boxes[1].left >= measure("100,000") + 12);
  assert.ok(boxes.every((box) => box.left + box.w <= box.outerW));
  assert.equal(boxes[0].w, boxes[0].h); // one unit, one length
  assert.ok(layout([PANEL, PANEL, PANEL], 320, measure).every((box) => box.outerW <= 320)); // one below the other
  const bare = layout([{ ...PANEL, axes: false }], 400, measure)[0];
  assert.deepEqual([bare.across, bare.up], [[], []]);
});

test("a ribbon lies on the right of its way and ends before its head", () => {
  near(aside([[0, 0], [10, 0]], 3).flat(), [0, 3, 10, 3]); // y downward: right of going right
  near(cut([[0, 0], [10, 0], [10, 10]], 13).flat(), [0, 0, 10, 0, 10, 3]);
});

test("decodes are interpolated between the stored ones, row by the second coordinate", () => {
  // Bug: rows and columns of the grid swapped.
  const decodes = [0, 10, 20, 30]; // at (-1,-1), (1,-1), (-1,1), (1,1)
  const out = new Float32Array(1);
  const options = { grid: 2, extent: [-1, 1], image: [1, 1] };
  for (const [z, wanted] of [[[-1, -1], 0], [[1, -1], 10], [[-1, 1], 20], [[0, 0], 15], [[1, 0.5], 25]]) {
    interpolate(decodes, options, z, out);
    near([...out], [wanted], 1e-5);
  }
});

test("an answer for another place is not shown", () => {
  const answer = new DataView(new ArrayBuffer(10));
  answer.setFloat32(0, 0.5, true);
  answer.setFloat32(4, -1, true);
  answer.setUint8(8, 7);
  assert.equal(answered(answer, [0.5, -1], 2)[0], 7);
  assert.equal(answered(answer, [0.4, -1], 2), null);
  assert.equal(answered(answer, [0.5, -1], 3), null);
  assert.equal(answered(null, [0.5, -1], 2), null);
});
