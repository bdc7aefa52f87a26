// NIfTI files, zipped or not, read as a stream into one buffer of their unpacked size.

const LONGEST_HEADER = 540;
const DAMAGED = "this file is truncated or damaged; copy or write it again";

// Unpacked size that a NIfTI-1 or NIfTI-2 header states, in bytes.
export function statedSize(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const little = [348, 540].includes(view.getInt32(0, true));
  const version = view.getInt32(0, little);
  if (version !== 348 && version !== 540) throw new Error("this file is no NIfTI image");
  const first = version === 348;
  const long = offset => Number(view.getBigInt64(offset, little));
  const size = axis => (first ? view.getInt16(40 + 2 * axis, little) : long(16 + 8 * axis));
  const bits = first ? view.getInt16(72, little) : view.getInt16(14, little);
  const offset = first ? view.getFloat32(108, little) : long(168);
  return offset + (size(1) * size(2) * size(3) * bits) / 8;
}

async function startsAsGzip(stream) {
  const reader = stream.getReader();
  const { value, done } = await reader.read();
  const first = value ?? new Uint8Array();
  const whole = new ReadableStream({
    start(controller) {
      if (done) controller.close();
      else controller.enqueue(first);
    },
    async pull(controller) {
      const next = await reader.read();
      if (next.done) controller.close();
      else controller.enqueue(next.value);
    },
    cancel: reason => reader.cancel(reason),
  });
  return [first[0] === 31 && first[1] === 139, whole];
}

// What browsers say of a damaged file names neither the file nor a way out.
export async function inflated(stream, length, progress) {
  try {
    return await unpacked(stream, length, progress);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new Error(DAMAGED);
  }
}

// The unpacked bytes of a stream. `progress` is told the share of `length` packed bytes read so far.
async function unpacked(stream, length, progress) {
  let read = 0;
  const counted = stream.pipeThrough(new TransformStream({
    transform(chunk, controller) {
      read += chunk.byteLength;
      progress(length ? Math.min(1, read / length) : 0);
      controller.enqueue(chunk);
    },
  }));
  const [zipped, whole] = await startsAsGzip(counted);
  const reader = (zipped ? whole.pipeThrough(new DecompressionStream("gzip")) : whole).getReader();
  let head = new Uint8Array();
  let result = null;
  let filled = 0;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    let chunk = value;
    if (result === null) {
      head = joined(head, chunk);
      if (head.length < LONGEST_HEADER) continue;
      result = new Uint8Array(statedSize(head));
      chunk = head;
    }
    const part = chunk.subarray(0, result.length - filled);
    result.set(part, filled);
    filled += part.length;
  }
  if (result === null || filled < result.length) throw new Error(DAMAGED);
  return result.buffer;
}

function joined(one, two) {
  const both = new Uint8Array(one.length + two.length);
  both.set(one);
  both.set(two, one.length);
  return both;
}
