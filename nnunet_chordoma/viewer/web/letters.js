// Letters at the edges of a picture: which side of the patient lies there, from the image's affine.

const POSITIVE = "RAS";
const NEGATIVE = "LPI";
// Cosine of 67.5 degrees: nearer to the diagonal than to the axis.
const SECOND_LETTER = 0.38;
const SIZE_PX = 17;
const GAP_PX = 9;

// Patient direction of a vector (to the right, anterior, superior): "L", or "LA" between two axes, the stronger first.
export function directionLetters(vector) {
  const length = Math.hypot(...vector);
  return vector.map((part, axis) => [Math.abs(part) / length, (part > 0 ? POSITIVE : NEGATIVE)[axis]])
    .filter(([size]) => size > SECOND_LETTER).sort((one, other) => other[0] - one[0]).map(([, letter]) => letter).join("");
}

const opposite = vector => vector.map(part => -part);

// Letters of a picture whose columns grow along `across` and whose rows, from the bottom, grow along `up`.
export function edgeLetters(across, up) {
  return { left: directionLetters(opposite(across)), right: directionLetters(across), top: directionLetters(up), bottom: directionLetters(opposite(up)) };
}

// White on a dark rim, readable on any brightness.
export function paintLetters(context, { rectangle: [left, top, width, height], letters }, pixelRatio) {
  const gap = GAP_PX * pixelRatio;
  const places = {
    left: [left + gap, top + height / 2, "left", "middle"], right: [left + width - gap, top + height / 2, "right", "middle"],
    top: [left + width / 2, top + gap, "center", "top"], bottom: [left + width / 2, top + height - gap, "center", "bottom"],
  };
  Object.assign(context, { globalAlpha: 1, font: `bold ${SIZE_PX * pixelRatio}px sans-serif`, lineWidth: 4 * pixelRatio, lineJoin: "round",
    strokeStyle: "#000", fillStyle: "#fff" });
  context.setLineDash([]);
  for (const [edge, [x, y, align, baseline]] of Object.entries(places)) {
    Object.assign(context, { textAlign: align, textBaseline: baseline });
    context.strokeText(letters[edge], x, y);
    context.fillText(letters[edge], x, y);
  }
}
