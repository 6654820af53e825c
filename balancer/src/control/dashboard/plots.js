// The last hour in four plots that share one time: latency of small and of large requests, the queue, the workers.

import { byId, el, setAttribute, setText, svg } from "./dom.js";
import { clock, figure, plural, tick, time } from "./format.js";
import { across, area, decades, fromZero, line } from "./scale.js";

const HEIGHT = 104;
const [LEFT, TOP, BOTTOM] = [40, 6, HEIGHT - 18];
const MINUTE_MS = 60_000;
/** Steps that may be missing before a line breaks. */
const GAP_STEPS = 6.5;
/** Marks that are closer than this, in pixels, are one. */
const MARK = 3;

const sum = (a, b) => a.map((value, i) => value + b[i]);

/** `figures`: what is written above; `lines` and `areas`: what is drawn, of a history in columns. */
const PLOTS = [
  {
    title: "Latency of small requests",
    figures: [["p50", (h) => h.small.p50_ms, time], ["p99", (h) => h.small.p99_ms, time]],
    areas: [["small", (h) => h.small.p99_ms, (h) => h.small.p50_ms]],
    lines: [["small", (h) => h.small.p99_ms], ["small faint", (h) => h.small.p50_ms]],
    scale: decades, tick,
  },
  {
    title: "Latency of large requests",
    figures: [["p50", (h) => h.large.p50_ms, time], ["p99", (h) => h.large.p99_ms, time]],
    areas: [["large", (h) => h.large.p99_ms, (h) => h.large.p50_ms]],
    lines: [["large", (h) => h.large.p99_ms], ["large faint", (h) => h.large.p50_ms]],
    scale: decades, tick,
  },
  {
    title: "Requests that wait for a worker",
    figures: [["small", (h) => h.small.waiting, figure], ["large", (h) => h.large.waiting, figure], ["p99 wait", (h) => h.small.wait_p99_ms, time]],
    areas: [["small", (h) => h.small.waiting, null], ["large", (h) => h.large.waiting, null]],
    lines: [["small", (h) => h.small.waiting], ["large", (h) => h.large.waiting]],
    scale: (values, top, bottom) => fromZero(values, 4, top, bottom), tick: figure,
  },
  {
    title: "Workers held",
    figures: [["small", (h) => h.small.working, figure], ["large", (h) => h.large.working, figure], ["of", (h) => h.workers, figure]],
    areas: [["small", (h) => sum(h.small.working, h.large.working), null], ["large", (h) => h.large.working, null]],
    lines: [["small", (h) => sum(h.small.working, h.large.working)], ["large", (h) => h.large.working], ["limit", (h) => h.workers]],
    scale: (values, top, bottom) => fromZero(values, 1, top, bottom), tick: figure,
  },
];

export class Plots {
  constructor(holder) {
    this.plots = PLOTS.map((spec) => new Plot(spec, (ms) => this.point(ms)));
    holder.append(...this.plots.map((plot) => plot.card));
    this.changes = [];
    this.minutes = null;
    byId("range").addEventListener("change", (change) => {
      this.minutes = Number(change.target.value);
      this.#redraw();
    });
    new ResizeObserver(() => {
      this.width = this.plots[0].svg.clientWidth;
      this.#redraw();
    }).observe(holder);
  }

  /** Draws if there is something new: a step every few seconds. */
  draw(history, view) {
    const newest = history?.at_ms.at(-1);
    if (!newest || (newest === this.newest && view.service.service === this.service)) return;
    this.service = view.service.service;
    Object.assign(this, { history, newest });
    this.#redraw();
  }

  /** Changes of the plan, to be marked. */
  mark(changes) {
    this.changes = changes;
    this.#redraw();
  }

  /** Shows what was at a time; `null`: what is now. */
  point(ms) {
    for (const plot of this.plots) plot.point(ms);
  }

  #redraw() {
    const { history, newest, width } = this;
    if (!history || !width) return;
    const minutes = this.minutes ?? enough(newest - history.at_ms[0]);
    byId("range").querySelector(`[value="${minutes}"]`).checked = true;
    const fromMs = newest - minutes * MINUTE_MS;
    const first = history.at_ms.findIndex((at) => at >= fromMs);
    const shown = slice(history, first);
    const changes = this.changes.filter((change) => change.atMs >= fromMs && change.atMs <= newest);
    for (const plot of this.plots) plot.draw({ history: shown, width, fromMs, toMs: newest, minutes, changes });
  }
}

/** The shortest range that has all that there is. */
const enough = (spanMs) => [5, 15].find((minutes) => minutes * MINUTE_MS >= spanMs) ?? 60;

function slice(columns, first) {
  const entries = Object.entries(columns).map(([name, value]) => {
    if (Array.isArray(value)) return [name, value.slice(first)];
    return [name, typeof value === "object" ? slice(value, first) : value];
  });
  return Object.fromEntries(entries);
}

