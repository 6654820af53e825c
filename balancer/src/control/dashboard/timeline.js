// What changed, newest first, each with its reason.

import { Keyed, byId, el, setText } from "./dom.js";
import { clock } from "./format.js";

/** Lines kept: as many as the balancer keeps. */
const MOST = 500;
/** Changes of one moment for one reason are one line. */
const SAME_MS = 1_500;

const KINDS = {
  plan: ["plan", "plan"],
  operator: ["operator", "operator"],
  "instance-registered": ["instance", "registered"],
  "instance-gone": ["instance", "gone"],
  "instance-state": ["instance", "state"],
  "agent-restarted": ["instance", "agent restarted"],
  "instance-slow": ["learned", "turned slow"],
  "instance-recovered": ["learned", "recovered"],
  "class-large": ["learned", "turned large"],
  "class-small": ["learned", "turned small"],
  homes: ["learned", "homes"],
  interference: ["learned", "interference"],
};

export class Timeline {
  /** `mark(events)` is told of changes of the plan, `point(atMs)` of the line that is pointed at. */
  constructor(mark, point) {
    Object.assign(this, { mark, point, lines: [], lastId: 0, filter: "" });
    this.list = new Keyed(byId("timeline"), (line) => line.id, (line) => this.#item(line), showNames);
    byId("timeline-filter").addEventListener("change", (change) => {
      this.filter = change.target.value;
      this.changed = true;
      this.draw(this.service);
    });
  }

  add(event) {
    if (event.id <= this.lastId && event.at_ms <= (this.lines[0]?.atMs ?? 0)) return; // told again after a reconnection
    this.lastId = event.id;
    this.changed = true;
    const [group, kind] = KINDS[event.kind] ?? ["learned", event.kind];
    const same = this.lines.slice(0, 8).find((line) => line.text === event.text && line.kind === kind
      && line.service === event.service && event.at_ms - line.atMs < SAME_MS);
    if (same) {
      same.names.push(event.instance);
      return;
    }
    const { service, text } = event;
    this.lines.unshift({ id: `${event.id}/${event.at_ms}`, atMs: event.at_ms, group, kind, service, text, names: event.instance ? [event.instance] : [] });
    this.lines.length = Math.min(this.lines.length, MOST);
  }

  draw(service) {
    if (this.service === service && !this.changed) return;
    this.service = service;
    this.changed = false;
    const own = this.lines.filter((line) => line.service === service);
    const shown = own.filter((line) => !this.filter || line.group === this.filter);
    this.#showSteadily(shown);
    byId("timeline-none").hidden = shown.length > 0;
    this.mark(own.filter((line) => line.group === "plan"));
  }

  /** New lines do not push away what somebody reads: the list is moved with them, and then scrolled to the top
   * if it was there. */
  #showSteadily(lines) {
    const scroller = byId("timeline").parentElement;
    const before = scroller.scrollHeight;
    const top = scroller.scrollTop;
    this.list.show(lines);
    const grown = scroller.scrollHeight - before;
    if (grown <= 0 || before <= scroller.clientHeight) return;
    scroller.scrollTop = top + grown;
    if (top > 4) return;
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    requestAnimationFrame(() => scroller.scrollTo({ top: 0, behavior: still ? "instant" : "smooth" }));
  }

  #item(line) {
    const who = el("span", { class: "who" });
    const item = el("li", { "data-group": line.group },
      el("time", { datetime: new Date(line.atMs).toISOString() }, clock(line.atMs)),
      el("div", {}, el("span", { class: "kind" }, line.kind), who, el("p", { class: "why" }, line.text)));
    item.names = who;
    item.addEventListener("pointerenter", () => this.point(line.atMs));
    item.addEventListener("pointerleave", () => this.point(null));
    return item;
  }
}

function showNames(item, line) {
  const names = [...new Set(line.names)];
  const text = names.length > 4 ? `${names.slice(0, 4).join(", ")} and ${names.length - 4} others` : names.join(", ");
  setText(item.names, text);
}
