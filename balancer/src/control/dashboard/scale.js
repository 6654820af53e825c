// Axes: figures to pixels, and the lines that people read them by.

/** From a time to an x. */
export function across(fromMs, toMs, left, right) {
  return (ms) => left + ((ms - fromMs) / (toMs - fromMs)) * (right - left);
}

/** Logarithmic, in whole decades: from milliseconds to minutes a line each. */
export function decades(values, top, bottom) {
  const known = values.filter((value) => value !== null && value > 0);
  const low = known.length > 0 ? Math.floor(Math.log10(Math.min(...known))) : 0;
  const high = Math.max(known.length > 0 ? Math.ceil(Math.log10(Math.max(...known))) : 2, low + 1);
  const at = (value) => bottom - ((Math.log10(value) - low) / (high - low)) * (bottom - top);
  const ticks = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  return { at: (value) => Math.min(bottom, Math.max(top, at(Math.max(value, 1e-6)))), ticks };
}

/** From zero to a round number that is at least `least`. */
export function fromZero(values, least, top, bottom) {
  const most = Math.max(least, ...values.map((value) => value ?? 0));
  const step = [1, 2, 5].flatMap((digit) => [digit, digit * 10, digit * 100, digit * 1000, digit * 10_000, digit * 100_000])
    .sort((a, b) => a - b).find((candidate) => candidate * 4 >= most) ?? most / 4;
  const high = Math.ceil(most / step) * step;
  const ticks = Array.from({ length: Math.round(high / step) + 1 }, (_, i) => i * step);
  return { at: (value) => bottom - (value / high) * (bottom - top), ticks };
}

/** Runs of points without too long a pause. Points without a value are left out. */
function runs(points, longestGapMs) {
  const all = [];
  for (const point of points) {
    if (point.y === null) continue;
    const last = all.at(-1)?.at(-1);
    if (last && point.ms - last.ms <= longestGapMs) all.at(-1).push(point);
    else all.push([point]);
  }
  return all;
}

const pair = (x, y) => `${x.toFixed(1)},${y.toFixed(1)}`;

/** A path through points. One that stands alone is a dot, as broad as the line. */
export function line(points, longestGapMs) {
  const path = (run) => `M${run.map(({ x, y }) => pair(x, y)).join("L")}${run.length === 1 ? "h.1" : ""}`;
  return runs(points, longestGapMs).map(path).join("");
}

/** The ground between two lines. */
export function area(points, longestGapMs) {
  const path = (run) => {
    const there = run.map(({ x, y }) => pair(x, y));
    const back = run.map(({ x, y0 }) => pair(x, y0)).reverse();
    return `M${there.join("L")}L${back.join("L")}Z`;
  };
  return runs(points, longestGapMs).map(path).join("");
}
