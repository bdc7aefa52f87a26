// Window presets of CT, in HU: level and width.

import { byId, element } from "./dom.js";

export const PRESETS = { "soft tissue": [40, 400], bone: [400, 1800], pelvis: [35, 300], lung: [-600, 1500], wide: [0, 2000] };
export const FIRST = "soft tissue";
const FREE = "free";

export const range = ([level, width]) => [level - width / 2, level + width / 2];

export function startWindows(apply) {
  byId("window").replaceChildren(...[...Object.keys(PRESETS), FREE].map(name => element("option", { value: name }, name)));
  byId("window").onchange = () => {
    const preset = PRESETS[byId("window").value];
    if (preset) apply(...range(preset));
  };
  const free = () => {
    const [level, width] = [Number(byId("level").value), Math.max(1, Number(byId("width").value))];
    if (Number.isFinite(level + width)) apply(...range([level, width]));
  };
  byId("level").onchange = free;
  byId("width").onchange = free;
}

export function showWindow([low, high]) {
  const [level, width] = [Math.round((low + high) / 2), Math.round(high - low)];
  byId("level").value = level;
  byId("width").value = width;
  const preset = Object.entries(PRESETS).find(([, [l, w]]) => l === level && w === width);
  byId("window").value = preset ? preset[0] : FREE;
}

export function nextPreset() {
  const names = Object.keys(PRESETS);
  return PRESETS[names[(names.indexOf(byId("window").value) + 1) % names.length]];
}
