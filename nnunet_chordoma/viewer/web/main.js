// The viewer: opens cases, keeps what is shown in step with the controls.

import { byId, element, readable, setState, showLoading, showProblem } from "./dom.js";
import { startKeys } from "./keys.js";
import { contourLayers, fillOf, isFilled, loadLayer, makeLayers, showLayers } from "./layers.js";
import { showCase, showCases, showReview, showStructures } from "./panels.js";
import { RatingPanel } from "./rating.js";
import { Scene, VIEWS, webglProblem } from "./scene.js";
import { saveScreenshot } from "./screenshot.js";
import { source } from "./source.js";
import { largestSlice, readVolume, valueAt } from "./volumes.js";
import { FIRST, nextPreset, PRESETS, range, showWindow, startWindows } from "./windows.js";

const HASH_DELAY_MS = 250;

// Made once the page is known to be able to draw.
const scene = { ref: null };
const state = { overview: null, index: -1, details: { review: [], structures: [] }, layers: [], structures: [], reviewed: -1,
  colourBy: "structure", window: range(PRESETS[FIRST]), hidden: false, loading: null, rating: null };

const current = () => state.overview.cases[state.index];
const percent = share => `${Math.round(100 * share)} %`;

function problem(error) {
  console.error(error);
  showProblem(error.message || String(error));
  setState("failed");
  showLoading("");
}

// --- opening a case

async function openCase(index, { slice = null, structure = null } = {}) {
  state.loading?.abort();
  const loading = new AbortController();
  Object.assign(state, { loading, index, reviewed: -1, details: { review: [], structures: [] }, layers: [] });
  const each = current();
  setState("loading");
  showProblem("");
  showLoading(`${each.name}: reading the CT`);
  document.title = `${each.name} – ${state.overview.title}`;
  scene.ref.clear();
  state.layers = makeLayers(each.overlays);
  showPanels();
  try {
    const volume = await readCt(index, each.name, loading.signal);
    if (loading.signal.aborted) return;
    scene.ref.show(volume);
    showWindow(state.window);
    setState("image");
    const details = source.details(index);
    state.rating?.open(each.name);
    await Promise.all(state.layers.filter(layer => layer.visible).map(layer => fetchLayer(layer, loading.signal)));
    showLoading(`${each.name}: comparing contours`);
    state.details = await details;
    if (loading.signal.aborted) return;
    showPanels();
    const asked = state.details.review.findIndex(item => item.structure === structure);
    if (slice !== null) scene.ref.goToSlice(slice);
    else if (state.details.review.length) goToReview(Math.max(0, asked));
    showLoading("");
    setState("ready");
  } catch (error) {
    if (error.name !== "AbortError" && !loading.signal.aborted) problem(error);
  }
}

async function readCt(index, name, signal) {
  try {
    const buffer = await source.volume(index, 0, share => showLoading(`${name}: reading the CT, ${percent(share)}`), signal);
    return await readVolume(buffer, name, state.window);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(`CT of ${name}: ${error.message}`);
  }
}

async function fetchLayer(layer, signal) {
  if (layer.state !== "idle") return;
  layer.state = "loading";
  showLoading(`${current().name}: reading ${layer.name}`);
  try {
    const buffer = await source.volume(state.index, layer.index + 1, () => {}, signal);
    if (signal.aborted) return;
    await loadLayer(layer, buffer);
    layer.state = "ready";
  } catch (error) {
    layer.state = "failed";
    throw new Error(error.name === "AbortError" ? "stopped" : `${layer.name}: ${error.message}`);
  } finally {
    if (!signal.aborted) {
      listLayers();
      showOverlays();
    }
  }
}

// --- what is drawn over the image

function showOverlays() {
  if (!scene.ref.image) return;
  const layers = state.hidden ? [] : state.layers;
  const filled = layers.filter(layer => isFilled(layer, scene.ref.view));
  scene.ref.setFills(filled.map(layer => fillOf(layer, state.structures, state.colourBy)));
  scene.ref.setContours(contourLayers(layers, state.structures, state.colourBy, devicePixelRatio));
  byId("under").textContent = under();
}

async function layerChanged(layer, what) {
  if (what === "visible" && layer.visible && state.rating) {
    state.rating.choose(layer.name);
    return;
  }
  listLayers();
  if (layer.visible && layer.state === "idle") await readShown(layer);
  else showOverlays();
}

async function readShown(layer) {
  await fetchLayer(layer, state.loading.signal).catch(problem);
  showLoading("");
}

function listLayers() {
  showLayers(state.layers, state.colourBy, layerChanged);
}

function showPanels() {
  showCases(state.overview.cases, state.index, index => openCase(index));
  showCase(current(), state.overview.cases, state.overview.title);
  listLayers();
  listStructures();
  showReview(state.details.review, state.reviewed, goToReview);
}

function listStructures() {
  showStructures(state.structures, state.details.structures, current().verdict?.findings ?? [], showOverlays, goToStructure);
}

// --- moving

function goToReview(index) {
  const item = state.details.review[index];
  state.reviewed = index;
  const structure = state.structures.find(each => each.name === item.structure);
  if (!["planes", scene.ref.storedView].includes(scene.ref.view)) setView(scene.ref.storedView);
  if (structure && !structure.visible) {
    structure.visible = true;
    listStructures();
    showOverlays();
  }
  const shown = state.layers.filter(layer => layer.volume && !layer.values).at(-1)?.volume ?? null;
  scene.ref.goToSlice(item.slice, shown, structure?.value);
  showReview(state.details.review, state.reviewed, goToReview);
}