class Plot {
  constructor(spec, point) {
    this.spec = spec;
    this.values = spec.figures.map(() => el("dd"));
    const figures = spec.figures.map(([name], i) => el("div", {}, el("dt", {}, name), this.values[i]));
    this.when = el("span", { class: "muted" });
    this.grid = svg("g");
    this.marks = svg("g");
    this.areas = spec.areas.map(([kind]) => svg("path", { class: `area ${kind}` }));
    this.lines = spec.lines.map(([kind]) => svg("path", { class: `line ${kind}` }));
    this.cursor = svg("line", { class: "cursor", y1: TOP, y2: BOTTOM, visibility: "hidden" });
    this.svg = svg("svg", { role: "img" }, ...this.areas, this.grid, this.marks, ...this.lines, this.cursor);
    this.card = el("article", { class: "plot" }, el("h3", {}, spec.title, " ", this.when), el("dl", {}, ...figures), this.svg);
    this.svg.addEventListener("pointermove", (move) => point(this.#timeAt(move.offsetX)));
    this.svg.addEventListener("pointerleave", () => point(null));
  }

  draw(shown) {
    const { history, fromMs, toMs } = shown;
    this.shown = shown;
    this.width = shown.width;
    const { spec } = this;
    const columns = spec.lines.map(([, of]) => of(history));
    this.x = across(fromMs, toMs, LEFT, this.width - 2);
    this.y = spec.scale(columns.flat(), TOP, BOTTOM);
    const gap = history.step_ms * GAP_STEPS;
    const points = (values, floors) => values.map((value, i) => ({
      ms: history.at_ms[i], x: this.x(history.at_ms[i]),
      y: value === null ? null : this.y.at(value), y0: floors?.[i] != null ? this.y.at(floors[i]) : BOTTOM,
    }));
    this.areas.forEach((path, i) => {
      const [, of, floor] = spec.areas[i];
      setAttribute(path, "d", area(points(of(history), floor?.(history)), gap));
    });
    this.lines.forEach((path, i) => setAttribute(path, "d", line(points(columns[i]), gap)));
    this.#drawGrid(shown);
    this.#drawMarks(shown.changes);
    this.point(null);
  }

  #drawGrid({ minutes }) {
    const every = Math.ceil(this.y.ticks.length / 5);
    const rows = this.y.ticks.filter((_, i) => i % every === 0).flatMap((tick) => {
      const y = this.y.at(tick);
      return [svg("line", { class: "grid", x1: LEFT, x2: this.width - 2, y1: y, y2: y }),
        svg("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end" }, this.spec.tick(tick))];
    });
    const ends = [svg("text", { x: LEFT, y: HEIGHT - 2 }, minutes === 60 ? "−1 h" : `−${minutes} min`),
      svg("text", { x: this.width - 2, y: HEIGHT - 2, "text-anchor": "end" }, "now")];
    this.grid.replaceChildren(...rows, ...ends);
  }

  #drawMarks(changes) {
    const places = new Set(changes.map((change) => Math.round(this.x(change.atMs) / MARK) * MARK));
    this.marks.replaceChildren(...[...places].map((x) => svg("line", { class: "change-mark", x1: x, x2: x, y1: TOP, y2: BOTTOM })));
  }

  point(ms) {
    if (!this.shown) return;
    const { history } = this.shown;
    const at = ms === null ? history.at_ms.length - 1 : nearest(history.at_ms, ms);
    this.spec.figures.forEach(([, of, show], i) => setText(this.values[i], show(of(history)[at])));
    setText(this.when, ms === null ? "" : `at ${clock(history.at_ms[at])}`);
    setAttribute(this.cursor, "visibility", ms === null ? "hidden" : null);
    if (ms !== null) for (const name of ["x1", "x2"]) setAttribute(this.cursor, name, this.x(history.at_ms[at]));
    else setAttribute(this.svg, "aria-label", this.#inWords());
  }

  #inWords() {
    const { history, minutes } = this.shown;
    const parts = this.spec.figures.map(([name, of, show]) => {
      const known = of(history).filter((value) => value !== null);
      return known.length > 0 ? `${name} ${show(known.at(-1))}, at most ${show(Math.max(...known))}` : `${name} unknown`;
    });
    return `${this.spec.title}, last ${plural(minutes, "minute")}: ${parts.join("; ")}`;
  }

  #timeAt(offset) {
    const { fromMs, toMs } = this.shown;
    return fromMs + ((offset - LEFT) / (this.width - 2 - LEFT)) * (toMs - fromMs);
  }
}

function nearest(sorted, wanted) {
  let best = 0;
  sorted.forEach((value, i) => {
    if (Math.abs(value - wanted) < Math.abs(sorted[best] - wanted)) best = i;
  });
  return best;
}
