// The table of instances: what each is for and why, and what its workers do.

import { Keyed, byId, el, setAttribute, setText } from "./dom.js";
import { figure, plural, since } from "./format.js";

/** Workers drawn one by one; more are a bar. */
const MOST_CELLS = 16;
/** Streams drawn one by one. */
const MOST_STREAMS = 8;

export class Instances {
  constructor(actions) {
    this.actions = actions;
    const key = (instance) => `${instance.service}/${instance.name}`;
    const rows = byId("instances");
    this.rows = new Keyed(rows, key, (i) => this.#row(i), (row, i) => this.#update(row, i), rows.closest(".scroll"));
  }

  draw({ atMs, instances }) {
    this.atMs = atMs;
    const working = instances.reduce((sum, instance) => sum + held(instance), 0);
    const workers = instances.reduce((sum, instance) => sum + instance.workers, 0);
    setText(byId("instances-about"), `${plural(instances.length, "instance")}, ${working} of ${plural(workers, "worker")} held`);
    this.rows.show(instances);
  }

  #row(instance) {
    const cells = {
      name: el("span", { class: "name clip" }),
      about: el("span", { class: "sub clip" }),
      badges: el("span"),
      reason: el("span", { class: "sub clip2" }),
      cells: el("div", { class: "cells", role: "img" }),
      workers: el("span", { class: "sub clip2" }),
      rate: el("td", { class: "number figure", "data-label": "Requests/s" }),
      queue: el("td", { class: "number figure", "data-label": "Queue" }),
      report: el("td", { class: "number report", "data-label": "Report" }),
      actions: el("div", { class: "actions" }),
    };
    const row = el("tr", {},
      el("th", { scope: "row", class: "plain" }, cells.name, cells.about),
      el("td", {}, cells.badges, cells.reason),
      el("td", {}, cells.cells, cells.workers),
      cells.rate, cells.queue, cells.report,
      el("td", {}, cells.actions));
    row.parts = cells;
    setText(cells.name, instance.name);
    setAttribute(cells.name, "title", instance.name);
    return row;
  }

  #update(row, instance) {
    const cells = row.parts;
    const about = [instance.version_label, instance.address].filter(Boolean).join(" · ");
    setText(cells.about, about);
    setAttribute(cells.about, "title", about);
    showBadges(cells.badges, badges(instance));
    const reason = why(instance, this.atMs);
    setText(cells.reason, reason);
    setAttribute(cells.reason, "title", reason);
    showWorkers(cells.cells, instance);
    setText(cells.workers, workersInWords(instance));
    setAttribute(cells.workers, "title", workersInWords(instance));
    setText(cells.rate, figure(instance.per_second));
    setText(cells.queue, instance.agent ? String(instance.agent.queued) : "–");
    setText(cells.report, report(instance));
    setAttribute(row, "class", instance.report_age_ms !== null && instance.knowledge !== "fresh" ? "late" : null);
    this.#showActions(cells.actions, instance);
  }

  #showActions(cell, instance) {
    if (cell.shownFor === instance.operator) return;
    cell.shownFor = instance.operator;
    const words = instance.operator === "ready" ? ["drain", "maintenance"] : ["ready"];
    const { service, name } = instance;
    const had = cell.contains(document.activeElement);
    cell.replaceChildren(...words.map((word) => {
      const text = word[0].toUpperCase() + word.slice(1);
      const button = el("button", { type: "button", "aria-label": `${text} ${name}` }, text);
      button.addEventListener("click", () => this.actions.ask(word, { service, name }));
      return button;
    }));
    if (had) cell.firstChild.focus();
  }
}

/** Workers that are held: a request that is sent ahead has none yet. */
export const held = ({ working, workers }) => Math.min(working, workers);

/** Kinds and words of what an instance is. */
function badges(instance) {
  const all = [];
  if (instance.operator !== "ready") all.push(["warn", instance.operator === "drain" ? "drained" : instance.operator]);
  else if (!instance.routed) all.push(["warn", instance.state === "ready" ? "out" : instance.state]);
  if (instance.breaker !== "closed") all.push(["bad", instance.breaker === "open" ? "unreachable" : "on trial"]);
  if (instance.slowness > 1) all.push(["warn", `${instance.slowness.toFixed(1)}× slower`]);
  if (instance.dedicated_since_ms !== null) all.push(["dedicated", "dedicated"]);
  else if (instance.routed) all.push(["general", "general"]);
  return all;
}

function showBadges(holder, all) {
  const key = all.join();
  if (holder.shownFor === key) return;
  holder.shownFor = key;
  holder.replaceChildren(...all.map(([kind, text]) => el("span", { class: `badge ${kind}` }, text)));
}

function why(instance, atMs) {
  if (instance.dedicated_since_ms === null) return instance.reason;
  const to = instance.dedicated_to.length > 0 ? `to ${instance.dedicated_to.join(", ")} ` : "";
  return `${to}for ${since(atMs - instance.dedicated_since_ms)}: ${instance.reason}`;
}

function report({ report_age_ms: age, knowledge }) {
  if (age === null) return "no agent";
  const text = age < 9_950 ? `${(age / 1000).toFixed(1)} s` : since(age);
  return knowledge === "fresh" ? text : `${text}, late`;
}

function workersInWords({ working, workers, streaming, foreign, limit }) {
  const parts = [`${Math.min(working, workers)} of ${workers} held`];
  if (working > workers) parts.push(`${working - workers} sent ahead`);
  if (streaming > 0) parts.push(`${streaming} streaming`);
  if (foreign > 0) parts.push(`${foreign} by others`);
  if (limit < workers - foreign) parts.push(`${limit} used`);
  return parts.join(", ");
}

/** What each worker does, the busy ones first. */
function kinds(instance) {
  const { foreign, workers, limit } = instance;
  const working = held(instance);
  const large = Math.min(instance.large, working);
  const unused = Math.max(0, workers - foreign - Math.max(limit, working));
  const counts = [["large", large], ["small", working - large], ["foreign", foreign], ["idle", Math.max(0, workers - working - foreign - unused)], ["unused", unused]];
  return counts.filter(([, count]) => count > 0);
}

function showWorkers(holder, instance) {
  const all = kinds(instance);
  const key = `${all.join()};${instance.streaming}`;
  if (holder.shownFor === key) return;
  holder.shownFor = key;
  holder.setAttribute("aria-label", workersInWords(instance));
  if (instance.workers > MOST_CELLS) {
    holder.replaceChildren(bar(all, instance.workers));
    return;
  }
  const cells = all.flatMap(([kind, count]) => Array.from({ length: count }, () => el("span", { class: `cell ${kind}` })));
  const streams = Array.from({ length: Math.min(instance.streaming, MOST_STREAMS) }, () => el("span", { class: "stream" }));
  holder.replaceChildren(...cells, ...streams);
}

function bar(all, workers) {
  const part = ([kind, count]) => {
    const span = el("span", { class: kind });
    span.style.width = `${(100 * count) / workers}%`;
    return span;
  };
  return el("div", { class: "cells-bar" }, ...all.filter(([kind]) => kind !== "idle").map(part));
}