function review(step) {
  const last = state.details.review.length - 1;
  if (last >= 0) goToReview(Math.min(last, Math.max(0, state.reviewed + step)));
}

function goToStructure(structure) {
  const volume = state.layers.find(layer => layer.visible && layer.volume && !layer.values)?.volume;
  if (!volume) return;
  const slice = largestSlice(volume, structure.value);
  if (slice >= 0) scene.ref.goToAxial(slice, volume, structure.value);
}

let hashTimer = 0;
function moved(place) {
  const { ref } = scene;
  if (!ref.image) return;
  const [x, y, z] = place.mm;
  const hu = place.values[0]?.value;
  byId("slice").textContent = `slice ${ref.slice} of ${ref.firstSlice}–${ref.lastSlice}`;
  byId("value").textContent = Number.isFinite(hu) ? `${Math.round(hu)} HU` : "";
  // NIfTI counts to the left and front, DICOM to the other side of both.
  byId("position").textContent = `x ${(-x).toFixed(1)}  y ${(-y).toFixed(1)}  z ${z.toFixed(1)} mm (LPS)`;
  byId("under").textContent = under();
  clearTimeout(hashTimer);
  hashTimer = setTimeout(() => history.replaceState(null, "", `#case=${encodeURIComponent(current().name)}&slice=${ref.slice}`), HASH_DELAY_MS);
}

// Names of the structures at the crosshair, by layer.
function under() {
  const { voxel } = scene.ref;
  return state.layers.filter(layer => layer.visible && layer.volume).map(layer => {
    const value = valueAt(layer.volume, voxel);
    if (layer.values) return `${layer.name}: ${value.toFixed(2)}`;
    return `${readable(layer.name)}: ${readable(state.structures.find(each => each.value === value)?.name ?? "outside")}`;
  }).join(" · ");
}

function setView(view) {
  scene.ref.setView(view);
  for (const button of byId("views").children) button.ariaPressed = String(button.textContent === view);
  showOverlays();
}

function setWindow(low, high) {
  state.window = [low, high];
  scene.ref.setWindow(low, high);
  showWindow(state.window);
}

function readHash(address) {
  const asked = new URLSearchParams(new URL(address).hash.slice(1));
  const index = state.overview.cases.findIndex(each => each.name === asked.get("case"));
  const slice = /^\d+$/.test(asked.get("slice") ?? "") ? Number(asked.get("slice")) : null;
  return [index, { slice, structure: asked.get("structure") }];
}

// --- actions of keys and buttons

const actions = {
  step: slices => scene.ref.image && scene.ref.step(slices),
  review: step => review(step),
  otherCase(step) {
    const index = state.index + step;
    if (index >= 0 && index < state.overview.cases.length) openCase(index);
  },
  nextView() {
    const views = Object.keys(VIEWS);
    setView(views[(views.indexOf(scene.ref.view) + 1) % views.length]);
  },
  nextWindow: () => scene.ref.image && setWindow(...range(nextPreset())),
  nextStyle() {
    const styles = ["contour", "fill", "both"];
    const first = state.layers.find(layer => layer.visible && !layer.values);
    const next = styles[(styles.indexOf(first?.style) + 1) % styles.length];
    for (const layer of state.layers) layer.style = next;
    listLayers();
    showOverlays();
  },
  hide() {
    state.hidden = !state.hidden;
    showOverlays();
  },
  colourBy() {
    state.colourBy = state.colourBy === "set" ? "structure" : "set";
    byId("colour-by").value = state.colourBy;
    listLayers();
    showOverlays();
  },
  structure(position) {
    const structure = state.structures[position];
    if (!structure) return;
    structure.visible = !structure.visible;
    listStructures();
    showOverlays();
  },
  zoom: factor => scene.ref.zoom(factor),
  screenshot: () => scene.ref.image &&
    saveScreenshot(scene.ref, byId("contours"), `${current().name}_slice${scene.ref.slice}.png`).catch(problem),
  help: () => byId("help").showModal(),
};

// Blinded, one set at a time: what is compared side by side could be told apart.
function showSet(name) {
  for (const layer of state.layers) {
    layer.visible = layer.name === name;
    if (layer.visible && layer.state === "idle") readShown(layer);
  }
  listLayers();
  showOverlays();
}

async function start() {
  const missing = webglProblem();
  if (missing) throw new Error(missing);
  state.overview = await source.overview();
  state.structures = state.overview.structures.map(each => ({ ...each, visible: each.scored }));
  byId("title").textContent = state.overview.title;
  byId("views").replaceChildren(...Object.keys(VIEWS).map(view => element("button", { type: "button", onclick: () => setView(view) }, view)));
  scene.ref = new Scene(byId("image"), byId("contours"));
  await scene.ref.start();
  scene.ref.firstSlice = source.firstSlice;
  scene.ref.onMove = moved;
  scene.ref.onWindow = window => {
    state.window = window;
    showWindow(window);
  };
  startWindows(setWindow);
  showWindow(state.window);
  startKeys(actions);
  byId("screenshot").onclick = actions.screenshot;
  byId("colour-by").onchange = actions.colourBy;
  setView("axial");
  if (state.overview.rating) {
    state.rating = new RatingPanel(showSet);
    await state.rating.start();
  }
  // Not `location`, which may follow what is shown before this is called.
  addEventListener("hashchange", ({ newURL }) => {
    const [index, place] = readHash(newURL);
    if (index >= 0 && index !== state.index) openCase(index, place);
    else if (place.slice !== null) scene.ref.goToSlice(place.slice);
  });
  const [index, place] = readHash(location.href);
  await openCase(Math.max(0, index), index >= 0 ? place : {});
}

start().catch(problem);
