// Volumes: read from NIfTI, and asked what lies where, in voxels (x, y, z) to the right, anterior and superior (RAS).

const { niivue } = globalThis;
const UINT8 = 2;
// NIfTI's codes of RGB and RGBA.
const COLOURED = [128, 2304];

// An image of NiiVue from an unpacked NIfTI file.
export async function readVolume(buffer, name, window) {
  const volume = await niivue.NVImage.loadFromUrl({
    url: buffer, name: `${name}.nii`, colormap: "gray", cal_min: window[0], cal_max: window[1], trustCalMinMax: true,
  });
  if (!volume?.img) throw new Error(`${name} could not be read as NIfTI`);
  if (COLOURED.includes(volume.hdr.datatypeCode) || volume.hdr.dims.slice(4).some(size => size > 1)) {
    throw new Error(`${name} has several values per voxel, expected one, as CTs and label maps have`);
  }
  return volume;
}

// A label map as bytes, which NiiVue colours by label.
export async function readLabels(buffer, name) {
  const volume = await readVolume(buffer, name, [0, 1]);
  if (!(volume.img instanceof Uint8Array)) {
    const { scl_slope: slope, scl_inter: shift } = volume.hdr;
    const scaled = slope && (slope !== 1 || shift);
    volume.img = scaled ? Uint8Array.from(volume.img, value => value * slope + shift) : Uint8Array.from(volume.img);
    Object.assign(volume.hdr, { datatypeCode: UINT8, numBitsPerVoxel: 8, scl_slope: 1, scl_inter: 0 });
  }
  return volume;
}

// NiiVue looks through all voxels for a range of brightness; here the window is always given.
if (niivue) {
  niivue.NVImage.prototype.calMinMax = function givenRange() {
    const { cal_min: low, cal_max: high } = this.hdr;
    Object.assign(this, { cal_min: low, cal_max: high, robust_min: low, robust_max: high, global_min: low, global_max: high });
    return [low, high, low, high];
  };
}

export function valueAt({ img, img2RASstep: step, img2RASstart: start }, [x, y, z]) {
  return img[start[0] + start[1] + start[2] + x * step[0] + y * step[1] + z * step[2]];
}

// The axial slice with most voxels of a structure; -1 without any.
export function largestSlice({ dimsRAS, img2RASstep: step, img2RASstart: start, img }, value) {
  let [best, most] = [-1, 0];
  for (let z = 0; z < dimsRAS[3]; z++) {
    let count = 0;
    for (let y = 0; y < dimsRAS[2]; y++) {
      const row = start[0] + start[1] + start[2] + z * step[2] + y * step[1];
      for (let x = 0; x < dimsRAS[1]; x++) count += img[row + x * step[0]] === value ? 1 : 0;
    }
    if (count > most) [best, most] = [z, count];
  }
  return best;
}

// The voxel (column, row) in the middle of a structure in an axial slice of RAS voxels; null without any there.
export function centreInSlice(volume, slice, value) {
  const { img, img2RASstep: step, img2RASstart: start, dimsRAS } = volume;
  const origin = start[0] + start[1] + start[2] + slice * step[2];
  const inside = [];
  for (let row = 0; row < dimsRAS[2]; row++) {
    for (let column = 0; column < dimsRAS[1]; column++) {
      if (img[origin + row * step[1] + column * step[0]] === value) {
        inside.push([column, row]);
      }
    }
  }
  if (!inside.length) return null;
  // The voxel nearest to the centre: between a left and a right muscle there is none of either.
  const centre = [0, 1].map(axis => inside.reduce((sum, voxel) => sum + voxel[axis], 0) / inside.length);
  const distance = voxel => Math.hypot(voxel[0] - centre[0], voxel[1] - centre[1]);
  return inside.reduce((best, voxel) => (distance(voxel) < distance(best) ? voxel : best));
}
