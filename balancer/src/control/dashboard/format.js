// Figures as people read them: short, with units, "–" for what is not known.

const NONE = "–";
const known = (value) => value !== null && value !== undefined;

/** Three digits at most: 0.12, 1.5, 12, 1234. */
export function figure(value) {
  if (!known(value)) return NONE;
  if (Number.isInteger(value) || value >= 10) return Math.round(value).toLocaleString("en");
  if (value < 0.005) return "<0.01";
  if (value < 1) return value.toFixed(2);
  return value.toFixed(1);
}

const brief = (value) => (value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en"));

/** A span of time given in milliseconds. */
export function time(ms) {
  if (!known(ms)) return NONE;
  if (ms < 1) return `${ms.toFixed(2)} ms`;
  if (ms < 1000) return `${brief(ms)} ms`;
  return `${brief(ms / 1000)} s`;
}

/** The same of a round figure at an axis: "1 s" and not "1.0 s". */
export const tick = (ms) => time(ms).replace(/\.0+ /, " ");

/** How long something has been so: "12 s", "5 min", "3 h", "2 d". */
export function since(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 36 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} d`;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  let unit = 0;
  while (value >= 999.5 && unit < 4) {
    value /= 1024;
    unit += 1;
  }
  const digits = unit > 0 && value < 10 ? 1 : 0;
  return `${value.toFixed(digits)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** The time of day, to the second. */
export function clock(ms) {
  return new Date(ms).toLocaleTimeString("en-GB");
}

export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** Cut in the middle: both ends of a path say what it is. */
export function shorten(text, most) {
  if (text.length <= most) return text;
  const end = Math.floor((most - 1) * 0.4);
  return `${text.slice(0, most - 1 - end)}…${text.slice(text.length - end)}`;
}
