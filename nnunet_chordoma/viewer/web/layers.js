// Sets of contours and values over the image: which are shown, how, and their controls.

import { byId, element, readable } from "./dom.js";
import { readLabels, readVolume } from "./volumes.js";

export const SET_COLOURS = ["#ffffff", "#ffb000", "#4aa8ff", "#ff6fb5", "#9be564", "#c58cff", "#5ad1c9", "#ff7f50"];
const STYLES = { contour: "contour", fill: "fill", both: "contour + fill" };
const DASHES = { reference: [], blinded: [], ensemble: [7, 3], model: [2, 3] };
const LINE_PX = 1.6;
const VALUE_RANGE = [0.05, 0.8];

// What is shown at first: the reference and the ensemble (or first model); blinded, the first set alone.
function shownFirst(overlays) {
  const blinded = overlays.findIndex(overlay => overlay.role === "blinded");
  if (blinded >= 0) return new Set([blinded]);
  const find = role => overlays.findIndex(overlay => overlay.role === role);
  const predicted = find("ensemble") >= 0 ? find("ensemble") : find("model");
  return new Set([find("reference"), predicted].filter(index => index >= 0));
}

export function makeLayers(overlays) {
  const first = shownFirst(overlays);
  return overlays.map((overlay, index) => ({
    ...overlay, index, visible: first.has(index), values: overlay.role === "uncertainty", style: "contour",
    opacity: overlay.role === "uncertainty" ? 0.6 : 0.45, colour: SET_COLOURS[index % SET_COLOURS.length],
    dash: DASHES[overlay.role] ?? [], volume: null, state: "idle",
  }));
}

export async function loadLayer(layer, buffer) {
  if (layer.values) {
    layer.volume = await readVolume(buffer, layer.name, VALUE_RANGE);
  } else {
    layer.volume = await readLabels(buffer, layer.name);
  }
}

const channels = colour => [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));

// Black over red and orange to yellow, as far as a value reaches from the first to the last shown.
function ramp(value) {
  const share = Math.min(1, (value - VALUE_RANGE[0]) / (VALUE_RANGE[1] - VALUE_RANGE[0]));
  if (!(share > 0)) return null;
  return [Math.min(1, 0.25 + 1.5 * share), Math.max(0, 1.6 * share - 0.5), Math.max(0, 3 * share - 2.2)].map(part => Math.round(255 * Math.min(1, part)));
}

// A filled layer as its painter takes it; hidden structures have no colour.
export function fillOf(layer, structures, colourBy) {
  const colour = each => channels(colourBy === "set" ? layer.colour : each.colour);
  const colours = new Map(structures.filter(each => each.visible).map(each => [each.value, colour(each)]));
  return { volume: layer.volume, opacity: layer.opacity, colours: layer.values ? null : colours, ramp: layer.values ? ramp : null };
}

export const isFilled = (layer, view) => layer.visible && layer.volume && (layer.values || layer.style !== "contour" || view === "3D");

// What the painter of contours needs of the layers that are drawn as lines.
export function contourLayers(layers, structures, colourBy, pixelRatio) {
  return layers.filter(layer => layer.visible && layer.volume && !layer.values && layer.style !== "fill").map(layer => ({
    id: layer.index, volume: layer.volume, width: LINE_PX * pixelRatio, opacity: 1,
    dash: layer.dash.map(length => length * pixelRatio),
    lines: structures.filter(each => each.visible)
      .map(each => ({ value: each.value, colour: colourBy === "set" ? layer.colour : each.colour })),
  }));
}

// Rows of controls; `change(layer, what)` is called with "visible", "style" or "opacity".
export function showLayers(layers, colourBy, change) {
  byId("layers").replaceChildren(...layers.map(layer => {
    const box = element("input", { type: "checkbox", checked: layer.visible });
    box.onchange = () => { layer.visible = box.checked; change(layer, "visible"); };
    const stroke = element("span", { className: "stroke" });
    stroke.style.borderTopStyle = { model: "dotted", ensemble: "dashed" }[layer.role] ?? "solid";
    if (colourBy === "set") stroke.style.borderTopColor = layer.colour;
    const role = layer.role === "blinded" || layer.role === layer.name ? null : element("span", { className: "small" }, layer.role);
    const state = { loading: " loading", failed: " could not be read" }[layer.state];
    const style = layer.values ? element("span", { className: "small" }, "0.05 to 0.8") : element("select", { ariaLabel: `Style of ${layer.name}` },
      ...Object.entries(STYLES).map(([value, text]) => element("option", { value, selected: value === layer.style }, text)));
    if (!layer.values) style.onchange = () => { layer.style = style.value; change(layer, "style"); };
    const opacity = element("input", { type: "range", min: 0.05, max: 1, step: 0.05, value: layer.opacity, ariaLabel: `Opacity of the fill of ${layer.name}`,
      disabled: !layer.values && layer.style === "contour" });
    opacity.onchange = () => { layer.opacity = Number(opacity.value); change(layer, "opacity"); };
    return element("li", { className: "layer" },
      element("div", {}, element("label", {}, box, readable(layer.name), state ? element("span", { className: "small" }, state) : null), role, layer.values ? null : stroke),
      element("div", {}, style, opacity));
  }));
}
