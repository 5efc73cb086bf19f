// A form made of the inputs that a deployment declares.

import { number } from "./format.js";
import { Field } from "./parts.js";
import { html } from "./preact.js";
import { words } from "./words.js";

const INTEGERS = new Set(["I8", "I16", "I32", "I64", "U16", "U32", "U64"]);
const FLOATS = new Set(["F16", "F32", "F64", "BF16"]);
// What the page sees to itself.
const OWN = new Set(["text", "audio_format"]);
const MOST_CHARACTERS = 64_000;

const isNumber = ({ dtype, shape }) =>
  (INTEGERS.has(dtype) || FLOATS.has(dtype)) && shape.every((dimension) => dimension.size === 1);
const isText = ({ dtype, max_characters: most }) => dtype === "STRING" || (dtype === "U8" && most > 0);

/** The inputs that a person can fill in: numbers, choices, texts. */
export const fillable = (deployment) =>
  (deployment?.signature?.inputs ?? []).filter(
    (spec) => !OWN.has(spec.name) && !spec.names_voice && (spec.choices.length || isNumber(spec) || isText(spec)),
  );

/** The input that names a registered voice; undefined where there is none. */
export const voiceInput = (deployment) => deployment?.signature?.inputs.find((spec) => spec.names_voice);

/** What was chosen, without a voice that has been deleted since. */
export const withVoiceOf = (voices, chosen) => ({ ...chosen, voice: voices.has(chosen.voice) ? chosen.voice : "" });

/** What was filled in, as a request has it. What was left empty is not in it. */
export function filledIn(specs, values) {
  const filled = specs.filter(({ name }) => (values[name] ?? "").trim() !== "");
  return Object.fromEntries(filled.map((spec) => [spec.name, isNumber(spec) ? Number(values[spec.name]) : values[spec.name]]));
}

function hint({ minimum, maximum, description }) {
  const { range, atLeast, atMost } = words.speak;
  const [least, most] = [minimum, maximum].map((each) => each !== null && number(each));
  const told = least && most ? range(least, most) : least ? atLeast(least) : most && atMost(most);
  return [told, description].filter(Boolean).join("; ");
}

/** The form. `onInput` is told a name and its new value, a text. */
export const Inputs = ({ specs, values, onInput }) =>
  specs.map((spec) => {
    const id = `input-${spec.name}`;
    const told = hint(spec);
    const shared = {
      id,
      name: spec.name,
      value: values[spec.name] ?? "",
      "aria-describedby": told && `${id}-hint`,
      onInput: (event) => onInput(spec.name, event.target.value),
    };
    return html`<${Field} id=${id} label=${spec.name.replaceAll("_", " ")} hint=${told} key=${spec.name}>
      ${control(spec, shared)}
    <//>`;
  });

function control(spec, shared) {
  const preset = spec.default_value;
  if (spec.choices.length)
    return html`<select ...${shared}>
      <option value="">${words.speak.unset}</option>
      ${spec.choices.map((choice) => html`<option value=${choice}>${choice}</option>`)}
    </select>`;
  if (isNumber(spec))
    return html`<input
      ...${shared}
      type="number"
      inputmode="decimal"
      min=${spec.minimum}
      max=${spec.maximum}
      step=${INTEGERS.has(spec.dtype) ? 1 : "any"}
      placeholder=${preset === null ? words.speak.unset : words.speak.byDefault(number(preset))}
      required=${!spec.optional}
    />`;
  return html`<textarea ...${shared} rows="2" maxlength=${spec.max_characters || MOST_CHARACTERS} required=${!spec.optional}></textarea>`;
}
