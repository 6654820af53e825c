// Elements without strings of HTML: what a report or a URL says can not become markup.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

/** An element; attributes that are null or false are left out. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Changes the text only if it is another: what stays is not laid out again, and not read aloud again. */
export function setText(node, text) {
  if (node.shownText !== text) {
    node.shownText = text;
    node.textContent = text;
  }
}

/** The same of an attribute; null removes it. */
export function setAttribute(node, name, value) {
  const shown = (node.shownAttributes ??= {});
  if (shown[name] === value) return;
  shown[name] = value;
  if (value === null) node.removeAttribute(name);
  else node.setAttribute(name, value);
}

/** Items out of sight are brought up to date in turns of this many. */
const TURNS = 10;

/** Children of a container that belong to items with keys: made once, brought up to date, kept in order. */
export class Keyed {
  /**
   * `key(item, place)` says which; `make(item)` gives a node; `update(node, item)` brings it up to date. `scroller`: what it scrolls in; items that
   * are not in sight there are brought up to date when they come into sight, and else only now and then.
   */
  constructor(container, key, make, update, scroller = null) {
    Object.assign(this, { container, key, make, update, nodes: new Map(), turn: 0 });
    if (scroller) this.sight = new IntersectionObserver((seen) => this.#saw(seen), { root: scroller, rootMargin: "200px" });
  }

  show(items) {
    const gone = new Set(this.nodes.keys());
    let place = this.container.firstChild;
    this.turn += 1;
    items.forEach((item, i) => {
      const key = this.key(item, i);
      gone.delete(key);
      const node = this.nodes.get(key) ?? this.#add(key, item);
      node.item = item;
      if (!this.sight || node.inSight !== false || (i + this.turn) % TURNS === 0) this.update(node, item);
      if (node === place) place = place.nextSibling;
      else this.container.insertBefore(node, place);
    });
    for (const key of gone) this.#remove(key);
  }

  #add(key, item) {
    const node = this.make(item);
    this.nodes.set(key, node);
    this.sight?.observe(node);
    return node;
  }

  #remove(key) {
    const node = this.nodes.get(key);
    this.sight?.unobserve(node);
    node.remove();
    this.nodes.delete(key);
  }

  #saw(seen) {
    for (const { target, isIntersecting } of seen) {
      target.inSight = isIntersecting;
      if (isIntersecting) this.update(target, target.item);
    }
  }
}
