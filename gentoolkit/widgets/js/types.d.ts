// What Python sends: the description of a scene, as gentoolkit/viz writes it.

export type Pair = [number, number];
export type Frames = "uint8" | "uint16" | "float32";

/** How an array lies in the buffer. Positions name the panel's range that they are relative to. */
export interface Entry {
  dtype: Frames;
  shape: number[];
  offset: number;
  moving: boolean;
  lo: number[];
  hi: number[];
  x?: Pair;
  y?: Pair;
  origin?: number;
  colormap?: string;
}

interface Stroke { color: string; width: number; dash: boolean; alpha: number }
interface Shaded { values?: string; colormap?: string }

export type Heat = { kind: "heat"; values: string; colormap: string; alpha: number };
export type Images = { kind: "images"; values: string; colormap: string; gap: number };
export type Points = Shaded & {
  kind: "points"; xy: string; color: string; size: number; alpha: number; crossed?: string; ghosts?: string;
};
export type Probe = { kind: "probe"; field: string; name: string; start: Pair };
export type Lines = Stroke & { kind: "lines"; xy: string };
export type Trails = Stroke & { kind: "trails"; xy: string; length: number };
export type Arrows = Stroke & { kind: "arrows"; xy: string; heads: string };
export type Ribbons = {
  kind: "ribbons"; xy: string; widths: string; color: string; dash: boolean; alpha: number; beside: boolean;
};
export type Graph = Shaded & {
  kind: "graph"; xy: string; widths: string; edges: Pair[]; color: string; size: number;
};
export type Bars = {
  kind: "bars"; heights: string; positions: string; width: number; color: string; alpha: number;
};
export type Curve = Stroke & { kind: "curve"; xy: string; marker: boolean };
export type Accounts = Stroke & { kind: "accounts"; x: string; y: string; name: string };
export type Words = {
  kind: "text"; xy: string; texts: string[]; color: string; size: number; anchor: CanvasTextAlign;
};
export type Layer =
  | Heat | Images | Points | Probe | Lines | Trails | Arrows | Ribbons | Graph | Bars | Curve | Accounts | Words;

export interface Panel {
  x: Pair;
  y: Pair;
  title: string;
  x_label: string;
  y_label: string;
  equal: boolean;
  axes: boolean;
  weight: number;
  layers: Layer[];
}

export interface Spec {
  frames: number;
  fps: number;
  times: number[] | null;
  time_label: string;
  alt: string;
  notes: string[] | null;
  group: string | null;
  smooth: boolean;
  poster: number;
  panels: Panel[];
  arrays: Record<string, Entry>;
  explorer?: ExplorerOptions;
}

export interface ExplorerOptions {
  extent: Pair;
  grid: number;
  image: Pair;
  start: Pair;
  offset: number;
  colormap: string;
  points: string | null;
  labels: string | null;
  names: string[];
}

export interface KnobSpec {
  name: string;
  label: string;
  low: number;
  high: number;
  step: number;
  choices?: number[];
  names?: string[];
}

export interface Tick { value: number; text: string }

/** Where a panel lies on its canvas, in CSS pixels. */
export interface Box {
  panel: Panel;
  left: number;
  top: number;
  w: number;
  h: number;
  outerW: number;
  outerH: number;
  across: Tick[];
  up: Tick[];
  /** Pixels of a coordinate of the panel. */
  px(x: number): number;
  py(y: number): number;
  /** Pixels of a share of the panel's range, 0 at its low end and 1 at its high end. */
  sx(share: number): number;
  sy(share: number): number;
}

/** anywidget's model, as far as it is used. */
export interface Model {
  get(name: string): any;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, callback: () => void): void;
  off(event: string, callback: () => void): void;
}

export interface PlayerState { frame: number; playing: boolean; selected: number }

/** Where a player gets its scene, and whom it tells of changes. */
export interface PlayerSource {
  spec(): Spec;
  bytes(): DataView;
  state(): PlayerState;
  changed(values: Partial<PlayerState>): void;
  listen(callbacks: Record<"data" | "frame" | "playing" | "selected", () => void>): () => void;
}

export interface ExplorerSource {
  spec(): Spec;
  bytes(): DataView;
  z(): Pair;
  exact(): DataView | null;
  changed(z: Pair): void;
  listen(callbacks: Record<"data" | "z" | "image", () => void>): () => void;
}

declare global {
  interface Window { gentoolkitClocks?: Map<string, any> }
}
