// Marks that are painted once and stamped many times: far cheaper than one arc per particle.

import { pencil } from "./axes.js";

/** @typedef {{ canvas: HTMLCanvasElement, side: number }} Sprite */

/**
 * @param {number} side
 * @param {number} ratio
 * @param {(g: CanvasRenderingContext2D) => void} draw about the middle, in CSS pixels
 * @returns {Sprite}
 */
function painted(side, ratio, draw) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = Math.ceil(side * ratio) + 2;
  const g = pencil(canvas);
  g.translate(canvas.width / 2, canvas.height / 2);
  g.scale(ratio, ratio);
  draw(g);
  return { canvas, side: canvas.width / ratio };
}

export class Sprites {
  /** @type {Map<string, Sprite>} */
  #known = new Map();

  /** @param {number} ratio device pixels of a CSS pixel */
  constructor(ratio) {
    this.ratio = ratio;
  }

  /**
   * @param {string} key
   * @param {() => Sprite} make
   */
  #once(key, make) {
    const known = this.#known.get(key) ?? make();
    this.#known.set(key, known);
    return known;
  }

  /**
   * @param {string} color
   * @param {number} size its diameter
   */
  disc(color, size) {
    return this.#once(`disc ${color}/${size}`, () => painted(size, this.ratio, (g) => {
      g.fillStyle = color;
      g.beginPath();
      g.arc(0, 0, size / 2, 0, 2 * Math.PI);
      g.fill();
    }));
  }

  /**
   * A cross with a white rim.
   * @param {string} color
   * @param {number} size
   */
  cross(color, size) {
    const arm = 0.45 * size + 1.5;
    return this.#once(`cross ${color}/${size}`, () => painted(2 * arm + 4, this.ratio, (g) => {
      for (const [style, width] of /** @type {[string, number][]} */ ([["rgba(255,255,255,0.8)", 4], [color, 2]])) {
        g.strokeStyle = style;
        g.lineWidth = width;
        g.beginPath();
        g.moveTo(-arm, -arm);
        g.lineTo(arm, arm);
        g.moveTo(-arm, arm);
        g.lineTo(arm, -arm);
        g.stroke();
      }
    }));
  }
}
