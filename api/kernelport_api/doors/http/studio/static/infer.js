// Runs a model by the Open Inference Protocol, with arrays as bytes behind the JSON.

import { request } from "./server.js";
import { outputsOf, requestOf } from "./tensors.js";

const HEAD = "inference-header-content-length";

/** What a model gives, outputs of `{name, datatype, shape, bytes}`; inputs have these, or `data` instead of `bytes`. */
export async function infer(model, inputs) {
  const { body, head } = requestOf(inputs);
  const headers = { "content-type": "application/octet-stream", [HEAD]: String(head) };
  const answer = await request("POST", `/v2/models/${encodeURIComponent(model)}/infer`, body, { headers });
  return outputsOf(await answer.arrayBuffer(), Number(answer.headers.get(HEAD)));
}
