// The picture of who serves what: classes to instances, as broad as the traffic between them.

import { Keyed, byId, el, setAttribute, setText, svg } from "./dom.js";
import { bytes, figure, plural, shorten } from "./format.js";
import { layOut } from "./layout.js";

const MEASURES = {
  busy: { show: figure, words: "workers held" },
  per_second: { show: (value) => `${figure(value)}/s`, words: "requests per second" },
  bytes_per_second: { show: (value) => `${bytes(value)}/s`, words: "bytes per second" },
};
const NODE = 9;
const PADDING = 4;
/** Below this width in pixels there is room for names alone. */
const NARROW = 520;
/** Rows of the table beside it. */
const ROWS = 40;

export class Flow {
  constructor() {
    this.holder = byId("flow");
    this.measure = "busy";
    this.ribbons = svg("g");
    this.nodes = svg("g");
    this.nothing = svg("text", { class: "nothing", "text-anchor": "middle" });
    this.svg = svg("svg", { role: "img", "aria-labelledby": "flow-title", "aria-describedby": "flow-about" }, this.ribbons, this.nodes, this.nothing);
    this.holder.append(this.svg);
    this.paths = new Keyed(this.ribbons, (r) => r.key, () => svg("path", {}, svg("title")), (path, r) => this.#ribbon(path, r));
    this.bars = new Keyed(this.nodes, (n) => n.id, (n) => this.#node(n), (group, n) => this.#bar(group, n));
    this.rows = new Keyed(byId("flow-rows"), (f) => `${f.class}\t${f.instance}`, row, updateRow);
    byId("measure").addEventListener("change", (change) => {
      this.measure = change.target.value;
      this.draw(this.view);
    });
    byId("flow-details").addEventListener("toggle", () => this.draw(this.view));
    new ResizeObserver(() => this.#resize()).observe(this.holder);
  }

  draw(view) {
    if (!view) return;
    this.view = view;
    if (!this.width) this.#measureSize();
    const lanes = new Map(view.classes.map((c) => [c.class, c.lane]));
    const flows = view.flows.map((flow) => ({ ...flow, value: flow[this.measure] }));
    const { left, right, ribbons } = layOut(flows, lanes, this.height - 2 * PADDING);
    this.dedicated = new Set(view.instances.filter((i) => i.dedicated_since_ms !== null).map((i) => i.name));
    this.paths.show(ribbons);
    this.bars.show([...left.map((n) => ({ ...n, side: "class", id: `c${n.key}` })), ...right.map((n) => ({ ...n, side: "instance", id: `i${n.key}` }))]);
    this.#about(flows);
    if (byId("flow-details").open) this.rows.show([...flows].sort((a, b) => b.value - a.value).slice(0, ROWS));
  }

  #about(flows) {
    const total = flows.reduce((sum, flow) => sum + flow.value, 0);
    const classes = new Set(flows.map((flow) => flow.class)).size;
    const { show, words } = MEASURES[this.measure];
    setText(byId("flow-about"), total > 0 ? `${words} in the last seconds: ${show(total)} by ${plural(classes, "class", "classes")}` : `${words} in the last seconds`);
    setText(this.nothing, total > 0 ? "" : "No request ended in the last seconds.");
    setAttribute(this.nothing, "x", this.width / 2);
    setAttribute(this.nothing, "y", this.height / 2);
  }

  #measureSize() {
    const { width, height } = this.holder.getBoundingClientRect();
    Object.assign(this, { width, height, margin: Math.round(Math.min(300, width * 0.32)) });
    this.rightMargin = Math.round(Math.min(200, width * 0.27));
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  }

  #resize() {
    const { width } = this.holder.getBoundingClientRect();
    if (width === 0 || width === this.width) return;
    this.#measureSize();
    this.draw(this.view);
  }

  #ribbon(path, { from, to, y0, y1, width, value }) {
    const [x0, x1] = [this.margin + NODE, this.width - this.rightMargin - NODE];
    const middle = (x0 + x1) / 2;
    const broad = Math.max(width, 0.8);
    const [a, b] = [y0 + PADDING, y1 + PADDING].map((y) => Math.round(y * 10) / 10);
    const w = Math.round(broad * 10) / 10;
    setAttribute(path, "d", `M${x0},${a}C${middle},${a} ${middle},${b} ${x1},${b}L${x1},${b + w}C${middle},${b + w} ${middle},${a + w} ${x0},${a + w}Z`);
    setAttribute(path, "class", `ribbon ${from.lane === "small" ? "small" : "large"}`);
    path.ends = [`c${from.key}`, `i${to.key}`];
    setText(path.firstChild, `${from.name} to ${to.name}: ${MEASURES[this.measure].show(value)}`);
  }

  #node({ side }) {
    const label = svg("tspan", { class: side === "class" ? "mono" : null });
    const mark = svg("tspan", { class: "mark" });
    const value = svg("tspan", { class: "value" });
    const parts = side === "class" ? [label, value] : [label, value, mark];
    const text = svg("text", { "text-anchor": side === "class" ? "end" : "start" }, ...parts);
    const rect = svg("rect", { class: "node", width: NODE, rx: 2 });
    const group = svg("g", {}, rect, text);
    group.parts = { rect, text, label, value, mark };
    group.addEventListener("pointerenter", () => this.#pick(group.node));
    group.addEventListener("pointerleave", () => this.#pick(null));
    return group;
  }

  #bar(group, node) {
    const { rect, text, label, value, mark } = group.parts;
    group.node = node.id;
    const isClass = node.side === "class";
    const y = Math.round((node.y + PADDING) * 10) / 10;
    setAttribute(rect, "class", `node ${isClass ? (node.lane === "small" ? "small" : "large") : "instance"}`);
    setAttribute(rect, "x", isClass ? this.margin : this.width - this.rightMargin - NODE);
    setAttribute(rect, "y", y);
    setAttribute(rect, "height", Math.max(1, Math.round(node.height * 10) / 10));
    setAttribute(text, "x", isClass ? this.margin - 8 : this.width - this.rightMargin + 8);
    setAttribute(text, "y", y + node.height / 2 + 4);
    const shown = this.width < NARROW ? "" : MEASURES[this.measure].show(node.value);
    const isDedicated = !isClass && this.dedicated.has(node.name) && this.width >= NARROW;
    const room = (isClass ? this.margin : this.rightMargin) - 8 * (shown ? shown.length + 3 : 2) - (isDedicated ? 70 : 0);
    setText(label, shorten(node.name, Math.max(6, Math.floor(room / 7))));
    setText(value, shown && ` ${shown}`);
    setText(mark, isDedicated ? " dedicated" : "");
  }

  /** Shows the ribbons of one node before all others. */
  #pick(id) {
    this.svg.classList.toggle("picking", id !== null);
    for (const path of this.paths.nodes.values()) path.classList.toggle("picked", path.ends.includes(id));
  }
}

function row(flow) {
  const parts = { busy: el("td", { class: "number" }), rate: el("td", { class: "number" }), bytes: el("td", { class: "number" }) };
  const tr = el("tr", {}, el("td", { class: "class-name" }, flow.class), el("td", {}, flow.instance), parts.busy, parts.rate, parts.bytes);
  tr.parts = parts;
  return tr;
}

function updateRow({ parts }, flow) {
  setText(parts.busy, figure(flow.busy));
  setText(parts.rate, figure(flow.per_second));
  setText(parts.bytes, bytes(flow.bytes_per_second));
}
