// The one connection: /v1/live. Says how old what it brought is, and comes back by itself.

/** Without a word for this long, what is shown is old: two snapshots are missing. */
const STALE_MS = 3_000;
/** Without a word for this long, the connection is given up for a new one. */
const DEAD_MS = 12_000;
const AGAIN_MS = 1_500;

/**
 * `handlers`: snapshot(value), history(value), event(value), and state({ stale, ageMs }) twice a second.
 */
export function connect(handlers) {
  let source = null;
  let opened = 0;
  let heard = null;

  const on = (kind, handle) => source.addEventListener(kind, (message) => {
    heard = performance.now();
    handle(JSON.parse(message.data));
  });

  function open() {
    source?.close();
    opened = performance.now();
    source = new EventSource("/v1/live");
    on("snapshot", handlers.snapshot);
    on("history", handlers.history);
    on("event", handlers.event);
  }

  function watch() {
    const now = performance.now();
    const silence = now - Math.max(heard ?? 0, opened);
    const closed = source.readyState === EventSource.CLOSED && now - opened > AGAIN_MS;
    if (silence > DEAD_MS || closed) open();
    handlers.state({ stale: heard === null || now - heard > STALE_MS, ageMs: heard === null ? null : now - heard });
  }

  open();
  setInterval(watch, 500);
}
