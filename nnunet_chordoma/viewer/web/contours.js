// Outlines of label maps, drawn as lines along voxel borders over the slices that NiiVue shows.

import { paintLetters } from "./letters.js";

const KEPT_PATHS = 24;
const CROSS_GAP_PX = 22;
// In-plane axes (of RAS voxels: 0 left-right, 1 posterior-anterior, 2 inferior-superior) and the axis through the plane.
export const PLANES = [[0, 1, 2], [0, 2, 1], [1, 2, 0]];

// One label map's voxels of a slice, as rows of the first in-plane axis.
export function sliceOf(volume, plane, index) {
  const [across, up, through] = PLANES[plane];
  const { img, img2RASstep: step, img2RASstart: start, dimsRAS } = volume;
  const [width, height] = [dimsRAS[across + 1], dimsRAS[up + 1]];
  const labels = new Uint8Array(width * height);
  const origin = start[0] + start[1] + start[2] + index * step[through];
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0, voxel = origin + row * step[up]; column < width; column++, at++, voxel += step[across]) {
      labels[at] = img[voxel];
    }
  }
  return { labels, width, height };
}

// Border of one label in a slice, in voxel units from the slice's first corner. Runs of edges become one line.
export function outline({ labels, width, height }, value) {
  const path = new Path2D();
  let empty = true;
  const inside = (column, row) =>
    column >= 0 && row >= 0 && column < width && row < height && labels[row * width + column] === value;
  const line = (...points) => {
    path.moveTo(points[0], points[1]);
    path.lineTo(points[2], points[3]);
    empty = false;
  };
  for (let row = 0; row <= height; row++) {
    for (let column = 0, from = -1; column <= width; column++) {
      const edge = column < width && inside(column, row) !== inside(column, row - 1);
      if (edge && from < 0) from = column;
      if (!edge && from >= 0) {
        line(from, row, column, row);
        from = -1;
      }
    }
  }
  for (let column = 0; column <= width; column++) {
    for (let row = 0, from = -1; row <= height; row++) {
      const edge = row < height && inside(column, row) !== inside(column - 1, row);
      if (edge && from < 0) from = row;
      if (!edge && from >= 0) {
        line(column, from, column, row);
        from = -1;
      }
    }
  }
  return empty ? null : path;
}

// Thin lines with a gap around the point, so that they hide nothing of interest.
function paintCross(context, { rectangle: [left, top, width, height], transform }, [across, up]) {
  const { x, y } = transform.transformPoint({ x: across, y: up });
  context.beginPath();
  for (const [x0, y0, x1, y1] of [[left, y, x - CROSS_GAP_PX, y], [x + CROSS_GAP_PX, y, left + width, y],
    [x, top, x, y - CROSS_GAP_PX], [x, y + CROSS_GAP_PX, x, top + height]]) {
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
  }
  context.globalAlpha = 1;
  context.setLineDash([]);
  context.lineWidth = 1;
  context.strokeStyle = "rgb(110 185 255 / 55%)";
  context.stroke();
}

export class ContourPainter {
  constructor(canvas) {
    this.canvas = canvas;
    this.kept = new Map();
  }

  forget() {
    this.kept.clear();
  }

  // Draw layers {volume, lines: [{value, colour}], dash, width} over the tiles {plane, index, rectangle, transform}, and
  // the crosshair, which is given per plane in voxels.
  paint(size, tiles, layers, cross) {
    const { canvas } = this;
    if (canvas.width !== size.width || canvas.height !== size.height) Object.assign(canvas, size);
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    for (const tile of tiles) {
      context.save();
      context.beginPath();
      context.rect(...tile.rectangle);
      context.clip();
      for (const layer of layers) this.#paintLayer(context, tile, layer);
      paintCross(context, tile, cross[tile.plane]);
      paintLetters(context, tile, devicePixelRatio);
      context.restore();
    }
  }

  #paintLayer(context, tile, layer) {
    const paths = this.#paths(layer, tile);
    context.globalAlpha = layer.opacity;
    for (const { value, colour } of layer.lines) {
      const path = paths.get(value);
      if (!path) continue;
      // The path is moved, not the pen, so that lines are as wide at any zoom.
      const placed = new Path2D();
      placed.addPath(path, tile.transform);
      context.setLineDash([]);
      context.strokeStyle = "rgb(0 0 0 / 55%)";
      context.lineWidth = layer.width + 1.5;
      context.stroke(placed);
      context.setLineDash(layer.dash);
      context.strokeStyle = colour;
      context.lineWidth = layer.width;
      context.stroke(placed);
    }
  }

  #paths(layer, tile) {
    const key = `${layer.id}/${tile.plane}/${tile.index}`;
    let paths = this.kept.get(key);
    if (!paths) {
      const labels = sliceOf(layer.volume, tile.plane, tile.index);
      const there = new Set(labels.labels);
      there.delete(0);
      paths = new Map([...there].map(value => [value, outline(labels, value)]));
      this.kept.set(key, paths);
      if (this.kept.size > KEPT_PATHS) this.kept.delete(this.kept.keys().next().value);
    }
    return paths;
  }
}
