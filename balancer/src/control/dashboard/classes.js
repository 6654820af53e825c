// The table of classes: what each costs, its lane, and where it goes and why.

import { Keyed, byId, el, setAttribute, setText } from "./dom.js";
import { bytes, figure, plural, time } from "./format.js";

/** Rows shown before somebody asks for all. */
const FIRST = 50;
/** Rows keep their order for this long, unless somebody sorts: a table that jumps can not be read. */
const RESORT_MS = 4_000;

const COLUMNS = [
  { id: "class", text: "Class, and where it goes", of: (c) => c.class, ascending: true },
  { id: "lane", text: "Lane", of: (c) => c.predicted_ms, css: "c-lane" },
  { id: "rate", text: "Requests/s", of: (c) => c.per_second, css: "number c-slim" },
  { id: "busy", text: "Workers", of: (c) => c.busy, css: "number c-slim" },
  { id: "held", text: "Held p50 · p99", of: (c) => c.held_p99_ms ?? -1, css: "number c-wide" },
  { id: "latency", text: "Latency p50 · p99", of: (c) => c.latency_p99_ms ?? -1, css: "number c-wide" },
  { id: "size", text: "Size p50", of: (c) => c.bytes_p50 ?? -1, css: "number c-slim" },
  { id: "errors", text: "Errors", of: (c) => c.errors, css: "number c-slim" },
];

export class Classes {
  constructor() {
    this.column = COLUMNS.find((column) => column.id === "busy");
    this.ascending = false;
    this.all = false;
    const rows = byId("classes");
    const update = (row, c) => updateRow(row, c, this.mostBusy);
    // A row is a place in the order and not a class: what changes places does not move what one looks at.
    this.rows = new Keyed(rows, (c, place) => place, makeRow, update, rows.closest(".scroll"));
    this.#heads();
    byId("class-filter").addEventListener("input", () => this.#again());
    byId("classes-more").addEventListener("click", () => {
      this.all = !this.all;
      this.#again();
    });
  }

  draw(view) {
    this.view = view;
    const filter = byId("class-filter").value.toLowerCase();
    const wanted = view.classes.filter((c) => c.class.toLowerCase().includes(filter));
    this.mostBusy = Math.max(...view.classes.map((c) => c.busy), 0.001);
    const sorted = this.#sorted(wanted);
    const shown = this.all ? sorted : sorted.slice(0, FIRST);
    this.rows.show(shown);
    this.#about(view, wanted.length, shown.length);
  }

  #again() {
    this.sortedAt = null;
    if (this.view) this.draw(this.view);
  }

  #about({ classes, classesTotal }, wanted, shown) {
    const beyond = classesTotal > classes.length ? `, the busiest of ${classesTotal}` : "";
    const filtered = wanted < classes.length ? `${wanted} of ` : "";
    setText(byId("classes-about"), `${filtered}${plural(classes.length, "class", "classes")}${beyond}; figures of the last minute`);
    const more = byId("classes-more");
    more.hidden = wanted <= FIRST;
    setText(more, this.all ? `Show the first ${FIRST}` : `Show all ${wanted}`);
  }

  /** In the order chosen; it is kept for a while, and as long as somebody points at the table. */
  #sorted(classes) {
    const now = performance.now();
    const hold = this.sortedAt && (now - this.sortedAt < RESORT_MS || byId("classes").matches(":hover, :focus-within"));
    const { of } = this.column;
    const direction = this.ascending ? 1 : -1;
    const byColumn = (a, b) => {
      const [x, y] = [of(a), of(b)];
      return (x < y ? -1 : x > y ? 1 : 0) * direction || (a.class < b.class ? -1 : 1);
    };
    if (!hold) {
      this.sortedAt = now;
      this.order = new Map([...classes].sort(byColumn).map((c, place) => [c.class, place]));
    }
    const place = (c) => this.order.get(c.class) ?? Infinity;
    return [...classes].sort((a, b) => place(a) - place(b) || byColumn(a, b));
  }

  #heads() {
    this.heads = COLUMNS.map((column) => {
      const button = el("button", { type: "button" }, column.text);
      button.addEventListener("click", () => this.#sortBy(column));
      return el("th", { scope: "col", class: column.css }, button);
    });
    byId("class-heads").append(...this.heads);
    this.#showSort();
  }

  #sortBy(column) {
    this.ascending = this.column === column ? !this.ascending : Boolean(column.ascending);
    this.column = column;
    this.#showSort();
    this.#again();
  }

  #showSort() {
    const sort = this.ascending ? "ascending" : "descending";
    this.heads.forEach((head, i) => setAttribute(head, "aria-sort", COLUMNS[i] === this.column ? sort : null));
  }
}

function makeRow() {
  const number = () => el("td", { class: "number" });
  const share = el("span");
  const cells = {
    name: el("span", { class: "class-name clip" }),
    goes: el("span", { class: "sub clip2" }),
    lane: el("span"),
    rate: number(), busy: el("span"), share, held: number(), latency: number(), size: number(),
    errors: number(),
  };
  const row = el("tr", {},
    el("th", { scope: "row", class: "plain" }, cells.name, cells.goes),
    el("td", {}, cells.lane),
    cells.rate,
    el("td", { class: "number" }, cells.busy, el("div", { class: "share" }, share)),
    cells.held, cells.latency, cells.size, cells.errors);
  row.parts = cells;
  return row;
}

function updateRow(row, view, mostBusy) {
  const cells = row.parts;
  const large = view.lane !== "small";
  const why = [view.goes, view.reason].filter(Boolean).join("; ");
  setAttribute(row, "class", large ? "large" : null);
  setText(cells.name, view.class);
  setAttribute(cells.name, "title", view.class);
  setText(cells.goes, why);
  setAttribute(cells.goes, "title", why);
  setText(cells.lane, view.lane);
  setAttribute(cells.lane, "class", `badge lane-${large ? "large" : "small"}`);
  setText(cells.rate, figure(view.per_second));
  setText(cells.busy, figure(view.busy));
  const width = `${Math.round((100 * view.busy) / mostBusy)}%`;
  if (cells.share.style.width !== width) cells.share.style.width = width;
  setText(cells.held, pair(view.held_p50_ms, view.held_p99_ms));
  setText(cells.latency, pair(view.latency_p50_ms, view.latency_p99_ms));
  setText(cells.size, bytes(view.bytes_p50));
  setText(cells.errors, String(view.errors));
  setAttribute(cells.errors, "class", view.errors > 0 ? "number errors" : "number");
}

/** Two times with one unit if they have the same. */
function pair(p50, p99) {
  const [a, b] = [time(p50), time(p99)];
  const [digits, unit] = a.split(" ");
  return unit && b.endsWith(` ${unit}`) ? `${digits} · ${b}` : `${a} · ${b}`;
}
