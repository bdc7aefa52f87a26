// The keyboard, and the list of keys that "?" shows.

import { byId, element } from "./dom.js";

// Keys, what they do, and the name of the action with its arguments.
const KEYS = [
  [["ArrowUp"], "one slice up", "step", 1],
  [["ArrowDown"], "one slice down", "step", -1],
  [["PageUp"], "ten slices up", "step", 10],
  [["PageDown"], "ten slices down", "step", -10],
  [["ArrowRight"], "next slice to review", "review", 1],
  [["ArrowLeft"], "previous slice to review", "review", -1],
  [["n"], "next case", "otherCase", 1],
  [["p"], "previous case", "otherCase", -1],
  [["v"], "next view: axial, coronal, sagittal, planes, 3D", "nextView"],
  [["w"], "next window", "nextWindow"],
  [["c"], "contour, fill, both", "nextStyle"],
  [["h"], "hide and show all contours", "hide"],
  [["k"], "colour by structure or by set", "colourBy"],
  [["+", "="], "zoom in", "zoom", 1.25],
  [["-"], "zoom out", "zoom", 0.8],
  [["0"], "whole image", "zoom", 0],
  [["s"], "screenshot", "screenshot"],
  [["?"], "this list", "help"],
];
const NAMES = { ArrowUp: "↑", ArrowDown: "↓", ArrowRight: "→", ArrowLeft: "←", PageUp: "Page ↑", PageDown: "Page ↓" };
const MOUSE = [
  ["1 … 9", "show and hide a structure"],
  ["wheel", "slices"], ["click, drag", "crosshair"], ["right drag", "window"], ["middle or shift drag", "move the image"], ["ctrl drag", "measure"],
];

function takesText(target) {
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement ||
    (target instanceof HTMLInputElement && target.type !== "checkbox");
}

export function startKeys(actions) {
  const found = new Map(KEYS.flatMap(([keys, , name, ...values]) => keys.map(key => [key, [name, values]])));
  // Before NiiVue, whose own keys these replace.
  addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || takesText(event.target) || byId("help").open) return;
    const digit = /^[1-9]$/.test(event.key) ? ["structure", [Number(event.key) - 1]] : null;
    const action = digit ?? found.get(event.key.length === 1 ? event.key.toLowerCase() : event.key);
    if (event.target === byId("image")) event.stopPropagation();
    if (!action) return;
    event.preventDefault();
    actions[action[0]](...action[1]);
  }, { capture: true });
  addEventListener("keyup", event => {
    if (event.target === byId("image")) event.stopPropagation();
  }, { capture: true });
  const rows = [...KEYS.map(([keys, text]) => [NAMES[keys[0]] ?? keys[0], text]), ...MOUSE];
  byId("keys").replaceChildren(...rows.flatMap(([key, text]) => [element("dt", {}, element("kbd", {}, key)), element("dd", {}, text)]));
  byId("help-button").onclick = () => actions.help();
}
