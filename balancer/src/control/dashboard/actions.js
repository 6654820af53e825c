// The operator's words: asked for, sent with the token if one is needed, answered.

import { byId, setText } from "./dom.js";

/** Kept for this tab alone: closing it forgets the token. */
const TOKEN = "sluice-token";
const TOAST_MS = 6_000;

const WORDS = {
  drain: { title: "Drain", text: "It finishes what it works on and gets no new requests until you say Ready. Sessions that stay at it go elsewhere." },
  maintenance: { title: "Maintenance", text: "It gets no new requests until you say Ready, and whatever is wrong with it is no alarm." },
  ready: { title: "Ready", text: "It gets requests again, as soon as it is well." },
};

export class Actions {
  constructor() {
    this.dialog = byId("confirm");
    this.asked = null;
    byId("confirm-no").addEventListener("click", () => this.dialog.close());
    byId("confirm-form").addEventListener("submit", (submit) => {
      submit.preventDefault();
      this.#send();
    });
    this.dialog.addEventListener("close", () => (this.asked = null));
  }

  /** Asks whether to say `word` of an instance. */
  ask(word, { service, name }) {
    this.asked = { word, service, name };
    byId("confirm-title").textContent = `${WORDS[word].title} ${name}?`;
    byId("confirm-text").textContent = WORDS[word].text;
    byId("confirm-yes").textContent = WORDS[word].title;
    byId("confirm-problem").textContent = "";
    byId("confirm-token").hidden = true;
    byId("token").value = "";
    this.dialog.showModal();
    byId("confirm-yes").focus();
  }

  async #send() {
    const { word, service, name } = this.asked;
    const typed = byId("token").value;
    if (typed) sessionStorage.setItem(TOKEN, typed);
    const token = sessionStorage.getItem(TOKEN);
    const path = `/v1/instances/${encodeURIComponent(name)}/${word}?${new URLSearchParams({ service })}`;
    byId("confirm-yes").disabled = true;
    try {
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const answer = await fetch(path, { method: "POST", headers });
      this.#answered(answer.status, (await answer.text()).trim());
    } catch (error) {
      byId("confirm-problem").textContent = `The balancer does not answer: ${error.message}`;
    } finally {
      byId("confirm-yes").disabled = false;
    }
  }

  #answered(status, text) {
    if (status === 200) {
      this.dialog.close();
      this.#toast(text);
      return;
    }
    byId("confirm-problem").textContent = text;
    if (status === 401 || (status === 403 && sessionStorage.getItem(TOKEN))) {
      sessionStorage.removeItem(TOKEN);
      byId("confirm-token").hidden = false;
      byId("token").value = "";
      byId("token").focus();
    }
  }

  #toast(text) {
    setText(byId("toast"), text);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => setText(byId("toast"), ""), TOAST_MS);
  }
}
