// Sliders with names under a player. Native range inputs: they follow the keyboard everywhere.

import { guardKeys, make } from "./clock.js";
import { cardWidth } from "./plot.js";

function render({ model, el }) {
  const message = make("p", { class: "gt-message", role: "alert" });
  const root = make("div", { class: "gt-knobs" });
  el.replaceChildren(root);
  root.style.maxWidth = `${cardWidth(model.get("panels"))}px`; // as wide as the player above

  let waiting = 0; // one message per animation frame at most; the latest wins
  const send = () => {
    waiting = 0;
    model.save_changes();
  };

  const rows = model.get("knobs").map(({ name, label, low, high, step, digits, choices = [], names = [] }) => {
    const words = (value) =>
      names[choices.indexOf(value)] ?? value.toFixed(digits).replace("-", "\u2212");
    const range = make("input", { type: "range", class: "gt-range", "aria-label": label,
      ...(choices.length ? { min: 0, max: choices.length - 1, step: 1 } : { min: low, max: high, step }) });
    // With choices the slider counts them, so that each key press is one.
    const valueNow = () => (choices.length ? choices[Number(range.value)] : Number(range.value));
    const shown = make("output", { class: "gt-time" });
    const row = make("label", { class: "gt-knob" }, make("span", {}, label), range, shown);
    const show = (value) => {
      range.value = choices.length ? choices.indexOf(value) : value;
      shown.textContent = words(value);
      range.setAttribute("aria-valuetext", `${label} ${words(value)}`);
      range.style.setProperty("--done", `${(100 * (range.value - range.min)) / (range.max - range.min)}%`);
    };
    const set = () => {
      const value = valueNow();
      if (model.get("values")[name] === value) return; // a release where the drag had come to
      model.set("values", { ...model.get("values"), [name]: value });
      if (!waiting) waiting = requestAnimationFrame(send);
    };
    range.addEventListener("input", () => {
      show(valueNow());
      if (model.get("continuous")) set();
    });
    range.addEventListener("change", set);
    return { row, freeKeys: guardKeys(range), read: () => show(model.get("values")[name]) };
  });
  root.replaceChildren(...rows.map(({ row }) => row), message);

  const values = () => rows.forEach(({ read }) => read());
  const words = () => {
    message.textContent = model.get("message");
    message.hidden = !message.textContent;
  };
  values();
  words();
  model.on("change:values", values);
  model.on("change:message", words);
  return () => {
    rows.forEach(({ freeKeys }) => freeKeys());
    model.off("change:values", values);
    model.off("change:message", words);
  };
}

export default { render };
