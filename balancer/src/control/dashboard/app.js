// Puts the page together: one state, one picture of it per frame.

import { Actions } from "./actions.js";
import { Classes } from "./classes.js";
import { byId, el, setAttribute, setText } from "./dom.js";
import { Explain } from "./explain.js";
import { Flow } from "./flow.js";
import { clock, figure, plural, since } from "./format.js";
import { Instances, held } from "./instances.js";
import { Plots } from "./plots.js";
import { connect } from "./stream.js";
import { Timeline } from "./timeline.js";

const state = { snapshot: null, history: {}, service: null };

const actions = new Actions();
const plots = new Plots(byId("plots"));
const flow = new Flow();
const instances = new Instances(actions);
const classes = new Classes();
const timeline = new Timeline((events) => plots.mark(events), (atMs) => plots.point(atMs));
new Explain();

let scheduled = false;

/** Draws before the next frame; not at all in a tab that nobody sees. */
function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(() => {
    scheduled = false;
    draw();
  });
}

function draw() {
  const { snapshot } = state;
  if (!snapshot) return;
  byId("main").hidden = false;
  byId("footer").hidden = false;
  drawHealth(snapshot.health);
  drawServices(snapshot.services.map((service) => service.service));
  const of = (list) => list.filter((item) => item.service === state.service);
  const view = {
    atMs: snapshot.at_ms,
    service: snapshot.services.find((service) => service.service === state.service),
    instances: of(snapshot.instances),
    classes: of(snapshot.classes),
    classesTotal: snapshot.classes_total,
    flows: of(snapshot.flows),
  };
  timeline.draw(state.service); // first: it measures, and nothing is out of place yet
  plots.draw(state.history[state.service], view);
  flow.draw(view);
  instances.draw(view);
  classes.draw(view);
  drawTotals(snapshot);
  setText(byId("version"), snapshot.version);
}

function drawHealth({ level, text }) {
  setAttribute(byId("health"), "data-level", level);
  setText(byId("health-text"), text);
  const title = level === "good" ? "Sluice" : `${level === "bad" ? "✖" : "⚠"} Sluice: ${text}`;
  if (document.title !== title) document.title = title;
}

/** The whole site in figures. Not in the health line, which is read aloud when it changes. */
function drawTotals({ services, instances }) {
  const newest = ({ steps }) => (steps.small.per_second.at(-1) ?? 0) + (steps.large.per_second.at(-1) ?? 0);
  const sum = (list, of) => list.reduce((total, item) => total + of(item), 0);
  const waiting = sum(services, (service) => sum(service.lanes, (lane) => lane.waiting));
  const queue = waiting === 0 ? "none waits" : `${waiting.toLocaleString("en")} wait`;
  const workers = `${sum(instances, held)} of ${plural(sum(instances, (i) => i.workers), "worker")} held`;
  setText(byId("totals"), `${figure(sum(services, newest))} requests/s · ${workers} · ${queue}`);
}

function drawServices(names) {
  if (!names.includes(state.service)) state.service = names.includes("default") ? "default" : names[0];
  byId("service-choice").hidden = names.length < 2;
  const select = byId("service");
  if (select.options.length !== names.length) {
    select.replaceChildren(...names.map((name) => el("option", { selected: name === state.service }, name)));
  }
}

byId("service").addEventListener("change", (change) => {
  state.service = change.target.value;
  schedule();
});

/** Steps that are newer than the last one that is known; what is older than an hour goes. */
function append(history, steps) {
  const last = history.at_ms.at(-1) ?? 0;
  const first = steps.at_ms.findIndex((at) => at > last);
  if (first < 0) return;
  const most = 3_600_000 / steps.step_ms;
  const extend = (own, other) => {
    for (const [name, values] of Object.entries(other)) {
      if (Array.isArray(values)) {
        own[name].push(...values.slice(first));
        own[name].splice(0, own[name].length - most);
      } else if (typeof values === "object") extend(own[name], values);
    }
  };
  extend(history, steps);
}

connect({
  snapshot(snapshot) {
    state.snapshot = snapshot;
    for (const { service, steps } of snapshot.services) {
      if (state.history[service]?.at_ms.length > 0) append(state.history[service], steps);
      else state.history[service] = steps;
    }
    schedule();
  },
  history(history) {
    state.history = history;
    schedule();
  },
  event(event) {
    timeline.add(event);
    schedule();
  },
  state({ stale, ageMs }) {
    document.body.classList.toggle("stale", stale && state.snapshot !== null);
    const at = state.snapshot && clock(state.snapshot.at_ms);
    const text = stale ? (at ? `no word for ${since(ageMs)}, as of ${at}` : "no answer from the balancer yet") : `live, ${at}`;
    setText(byId("connection-text"), text);
  },
});
