// Lays out flows of %(classes)d classes to %(instances)d instances, and throws if the picture is not true.
import("/dashboard/layout.js").then(({ layOut }) => {
  const HEIGHT = 364;
  const check = (is, what) => {
    if (!is) throw new Error(what);
  };
  let seed = 7;
  const chance = () => (seed = (seed * 16807) %% 2147483647) / 2147483647;
  const flows = [];
  for (let c = 0; c < %(classes)d; c += 1) {
    for (let i = 0; i < %(instances)d; i += 1) {
      if (c === i || chance() < 0.5) flows.push({ class: `c${c}`, instance: `i${i}`, value: chance() ** 4 });
    }
  }
  const lanes = new Map(flows.map((flow) => [flow.class, Number(flow.class.slice(1)) %% 3 === 0 ? "large" : "small"]));
  const sum = (list) => list.reduce((total, { value }) => total + value, 0);
  const { left, right, ribbons } = layOut(flows, lanes, HEIGHT);
  for (const [name, list] of [["classes", left], ["instances", right], ["ribbons", ribbons]]) {
    check(Math.abs(sum(list) / sum(flows) - 1) < 1e-9, `${name}: ${sum(list)} of ${sum(flows)}`);
  }
  for (const side of [left, right]) {
    side.forEach((node, at) => {
      check(node.y >= -0.01 && node.y + node.height <= HEIGHT + 0.01, `${node.name} is outside: ${node.y}`);
      check(at === 0 || node.y >= side[at - 1].y + side[at - 1].height, `${node.name} is over ${side[at - 1]?.name}`);
    });
  }
  for (const { from, to, y0, y1, width } of ribbons) {
    for (const [node, y] of [[from, y0], [to, y1]]) check(y >= node.y - 0.01 && y + width <= node.y + Math.max(node.height, 2) + 0.01, `a ribbon leaves ${node.name}`);
  }
  check(left.length <= 12 && right.length <= 15, "too many nodes");
})
