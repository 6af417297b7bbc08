// The stream of changes. `fetch` instead of `EventSource`, which cannot send a token.

// Longer than two heartbeats: the connection is gone, or the service hangs.
const SILENCE_MS = 15000;
const LONGEST_PAUSE_MS = 10000;

export class Stream {
  // `told` has a function for each event; `state` gets "live", "away" or "denied".
  constructor(path, token, told, state) {
    Object.assign(this, { path, token, told, state, lastId: "", retryMs: 1000, failures: 0 });
  }

  async run() {
    for (;;) {
      try {
        await this.read();
      } catch {
        // What failed does not matter: only trying again helps.
      }
      this.failures += 1;
      if (this.denied) {
        this.denied = false;
        await this.state("denied");
        this.failures = 0;
        continue;
      }
      this.state("away");
      const pause = Math.min(LONGEST_PAUSE_MS, this.retryMs * 2 ** Math.min(4, this.failures - 1));
      await new Promise((resolve) => setTimeout(resolve, pause * (0.5 + Math.random() / 2)));
    }
  }

  async read() {
    const abort = new AbortController();
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), SILENCE_MS);
    };
    heard();
    try {
      const headers = { Accept: "text/event-stream" };
      if (this.token()) headers.Authorization = `Bearer ${this.token()}`;
      if (this.lastId) headers["Last-Event-ID"] = this.lastId;
      const response = await fetch(this.path, { headers, signal: abort.signal, cache: "no-store" });
      if (response.status === 401 || response.status === 403) this.denied = true;
      if (!response.ok) return;
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) return;
        heard();
        text += value;
        const end = text.lastIndexOf("\n\n");
        if (end < 0) continue;
        text.slice(0, end).split("\n\n").forEach((block) => this.take(block));
        text = text.slice(end + 2);
        this.told.drained();
      }
    } finally {
      clearTimeout(timer);
    }
  }

  take(block) {
    let event;
    let data;
    for (const line of block.split("\n")) {
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).trimStart();
      if (name === "event") event = value;
      else if (name === "data") data = value;
      else if (name === "id") this.lastId = value;
      else if (name === "retry") this.retryMs = Number(value);
    }
    if (!event || data === undefined) return;
    this.failures = 0;
    this.told[event]?.(JSON.parse(data));
  }
}
