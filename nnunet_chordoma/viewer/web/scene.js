// The picture: NiiVue with one CT, filled overlays, contours over it, and moving through it.

import { ContourPainter, PLANES } from "./contours.js";
import { edgeLetters } from "./letters.js";
import { fillPainter, greyPainter, SliceTexture } from "./textures.js";
import { centreInSlice } from "./volumes.js";

const { niivue } = globalThis;
export const VIEWS = { axial: 0, coronal: 1, sagittal: 2, planes: 3, "3D": 4 };
const LONGEST_ZOOM = 12;
// WebGL's numbers of the texture units that NiiVue uses.
const UNITS = { image: 0x84c0, fill: 0x84c2, gradients: [0x84c6, 0x84c8] };

export function webglProblem() {
  if (!niivue) return "NiiVue could not be loaded; reload the page";
  if (document.createElement("canvas").getContext("webgl2")) return "";
  return "This browser offers no WebGL2, which the viewer draws with. Use a current Firefox, Chrome, Edge or Safari, and switch hardware acceleration on.";
}

export class Scene {
  constructor(canvas, contourCanvas) {
    this.canvas = canvas;
    this.painter = new ContourPainter(contourCanvas);
    this.contours = [];
    this.onMove = () => {};
    this.onWindow = () => {};
    this.view = "axial";
    this.firstSlice = 0;
    const { DRAG_MODE, SHOW_RENDER } = niivue;
    this.nv = new niivue.Niivue({
      backColor: [0, 0, 0, 1], crosshairWidth: 0,
      isRadiologicalConvention: true, dragAndDropEnabled: false, loadingText: "", logLevel: "error",
      clipPlaneHotKey: "", cycleClipPlaneHotKey: "", viewModeHotKey: "", isOrientCube: false, isOrientationTextVisible: false,
      multiplanarShowRender: SHOW_RENDER.NEVER, fontColor: [0.75, 0.8, 0.85, 1], fontMinPx: 14,
      mouseEventConfig: {
        leftButton: { primary: DRAG_MODE.crosshair, withShift: DRAG_MODE.pan, withCtrl: DRAG_MODE.measurement },
        rightButton: DRAG_MODE.windowing, centerButton: DRAG_MODE.pan,
      },
      sliceType: VIEWS.axial,
    });
  }

  async start() {
    await this.nv.attachToCanvas(this.canvas);
    // NiiVue draws on many occasions; contours follow each of them.
    const draw = this.nv.drawScene.bind(this.nv);
    this.nv.drawScene = () => {
      this.#ensureSlices();
      const text = draw();
      this.#paintContours();
      return text;
    };
    // Gradients, for lighting that this page does not use, would take twice the memory of the image and most of the
    // time; and WebGL's new textures are zero without being told so.
    const texture = this.nv.rgbaTex.bind(this.nv);
    this.nv.rgbaTex = (old, unit, dims) => texture(old, unit, this.settingUp || UNITS.gradients.includes(unit) ? [dims[0], 1, 1, dims[3]] : dims, false);
    const refreshLayers = this.nv.refreshLayers.bind(this.nv);
    this.nv.refreshLayers = () => this.#refresh(refreshLayers);
    this.nv.onLocationChange = place => this.onMove(place);
    this.nv.onIntensityChange = () => this.onWindow(this.window);
  }

  get image() {
    return this.nv.volumes[0] ?? null;
  }

  clear() {
    this.contours = [];
    this.painter.forget();
    if (this.fillTexture) this.nv.gl.deleteTexture(this.fillTexture.texture);
    this.fillTexture = null;
    this.greyTexture = null;
    this.#countFills(0);
    this.nv.volumes = [];
    this.nv.back = null;
    this.nv.drawScene();
  }

  show(volume) {
    this.nv.addVolume(volume);
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.moveToVoxel(volume.dimsRAS.slice(1).map(size => size >> 1));
  }

  // Filled overlays as `fillPainter` takes them, first below.
  setFills(layers) {
    const { gl } = this.nv;
    if (!this.image) return;
    if (layers.length && !this.fillTexture) {
      this.fillTexture = this.#texture(UNITS.fill);
      this.nv.overlayTexture = this.fillTexture.texture;
      for (const filter of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, filter, gl.NEAREST);
    }
    if (this.fillTexture) {
      this.fillTexture.paint = fillPainter(layers);
      this.fillTexture.invalidate();
    }
    this.#countFills(layers.length);
    this.nv.drawScene();
  }

