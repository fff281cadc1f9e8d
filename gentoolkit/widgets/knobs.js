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

  const rows = model.get("knobs").map(({ name, label, low, high, step, digits }) => {
    const words = (value) => value.toFixed(digits).replace("-", "\u2212");
    const range = make("input", { type: "range", class: "gt-range", min: low, max: high, step, "aria-label": label });
    const shown = make("output", { class: "gt-time" });
    const row = make("label", { class: "gt-knob" }, make("span", {}, label), range, shown);
    const show = (value) => {
      range.value = value;
      shown.textContent = words(value);
      range.setAttribute("aria-valuetext", `${label} ${words(value)}`);
      range.style.setProperty("--done", `${(100 * (value - low)) / (high - low)}%`);
    };
    const set = () => {
      const value = Number(range.value);
      if (model.get("values")[name] === value) return; // a release where the drag had come to
      model.set("values", { ...model.get("values"), [name]: value });
      if (!waiting) waiting = requestAnimationFrame(send);
    };
    range.addEventListener("input", () => {
      show(Number(range.value));
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
