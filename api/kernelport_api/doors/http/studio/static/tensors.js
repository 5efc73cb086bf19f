// Tensors as the Open Inference Protocol and NumPy's files have them.

// By the protocol's name: NumPy's, the array that holds such elements, and what is made of each.
const KINDS = {
  BOOL: ["b1", Uint8Array, Boolean],
  INT8: ["i1", Int8Array],
  INT16: ["i2", Int16Array],
  INT32: ["i4", Int32Array],
  INT64: ["i8", BigInt64Array],
  UINT8: ["u1", Uint8Array],
  UINT16: ["u2", Uint16Array],
  UINT32: ["u4", Uint32Array],
  UINT64: ["u8", BigUint64Array],
  FP16: ["f2", Uint16Array, half],
  BF16: ["", Uint16Array, brainHalf],
  FP32: ["f4", Float32Array],
  FP64: ["f8", Float64Array],
};
const LOCAL_HEADER = 0x04034b50;
const CENTRAL_ENTRY = 0x02014b50;
const END = 0x06054b50;
const END_BYTES = 22;
const LONGEST_COMMENT = 65_535;
const STORED = 0;
const DEFLATED = 8;

/** What is wrong with a file or a text; `key` is one of words.tensors, `about` what goes into it. */
export class TensorProblem extends Error {
  constructor(key, about = {}) {
    super(key);
    this.key = key;
    this.about = about;
  }
}

/** The arrays `{datatype, shape, bytes}` of an .npz file by name, or the one of an .npy file under the name "". */
export async function readArrays(buffer) {
  const bytes = new Uint8Array(buffer);
  if (bytes[0] === 0x93) return { "": readNpy(bytes) };
  const found = {};
  for (const [name, data] of await unzipped(bytes)) {
    if (name.endsWith(".npy")) found[name.slice(0, -4)] = readNpy(data);
  }
  if (!Object.keys(found).length) throw new TensorProblem("noArrays");
  return found;
}

function readNpy(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || bytes[0] !== 0x93) throw new TensorProblem("noArrays");
  const [start, length] = bytes[6] === 1 ? [10, view.getUint16(8, true)] : [12, view.getUint32(8, true)];
  const header = new TextDecoder("latin1").decode(bytes.subarray(start, start + length));
  const type = /'descr':\s*'([<>|=]?)(\w+)'/.exec(header);
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header);
  if (!type || !shape) throw new TensorProblem("noArrays");
  const kind = Object.entries(KINDS).find(([, [npy]]) => npy === type[2]);
  if (!kind || type[1] === ">") throw new TensorProblem("dtype", { dtype: type[1] + type[2] });
  if (/'fortran_order':\s*True/.test(header)) throw new TensorProblem("fortran");
  const sizes = shape[1].split(",").map((each) => each.trim()).filter(Boolean).map(Number);
  const data = bytes.subarray(start + length);
  if (data.length !== elementsIn(sizes) * kind[1][1].BYTES_PER_ELEMENT) throw new TensorProblem("cutOff");
  return { datatype: kind[0], shape: sizes, bytes: data };
}

/** The files of a zip archive: pairs of names and bytes. */
async function unzipped(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let end = bytes.length - END_BYTES;
  while (end >= 0 && view.getUint32(end, true) !== END) {
    if (end < bytes.length - END_BYTES - LONGEST_COMMENT) end = 0;
    end -= 1;
  }
  if (end < 0) throw new TensorProblem("noArrays");
  const files = [];
  let at = view.getUint32(end + 16, true);
  for (let count = view.getUint16(end + 10, true); count > 0; count -= 1) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== CENTRAL_ENTRY) throw new TensorProblem("cutOff");
    const method = view.getUint16(at + 10, true);
    const size = view.getUint32(at + 20, true);
    const [name, extra, comment] = [28, 30, 32].map((place) => view.getUint16(at + place, true));
    const local = view.getUint32(at + 42, true);
    if (local + 30 > bytes.length || view.getUint32(local, true) !== LOCAL_HEADER) throw new TensorProblem("cutOff");
    const start = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true);
    const packed = bytes.subarray(start, start + size);
    if (packed.length !== size) throw new TensorProblem("cutOff");
    const label = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + name));
    files.push([label, await unpacked(packed, method)]);
    at += 46 + name + extra + comment;
  }
  return files;
}

async function unpacked(bytes, method) {
  if (method === STORED) return bytes.slice();
  if (method !== DEFLATED) throw new TensorProblem("cutOff");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  try {
    return new Uint8Array(await new Response(stream).arrayBuffer());
  } catch {
    throw new TensorProblem("cutOff");
  }
}

