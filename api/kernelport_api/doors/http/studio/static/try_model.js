// A form to try a model: arrays in as JSON or as a file of NumPy, tables and images out.

import { duration, number } from "./format.js";
import { infer } from "./infer.js";
import { Choice, Field, Section, Trouble, given } from "./parts.js";
import { html, useEffect, useRef, useState } from "./preact.js";
import { ask } from "./server.js";
import { isSpeech } from "./speech.js";
import { TensorProblem, elementsIn, elementsOf, imageOf, inputsOf, pixelsOf, readArrays } from "./tensors.js";
import { words } from "./words.js";

const says = words.tryModel;
const MOST_ROWS = 50;
const MOST_COLUMNS = 20;

/** The form, for the deployments that do not speak. */
export function TryModel({ deployments }) {
  const able = deployments.filter((each) => each.signature && !isSpeech(each));
  const [name, setName] = useState("");
  const [text, setText] = useState("");
  const [file, setFile] = useState(null);
  const picker = useRef(null);
  const [answer, setAnswer] = useState({});
  const deployment = able.find((each) => each.name === name) ?? able.find((each) => each.state === "serving") ?? able[0];
  useEffect(() => {
    setText(deployment ? example(deployment.signature) : "");
    setAnswer({});
  }, [deployment?.name]);
  if (!deployment) return null;
  const removeFile = () => {
    picker.current.value = "";
    picker.current.focus();
    setFile(null);
  };
  const run = async (event) => {
    event.preventDefault();
    setAnswer({ isBusy: true });
    const began = performance.now();
    try {
      const outputs = await answered(deployment, file, text);
      setAnswer({ outputs, seconds: (performance.now() - began) / 1000 });
    } catch (problem) {
      const told = problem instanceof TensorProblem ? { message: says.problems[problem.key](problem.about) } : problem;
      setAnswer({ problem: told });
    }
  };
  return html`<${Section} id="try" title=${says.title}>
    <form class="card stack" onSubmit=${run}>
      <div class="columns">
        <div class="stack">
          <${Field} id="arrays" label=${says.inputs} hint=${says.inputsHint}>
            <textarea
              id="arrays"
              class="code"
              rows="6"
              spellcheck=${false}
              aria-describedby="arrays-hint"
              disabled=${Boolean(file)}
              value=${text}
              onInput=${(event) => setText(event.target.value)}
            ></textarea>
          <//>
        </div>
        <div class="stack">
          <${Choice}
            id="try-deployment"
            label=${words.deployment}
            value=${deployment.name}
            options=${able.map((each) => each.name)}
            onChoose=${setName}
          />
          <${Field} id="npz" label=${says.file}>
            <input id="npz" ref=${picker} type="file" accept=".npz,.npy" onChange=${(event) => setFile(event.target.files[0] ?? null)} />
          <//>
          ${file && html`<button type="button" class="compact" onClick=${removeFile}>${says.removeFile}</button>`}
          <button class="primary" disabled=${answer.isBusy}>${answer.isBusy ? says.running : says.run}</button>
        </div>
      </div>
      <${Trouble} problem=${answer.problem} />
      <div role="status" class="small">${answer.outputs && says.took(duration(answer.seconds))}</div>
      ${answer.outputs?.map((output) => html`<${Output} key=${output.name} output=${output} />`)}
    </form>
  <//>`;
}

async function answered(deployment, file, text) {
  const declared = (await ask("GET", `/v2/models/${encodeURIComponent(deployment.name)}`)).inputs;
  return infer(deployment.name, file ? await fromFile(file, declared) : inputsOf(parsed(text), declared));
}

async function fromFile(file, declared) {
  const arrays = await readArrays(await file.arrayBuffer());
  return Object.entries(arrays).map(([name, array]) => ({ name: name || declared[0].name, ...array }));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TensorProblem("noJson", { reason: error.message });
  }
}

/** Inputs that a model may take, for a start. */
function example(signature) {
  const nested = (sizes, value) => (sizes.length ? Array(sizes[0]).fill(nested(sizes.slice(1), value)) : value);
  const entries = signature.inputs
    .filter((spec) => !spec.optional)
    .map((spec) => {
      const sizes = spec.shape.map(({ size }) => (size < 0 ? 1 : Math.min(size, 8)));
      return [spec.name, nested(sizes, { STRING: "text", BOOL: true }[spec.dtype] ?? spec.minimum ?? 1)];
    });
  return JSON.stringify(Object.fromEntries(entries));
}

function Output({ output }) {
  const { name, datatype, shape } = output;
  const image = datatype === "BYTES" ? null : imageOf(shape);
  return html`<div class="stack tight">
    <h3>${given(name)} <span class="small">${datatype} [${shape.join(", ")}]</span></h3>
    ${image ? html`<${Image} output=${output} image=${image} />` : html`<${Values} output=${output} />`}
  </div>`;
}

function Image({ output, image }) {
  const canvas = useRef(null);
  useEffect(() => {
    const pixels = new ImageData(pixelsOf(output, image), image.width, image.height);
    canvas.current.getContext("2d").putImageData(pixels, 0, 0);
  }, [output]);
  return html`<canvas class="image" ref=${canvas} width=${image.width} height=${image.height} role="img" aria-label=${says.image(output.name)}></canvas>`;
}

/** The last two axes as rows and columns; what is before them is laid one after the other. */
function Values({ output }) {
  const { shape } = output;
  const columns = shape.length ? shape.at(-1) : 1;
  const rows = columns ? elementsIn(shape) / columns : 0;
  const element = elementsOf(output);
  const shown = (value) => (typeof value === "number" ? number(value) : String(value));
  const some = (most, all) => Array.from({ length: Math.min(most, all) }, (_, index) => index);
  return html`<div class="scrolled values" tabindex="0" role="region" aria-label=${says.values(output.name)}>
      <table>
        <tbody>
          ${some(MOST_ROWS, rows).map(
            (row) => html`<tr>
              ${some(MOST_COLUMNS, columns).map(
                (column) => html`<td class="number">${given(shown(element(row * columns + column)), 200)}</td>`,
              )}
            </tr>`,
          )}
        </tbody>
      </table>
    </div>
    ${(rows > MOST_ROWS || columns > MOST_COLUMNS) &&
    html`<p class="small">${says.part(number(Math.min(rows, MOST_ROWS)), number(rows), number(Math.min(columns, MOST_COLUMNS)), number(columns))}</p>`}`;
}
