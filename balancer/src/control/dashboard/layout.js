// Where the picture of the flows has what: figures in, figures out.

/** Nodes of one side; smaller ones are put together. */
const MOST_CLASSES = 12;
const MOST_INSTANCES = 15;
/** Height of a node's place, so that labels do not touch. */
const PLACE = 21;

/**
 * `flows` with `class`, `instance` and `value`; `lanes` by class. Returns nodes with `y`, `height`, `value`, and
 * ribbons with `from`, `to`, `y0`, `y1`, `width`. All in pixels.
 */
export function layOut(flows, lanes, height) {
  const [left, ofClass] = nodes(flows, "class", MOST_CLASSES, "other classes");
  const [right, ofInstance] = nodes(flows, "instance", MOST_INSTANCES, "other instances");
  for (const node of left) node.lane = lanes.get(node.name) ?? "small";
  left.sort((a, b) => isLarge(a) - isLarge(b) || a.rest - b.rest || compare(a.name, b.name));
  right.sort((a, b) => a.rest - b.rest || compare(a.name, b.name));
  const scale = Math.min(scaleOf(left, height), scaleOf(right, height));
  place(left, scale, height);
  place(right, scale, height);
  return { left, right, ribbons: ribbons(flows, ofClass, ofInstance, left, right, scale) };
}

const isLarge = (node) => Number(node.lane !== "small");
const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

/** The largest by themselves, the rest as one. Returns them, and which one a name belongs to. */
function nodes(flows, side, most, restName) {
  const sums = new Map();
  for (const flow of flows) sums.set(flow[side], (sums.get(flow[side]) ?? 0) + flow.value);
  const sorted = [...sums].sort((a, b) => b[1] - a[1] || compare(a[0], b[0]));
  const alone = sorted.length <= most ? sorted : sorted.slice(0, most - 1);
  const all = alone.map(([name, value]) => ({ key: name, name, value, rest: 0 }));
  const byName = new Map(all.map((node) => [node.name, node]));
  const others = sorted.slice(alone.length);
  if (others.length > 0) {
    const value = others.reduce((sum, [, part]) => sum + part, 0);
    const rest = { key: "\n", name: `${others.length} ${restName}`, value, rest: 1 };
    all.push(rest);
    for (const [name] of others) byName.set(name, rest);
  }
  return [all, byName];
}

/** The most pixels per unit with which all places fit, found by halving. */
function scaleOf(all, height) {
  const total = all.reduce((sum, node) => sum + node.value, 0);
  if (total === 0) return 0;
  let [low, high] = [0, height / total];
  for (let i = 0; i < 24; i += 1) {
    const middle = (low + high) / 2;
    const needed = all.reduce((sum, node) => sum + Math.max(PLACE, node.value * middle + 6), 0);
    if (needed <= height) low = middle;
    else high = middle;
  }
  return low;
}

/** Spreads what is left of the height between the nodes. */
function place(all, scale, height) {
  const places = all.map((node) => Math.max(PLACE, node.value * scale + 6));
  const spare = Math.max(0, height - places.reduce((sum, each) => sum + each, 0));
  const gap = Math.min(spare / (all.length + 1), 40);
  let y = (spare - gap * (all.length - 1)) / 2;
  all.forEach((node, i) => {
    node.height = Math.max(2, node.value * scale);
    node.y = y + (places[i] - node.height) / 2;
    y += places[i] + gap;
  });
}

function ribbons(flows, ofClass, ofInstance, left, right, scale) {
  const sums = new Map();
  for (const flow of flows) {
    const [from, to] = [ofClass.get(flow.class), ofInstance.get(flow.instance)];
    const key = `${from.key}\t${to.key}`;
    const ribbon = sums.get(key) ?? { key, from, to, value: 0 };
    ribbon.value += flow.value;
    sums.set(key, ribbon);
  }
  const used = new Map();
  const stack = (node, width) => {
    const y = node.y + (used.get(node) ?? 0);
    used.set(node, (used.get(node) ?? 0) + width);
    return y;
  };
  const ordered = [...sums.values()].filter((ribbon) => ribbon.value > 0);
  ordered.sort((a, b) => left.indexOf(a.from) - left.indexOf(b.from) || right.indexOf(a.to) - right.indexOf(b.to));
  for (const ribbon of ordered) {
    const width = ribbon.value * scale;
    Object.assign(ribbon, { width, y0: stack(ribbon.from, width), y1: stack(ribbon.to, width) });
  }
  return ordered;
}