/** What a request has of nested lists by name; `declared` are the inputs that the model takes. */
export function inputsOf(given, declared) {
  if (given === null || typeof given !== "object" || Array.isArray(given)) throw new TensorProblem("noObject");
  return Object.entries(given).map(([name, value]) => {
    const spec = declared.find((each) => each.name === name);
    if (!spec) throw new TensorProblem("unknownInput", { name, names: declared.map((each) => each.name).join(", ") });
    const data = [value].flat(Infinity);
    if (spec.datatype.includes("INT") && data.some((each) => Math.abs(each) > Number.MAX_SAFE_INTEGER))
      throw new TensorProblem("inexact", { name });
    const shape = shapeOf(value, name);
    return { name, datatype: spec.datatype, shape: shape.length ? shape : [1], data };
  });
}

function shapeOf(value, name) {
  if (!Array.isArray(value)) return [];
  const [first = [], ...others] = value.map((each) => shapeOf(each, name));
  if (others.some((each) => String(each) !== String(first))) throw new TensorProblem("ragged", { name });
  return [value.length, ...first];
}

/** The body of a request whose arrays follow their description as bytes, and the length of the description. */
export function requestOf(inputs) {
  const described = inputs.map(({ name, datatype, shape, bytes, data }) =>
    bytes
      ? { name, datatype, shape, parameters: { binary_data_size: bytes.length } }
      : { name, datatype, shape, data },
  );
  const head = new TextEncoder().encode(
    JSON.stringify({ inputs: described, parameters: { binary_data_output: true } }),
  );
  return { body: new Blob([head, ...inputs.filter((each) => each.bytes).map((each) => each.bytes)]), head: head.length };
}

/** The outputs of an answer, an ArrayBuffer, whose arrays follow their description of `head` bytes. */
export function outputsOf(buffer, head) {
  const told = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 0, head)));
  let at = head;
  return told.outputs.map(({ name, datatype, shape, parameters }) => {
    const bytes = new Uint8Array(buffer, at, parameters.binary_data_size);
    at += bytes.length;
    return { name, datatype, shape, bytes };
  });
}

/** A function that gives the element of a tensor at an index. */
export function elementsOf({ datatype, bytes }) {
  if (datatype !== "BYTES") {
    const [, Kind, made = (value) => value] = KINDS[datatype];
    const values = new Kind(bytes.slice().buffer);
    return (index) => made(values[index]);
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const texts = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const length = view.getUint32(at, true);
    texts.push(new TextDecoder().decode(bytes.subarray(at + 4, at + 4 + length)));
    at += 4 + length;
  }
  return (index) => texts[index];
}

/** How many elements a tensor of this shape has. */
export function elementsIn(shape) {
  return shape.reduce((count, size) => count * size, 1);
}

/** How a tensor is an image, of at least 8 by 8 pixels with one, three or four channels; null when it is none. */
export function imageOf(shape) {
  const sizes = [...shape];
  while (sizes.length > 2 && sizes[0] === 1) sizes.shift();
  const last = sizes.length === 3 && [1, 3, 4].includes(sizes[2]);
  const first = sizes.length === 3 && [1, 3, 4].includes(sizes[0]);
  const [channels, height, width] = last
    ? [sizes[2], sizes[0], sizes[1]]
    : first
      ? sizes
      : sizes.length === 2
        ? [1, ...sizes]
        : [0, 0, 0];
  return Math.min(height, width) < 8 || height * width > 2 ** 24 ? null : { height, width, channels, last };
}

/** The pixels of a tensor that is an image; its values from least to greatest are black to white. */
export function pixelsOf(tensor, { height, width, channels, last }) {
  const element = elementsOf(tensor);
  const count = height * width;
  const values = Float64Array.from({ length: count * channels }, (_, index) => Number(element(index)));
  let [least, greatest] = [Infinity, -Infinity];
  for (const value of tensor.datatype === "UINT8" ? [0, 255] : values) {
    if (Number.isFinite(value)) [least, greatest] = [Math.min(least, value), Math.max(greatest, value)];
  }
  const scale = greatest > least ? 255 / (greatest - least) : 0;
  const pixels = new Uint8ClampedArray(4 * count);
  for (let pixel = 0; pixel < count; pixel += 1) {
    for (let channel = 0; channel < 4; channel += 1) {
      const of = channels === 1 ? 0 : channel;
      const value = values[last ? pixel * channels + of : of * count + pixel];
      pixels[4 * pixel + channel] = channel === 3 && channels !== 4 ? 255 : (value - least) * scale;
    }
  }
  return pixels;
}

function half(bits) {
  const [sign, exponent, fraction] = [bits >> 15 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

function brainHalf(bits) {
  return new Float32Array(new Uint32Array([bits << 16]).buffer)[0];
}
