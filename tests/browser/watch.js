// Runs before the page's own scripts: notes what moves by itself, and how long frames take.
window.noted = { shifts: [], frames: [], longTasks: [] };
new PerformanceObserver((list) => {
  for (const { value, startTime, hadRecentInput, sources } of list.getEntries()) {
    if (!hadRecentInput) noted.shifts.push({ value, at: startTime, what: sources.map(({ node }) => node?.id || node?.className || node?.nodeName) });
  }
}).observe({ type: "layout-shift", buffered: true });
new PerformanceObserver((list) => noted.longTasks.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: "longtask", buffered: true });
// The largest sum within a session: shifts less than 1 s apart, over at most 5 s (web.dev/cls).
window.layoutShift = () => {
  let [worst, sum, began, last] = [0, 0, 0, -Infinity];
  for (const { value, at } of noted.shifts) {
    if (at - last > 1000 || at - began > 5000) [sum, began] = [0, at];
    sum += value;
    last = at;
    worst = Math.max(worst, sum);
  }
  return worst;
};
window.noteFrames = () => {
  noted.frames = [];
  let last = performance.now();
  const next = (now) => {
    noted.frames.push(now - last);
    last = now;
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
};
