// Numbers, sizes and times in the reader's own way. Durations are seconds, moments microseconds of Unix time.

const plain = new Intl.NumberFormat();
const rounded = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 3 });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const ago = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

// Making one takes longer than using it.
const made = new Map();

function formatter(options) {
  const key = JSON.stringify(options);
  if (!made.has(key)) made.set(key, new Intl.NumberFormat(undefined, options));
  return made.get(key);
}

const SIZES = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
const PERIODS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
  ["second", 1],
];

/** A whole number, or one with three digits that count. */
export const number = (value) => (Number.isInteger(value) ? plain : rounded).format(value);

/** A share from 0 to 1 in percent. */
export const percent = (share, digits = 0) =>
  formatter({ style: "percent", maximumFractionDigits: digits }).format(share);

/** A size in bytes. */
export function bytes(size) {
  const step = size < 1000 ? 0 : Math.min(SIZES.length - 1, Math.floor(Math.log10(size) / 3));
  const options = { style: "unit", unit: SIZES[step], unitDisplay: "short", maximumSignificantDigits: 3 };
  return formatter(options).format(size / 1000 ** step);
}

/** A duration as a person says it: "420 ms", "2.4 s", "3 min 20 s", "5 h 3 min", "2 days 4 h". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  if (seconds < 1) return unit(Math.round(seconds * 1000), "millisecond");
  if (seconds < 10) return unit(Math.round(seconds * 10) / 10, "second");
  const at = PERIODS.findIndex(([, length]) => seconds >= length);
  const [name, length] = PERIODS[at];
  if (name === "second") return unit(Math.round(seconds), name);
  const whole = Math.floor(seconds / length);
  const [nextName, nextLength] = PERIODS[at + 1];
  const rest = Math.floor((seconds - whole * length) / nextLength);
  return rest ? `${unit(whole, name)} ${unit(rest, nextName)}` : unit(whole, name);
}

/** A place in a recording: "0:07", "12:34", "1:02:03". */
export function position(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const [first, ...rest] = parts[0] ? parts : parts.slice(1);
  return [first, ...rest.map((part) => String(part).padStart(2, "0"))].join(":");
}

const money = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD" });

/** A sum of US dollars. */
export const dollars = (amount) => money.format(amount);

/** A moment, with its day. */
export const moment = (unixUs) => day.format(unixUs / 1000);

/** How long ago a moment was. */
export function since(unixUs) {
  const seconds = Math.max(0, Date.now() / 1000 - unixUs / 1e6);
  const [name, length] = PERIODS.find(([, length]) => seconds >= length) ?? PERIODS.at(-1);
  return ago.format(-Math.floor(seconds / length), name);
}

const unit = (value, name) => formatter({ style: "unit", unit: name, unitDisplay: "short" }).format(value);
