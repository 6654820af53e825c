"use strict";
// Everything from the API is shown by textContent: a class name is what a client sent.

const byId = (id) => document.getElementById(id);
const MAX_WORKER_CELLS = 32;
const MAX_EVENTS = 100;

function cell(content, className = "figure") {
  const td = document.createElement("td");
  td.className = className;
  td.append(content);
  return td;
}

function workers(instance) {
  const box = document.createElement("span");
  for (let i = 0; i < Math.min(instance.workers, MAX_WORKER_CELLS); i++) {
    const worker = document.createElement("span");
    worker.className = i < instance.working ? "worker busy" : "worker";
    worker.setAttribute("aria-hidden", "true");
    box.append(worker);
  }
  box.append(` ${instance.working}/${instance.workers}`);
  return box;
}

async function say(instance, word) {
  if (!confirm(`${word} ${instance.name}?`)) return;
  const path = `/v1/instances/${encodeURIComponent(instance.name)}/${word}?service=${encodeURIComponent(instance.service)}`;
  const send = (headers) => fetch(path, { method: "POST", headers });
  let answer = await send({});
  if (answer.status === 401) {
    const token = prompt("Token");
    if (token) answer = await send({ Authorization: `Bearer ${token}` });
  }
  alert(await answer.text());
  refresh();
}

function action(instance) {
  const button = document.createElement("button");
  const word = instance.operator === "ready" ? "drain" : "ready";
  button.textContent = word;
  button.setAttribute("aria-label", `${word} ${instance.name}`);
  button.onclick = () => say(instance, word);
  return button;
}

function role(instance) {
  return instance.slowness > 1 ? `${instance.role}, ${instance.slowness.toFixed(1)} times slower` : instance.role;
}

function instanceRow(instance) {
  const row = document.createElement("tr");
  if (!instance.routed) row.className = "out";
  const report = instance.report_age_ms === null ? "no agent" : `${(instance.report_age_ms / 1000).toFixed(1)} s, ${instance.knowledge}`;
  row.append(
    cell(`${instance.service} / ${instance.name}`, ""),
    cell(role(instance)),
    cell(workers(instance)),
    cell(String(instance.large)),
    cell(String(instance.streaming)),
    cell(report),
    cell(instance.reason, ""),
    cell(action(instance)),
  );
  return row;
}

const ms = (value) => (value === null ? "-" : value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`);
const bytes = (value) => (value === null ? "-" : value < 10240 ? `${value} B` : value < 10485760 ? `${Math.round(value / 1024)} KiB` : `${Math.round(value / 1048576)} MiB`);

function laneCell(view) {
  const td = cell(view.lane);
  td.title = view.goes;
  return td;
}

function classRow(view) {
  const row = document.createElement("tr");
  const seen = view.seen;
  row.append(
    cell(view.class, "class"),
    laneCell(view),
    cell(seen.per_second.toFixed(1)),
    cell(String(seen.errors)),
    cell(ms(seen.held_ms.p50)),
    cell(ms(seen.held_ms.p99)),
    cell(bytes(seen.response_bytes.p50)),
  );
  return row;
}

async function json(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh() {
  try {
    const [instances, classes] = await Promise.all([json("/v1/instances"), json("/v1/classes")]);
    classes.sort((a, b) => b.seen.requests - a.seen.requests);
    byId("instances").replaceChildren(...instances.map(instanceRow));
    byId("classes").replaceChildren(...classes.slice(0, 200).map(classRow));
    const up = instances.filter((instance) => instance.routed).length;
    const rate = classes.reduce((sum, view) => sum + view.seen.per_second, 0);
    byId("health").textContent = `${up} of ${instances.length} instances get requests, ${rate.toFixed(1)} requests/s`;
    document.body.classList.remove("stale");
  } catch (error) {
    byId("health").textContent = `no answer from the balancer (${error.message}); what is shown is old`;
    document.body.classList.add("stale");
  }
}

function showEvent(message) {
  const event = JSON.parse(message.data);
  const item = document.createElement("li");
  item.textContent = `${new Date(event.at_ms).toLocaleTimeString()} ${event.service}/${event.instance}: ${event.kind}: ${event.text}`;
  const list = byId("events");
  list.prepend(item);
  while (list.children.length > MAX_EVENTS) list.lastChild.remove();
}

const stream = new EventSource("/v1/events");
for (const kind of ["instance-registered", "instance-gone", "instance-state", "agent-restarted", "operator", "plan", "instance-slow", "instance-recovered", "class-large", "class-small", "homes", "interference"]) {
  stream.addEventListener(kind, showEvent);
}

byId("explain").onsubmit = async (submit) => {
  submit.preventDefault();
  const answer = await json(`/v1/explain?${new URLSearchParams(new FormData(submit.target))}`);
  byId("explanation").textContent = `${answer.class} of service ${answer.service}: ${answer.predicted_reason}. Lane ${answer.lane_reason}. ${answer.decision}.`;
  byId("candidates").replaceChildren(...answer.candidates.map((candidate) => {
    const item = document.createElement("li");
    item.textContent = `${candidate.instance}: ${candidate.reason}`;
    return item;
  }));
};

refresh();
setInterval(refresh, 1000);
