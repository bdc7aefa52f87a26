// The 3D textures that NiiVue shows, filled here slice by slice and only with slices that are looked at: colouring a
// whole 512 x 512 x 400 image on a computer without a fast GPU would take minutes, one of its slices takes milliseconds.

const LEVELS = 65536;

// A texture of RGBA bytes whose slices are made by `paint(slice, pixels)` when they are first needed.
export class SliceTexture {
  constructor(gl, unit, dims) {
    Object.assign(this, { gl, unit, dims, paint: null, texture: null });
    this.pixels = new Uint32Array(dims[0] * dims[1]);
    this.fresh = new Uint8Array(dims[2]);
  }

  invalidate() {
    this.fresh.fill(0);
  }

  // Make these slices ready, all by default.
  ensure(slices = this.fresh.keys()) {
    const { gl } = this;
    const bytes = new Uint8Array(this.pixels.buffer);
    gl.activeTexture(this.unit);
    gl.bindTexture(gl.TEXTURE_3D, this.texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const slice of slices) {
      if (this.fresh[slice]) continue;
      this.paint(slice, this.pixels);
      gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, slice, this.dims[0], this.dims[1], 1, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
      this.fresh[slice] = 1;
    }
  }
}

const packed = (r, g, b, a) => ((a << 24) | (b << 16) | (g << 8) | r) >>> 0;

// Calls `visit(pixel, voxel)` for a slice along the last axis, in the texture's order.
function eachVoxel(volume, slice, visit) {
  const { img2RASstep: step, img2RASstart: start, dimsRAS } = volume;
  const origin = start[0] + start[1] + start[2] + slice * step[2];
  for (let row = 0, pixel = 0; row < dimsRAS[2]; row++) {
    for (let column = 0, voxel = origin + row * step[1]; column < dimsRAS[1]; column++, pixel++, voxel += step[0]) visit(pixel, voxel);
  }
}

// Painter of a CT in grey between two values; half transparent at most, for the 3D view.
export function greyPainter(volume, [low, high]) {
  const { scl_slope: slope, scl_inter: shift } = volume.hdr;
  const { img } = volume;
  const colour = stored => {
    const share = (stored * (slope || 1) + shift - low) / (high - low);
    const grey = Math.round(255 * Math.min(1, Math.max(0, share)));
    return packed(grey, grey, grey, grey >> 1);
  };
  if (img.BYTES_PER_ELEMENT > 2) return (slice, pixels) => eachVoxel(volume, slice, (pixel, voxel) => { pixels[pixel] = colour(img[voxel]); });
  const first = img instanceof Int16Array || img instanceof Int8Array ? LEVELS / 2 : 0;
  const table = Uint32Array.from({ length: LEVELS }, (_, index) => colour(index - first));
  return (slice, pixels) => eachVoxel(volume, slice, (pixel, voxel) => { pixels[pixel] = table[img[voxel] + first]; });
}

function over(above, below) {
  const [a, b] = [(above >>> 24) / 255, (below >>> 24) / 255];
  const alpha = a + b * (1 - a);
  const mixed = shift => Math.round((((above >>> shift) & 255) * a + ((below >>> shift) & 255) * b * (1 - a)) / alpha);
  return packed(mixed(0), mixed(8), mixed(16), Math.round(255 * alpha));
}

// Painter of filled layers {volume, colours: Map of label to [r, g, b], ramp: value -> [r, g, b] or null, opacity}, first below.
export function fillPainter(layers) {
  const tables = layers.map(layer => {
    const table = new Uint32Array(256);
    for (const [value, [r, g, b]] of layer.colours ?? []) table[value] = packed(r, g, b, Math.round(255 * layer.opacity));
    return table;
  });
  return (slice, pixels) => {
    pixels.fill(0);
    layers.forEach((layer, index) => {
      const [table, { img }] = [tables[index], layer.volume];
      eachVoxel(layer.volume, slice, (pixel, voxel) => {
        let colour = 0;
        if (layer.ramp) {
          const rgb = layer.ramp(img[voxel]);
          if (rgb) colour = packed(...rgb, Math.round(255 * layer.opacity));
        } else colour = table[img[voxel]];
        if (colour) pixels[pixel] = pixels[pixel] ? over(colour, pixels[pixel]) : colour;
      });
    });
  };
}
