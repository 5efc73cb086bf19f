// Runs a model by the Open Inference Protocol, with bytes beside the JSON.

import { request } from "./server.js";

const ARRAYS = { FP32: Float32Array, FP64: Float64Array, INT32: Int32Array, INT64: BigInt64Array, UINT8: Uint8Array };

/**
 * What a model gives.
 *
 * @param {{name: string, datatype: string, shape: number[], data?: unknown[], bytes?: Uint8Array}[]} inputs with either
 *   values, or their bytes.
 * @param {string[]} outputs the names of those that are wanted.
 * @returns {Promise<Record<string, {shape: number[], data: ArrayLike<number>}>>} by name.
 * @throws {Problem}
 */
export async function infer(model, inputs, outputs) {
  const told = inputs.map(({ bytes, ...input }) =>
    bytes ? { ...input, parameters: { binary_data_size: bytes.length } } : input,
  );
  const wanted = outputs.map((name) => ({ name, parameters: { binary_data: true } }));
  const head = new TextEncoder().encode(JSON.stringify({ inputs: told, outputs: wanted }));
  const body = new Blob([head, ...inputs.flatMap(({ bytes }) => bytes ?? [])]);
  const headers = { "content-type": "application/octet-stream", "inference-header-content-length": String(head.length) };
  const answer = await request("POST", `/v2/models/${encodeURIComponent(model)}/infer`, body, { headers });
  return taken(await answer.arrayBuffer(), Number(answer.headers.get("inference-header-content-length")));
}

function taken(buffer, headLength) {
  let at = headLength;
  const found = {};
  for (const { name, datatype, shape, parameters } of JSON.parse(new TextDecoder().decode(buffer.slice(0, at))).outputs) {
    const end = at + parameters.binary_data_size;
    found[name] = { shape, data: new ARRAYS[datatype](buffer.slice(at, end)) };
    at = end;
  }
  return found;
}
