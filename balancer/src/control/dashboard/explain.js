// A request that nobody sends: what would become of it now.

import { byId, el } from "./dom.js";
import { clock, plural } from "./format.js";

export class Explain {
  constructor() {
    byId("explain").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#ask(new FormData(submit.target));
    });
  }

  async #ask(form) {
    const query = new URLSearchParams([...form].filter(([, value]) => value !== ""));
    const path = form.get("path");
    if (!path.startsWith("/")) query.set("path", `/${path}`);
    try {
      const answer = await fetch(`/v1/explain?${query}`);
      if (!answer.ok) throw new Error((await answer.text()).trim());
      byId("explanation").replaceChildren(...told(await answer.json()));
    } catch (error) {
      byId("explanation").replaceChildren(el("p", { class: "problem" }, `No explanation: ${error.message}`));
    }
  }
}

function told(answer) {
  const by = { rule: "named by a rule", learned: "learned", path: "from its path" }[answer.class_by];
  const reason = answer.class_reason ? `: ${answer.class_reason}` : "";
  const facts = [
    ["Class", el("span", {}, el("code", {}, answer.class), ` ${by}${reason}`)],
    ["Cost", answer.predicted_reason],
    ["Lane", answer.lane_reason],
    ["Home", home(answer.homes)],
    ["Rule", treatment(answer.treatment)],
    ["Waiting", answer.queued > 0 ? plural(answer.queued, "request") : null],
  ];
  const list = facts.filter(([, text]) => text).flatMap(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]);
  return [
    el("p", { class: "verdict" }, `${answer.decision[0].toUpperCase()}${answer.decision.slice(1)}.`),
    el("dl", {}, ...list),
    el("ol", { class: "candidates", "aria-label": "Instances, the preferred first" }, ...answer.candidates.map((c) => candidate(c, answer.instance))),
    el("p", { class: "muted" }, `${answer.others > 0 ? `and ${plural(answer.others, "other instance")}; ` : ""}as of ${clock(Date.now())}`),
  ];
}

function candidate({ instance, reason }, picked) {
  return el("li", {}, el("span", { class: instance === picked ? "picked" : null }, instance), el("span", {}, reason));
}

/** "nothing: any instance is as fast" is a sentence of its own elsewhere. */
function home({ instances, reason }) {
  return instances.length > 0 ? `${instances.join(", ")} (worth: ${reason.replace(": ", ", ")})` : null;
}

function treatment({ priority, deadline_ms: deadline, instances, sticky_cookie: cookie, session }) {
  const parts = [
    priority !== 0 && `priority ${priority}`,
    deadline !== null && `not later than ${deadline} ms`,
    instances && `only ${instances.join(", ")}`,
    cookie && `sessions by cookie ${cookie}${session ? `, this one at ${session}` : ""}`,
  ];
  return parts.filter(Boolean).join("; ");
}