  // NiiVue's shaders look at the overlay's texture only if there are any.
  #countFills(count) {
    const { gl, renderShader, pickingImageShader, sliceMMShader } = this.nv;
    this.filled = count > 0;
    for (const shader of [renderShader, pickingImageShader, sliceMMShader]) {
      shader.use(gl);
      gl.uniform1f(shader.uniforms.overlays, count);
    }
  }

  #texture(unit) {
    const made = new SliceTexture(this.nv.gl, unit, this.image.dimsRAS.slice(1));
    made.texture = this.nv.rgbaTex(null, unit, this.image.dimsRAS);
    return made;
  }

  // In place of NiiVue's colouring of whole volumes, which it asks for whenever image or window change.
  #refresh(refreshLayers) {
    const { nv, image } = this;
    if (this.greyTexture?.volume !== image) {
      const { hdr } = image;
      const { datatypeCode, dims } = hdr;
      // NiiVue sets up all that belongs to the image, but neither sends voxels to the GPU nor draws into the texture.
      nv.gl.enable(nv.gl.RASTERIZER_DISCARD);
      this.settingUp = true;
      Object.assign(hdr, { datatypeCode: 0, dims: [dims[0], dims[1], dims[2], 1] });
      refreshLayers(image, 0);
      Object.assign(hdr, { datatypeCode, dims });
      this.settingUp = false;
      nv.gl.disable(nv.gl.RASTERIZER_DISCARD);
      nv.gl.deleteTexture(nv.volumeTexture);
      this.greyTexture = Object.assign(this.#texture(UNITS.image), { volume: image });
      nv.volumeTexture = this.greyTexture.texture;
    }
    this.greyTexture.paint = greyPainter(image, this.window);
    this.greyTexture.invalidate();
  }

  #ensureSlices() {
    if (!this.image || !this.greyTexture) return;
    // Between two slices both are mixed.
    const slice = this.voxel[2];
    const near = [slice - 1, slice, slice + 1].filter(each => each >= 0 && each < this.image.dimsRAS[3]);
    const slices = this.view === "axial" ? near : undefined;
    this.greyTexture.ensure(slices);
    if (this.filled) this.fillTexture.ensure(slices);
  }

  setContours(layers) {
    this.contours = layers;
    this.nv.drawScene();
  }

  setView(view) {
    this.view = view;
    this.nv.setSliceType(VIEWS[view]);
  }

  get window() {
    return [this.image.cal_min, this.image.cal_max];
  }

  setWindow(low, high) {
    Object.assign(this.image, { cal_min: low, cal_max: high });
    this.nv.refreshLayers();
    this.nv.drawScene();
  }

  zoom(factor) {
    const [x, y, z, zoom] = this.nv.scene.pan2Dxyzmm;
    const next = Math.min(LONGEST_ZOOM, Math.max(1, zoom * factor));
    this.nv.setPan2Dxyzmm(next === 1 || factor === 0 ? [0, 0, 0, 1] : [x, y, z, next]);
  }

  // Axis (of RAS voxels) through the plane shown; the axial one where there are several.
  get axis() {
    return PLANES[{ coronal: 1, sagittal: 2 }[this.view] ?? 0][2];
  }

  get voxel() {
    return Array.from(this.nv.frac2vox(this.nv.scene.crosshairPos), Math.round);
  }

  moveTo(fraction) {
    this.nv.scene.crosshairPos = fraction;
    this.nv.createOnLocationChange();
    this.nv.drawScene();
  }

  moveToVoxel(voxel) {
    const last = this.image.dimsRAS.slice(1).map(size => size - 1);
    this.moveTo(this.nv.vox2frac(voxel.map((value, axis) => Math.min(last[axis], Math.max(0, value)))));
  }

  step(slices) {
    const voxel = this.voxel;
    voxel[this.axis] += slices;
    this.moveToVoxel(voxel);
  }

  // The axis of RAS voxels along which slices lie in the file, and whether it runs backwards there.
  get #stored() {
    const axis = this.image.permRAS.findIndex(each => Math.abs(each) === 3);
    return [axis, this.image.permRAS[axis] < 0];
  }

  // Slices counted as in the file: the first index of an array (z, y, x).
  get slice() {
    const [axis, backwards] = this.#stored;
    return this.firstSlice + (backwards ? this.sliceCount - 1 - this.voxel[axis] : this.voxel[axis]);
  }

  get lastSlice() {
    return this.firstSlice + this.sliceCount - 1;
  }

  get sliceCount() {
    return this.image.dimsRAS[this.#stored[0] + 1];
  }

  // Show a slice by its number in the file, with the crosshair at a structure's centre there if `labels` has it.
  goToSlice(slice, labels = null, value = 0) {
    const [axis, backwards] = this.#stored;
    const voxel = this.voxel;
    voxel[axis] = backwards ? this.lastSlice - slice : slice - this.firstSlice;
    if (labels && axis === 2) this.goToAxial(voxel[2], labels, value);
    else this.moveToVoxel(voxel);
  }

  // The axial slice (of RAS voxels), with the crosshair at a structure's centre there if `labels` has it.
  goToAxial(slice, labels, value) {
    const [x, y] = this.voxel;
    this.moveToVoxel([...(centreInSlice(labels, slice, value) ?? [x, y]), slice]);
  }

  // Where an axis of RAS voxels points to in the patient (to the right, anterior, superior), obliquely too.
  #direction(axis) {
    const first = this.nv.frac2mm([0, 0, 0], 0, true);
    const other = this.nv.frac2mm([0, 1, 2].map(each => (each === axis ? 1 : 0)), 0, true);
    return [0, 1, 2].map(each => other[each] - first[each]);
  }

  // The view of slices as they are stored.
  get storedView() {
    return ["sagittal", "coronal", "axial"][this.#stored[0]];
  }

  get tiles() {
    const { nv } = this;
    if (!this.image || this.view === "3D") return [];
    const [low, high] = [nv.frac2mm([0, 0, 0]), nv.frac2mm([1, 1, 1])];
    return nv.screenSlices.filter(tile => tile.axCorSag <= 2 && tile.sliceFrac !== Infinity).map(tile => {
      const [across, up, through] = PLANES[tile.axCorSag];
      let [left, top, width, height] = tile.leftTopWidthHeight;
      const mirrored = width < 0;
      if (mirrored) [left, width] = [left + width, -width];
      const dims = this.image.dimsRAS;
      // Canvas pixels per voxel, and where the first voxel's corner lies, along both axes of the tile.
      const scale = (axis, side) => (high[axis] - low[axis]) / dims[axis + 1] / tile.fovMM[side];
      const start = (axis, side) => (low[axis] - tile.leftTopMM[side]) / tile.fovMM[side];
      const [a, e] = [scale(across, 0) * width, start(across, 0) * width];
      const [d, f] = [scale(up, 1) * height, start(up, 1) * height];
      const transform = new DOMMatrix([mirrored ? -a : a, 0, 0, -d, mirrored ? left + width - e : left + e, top + height - f]);
      const index = Math.min(dims[through + 1] - 1, Math.max(0, Math.floor(tile.sliceFrac * dims[through + 1])));
      // Of the transform that contours are drawn with, so that they and the letters cannot disagree.
      const to = (axis, sign) => this.#direction(axis).map(part => sign * part);
      const letters = edgeLetters(to(across, Math.sign(transform.a)), to(up, -Math.sign(transform.d)));
      return { plane: tile.axCorSag, index, letters, rectangle: [left, top, width, height], transform };
    });
  }

  #paintContours() {
    const { width, height } = this.canvas;
    const cross = this.image && PLANES.map(([across, up]) => [across, up].map(axis => this.voxel[axis] + 0.5));
    const { tiles } = this;
    this.painter.paint({ width, height }, tiles, this.contours, cross);
    const names = Object.keys(VIEWS);
    const said = tiles.map(({ plane, letters }) => `${names[plane]} with ${Object.entries(letters).map(([edge, text]) => `${text} ${edge}`).join(", ")}`);
    this.canvas.ariaLabel = ["CT with contours", ...said].join("; ");
  }
}
