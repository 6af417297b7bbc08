// What is known about the selected vehicle, and its track.

import { STATES, css } from "./colours.js";
import { project } from "./fleet.js";

const ATTRIBUTES = [
  ["Position", (v) => (v.lat === null ? null : `${v.lat.toFixed(5)}, ${v.lon.toFixed(5)}`), "position_at"],
  ["Battery", (v) => unit(v.battery_percent, "%"), "battery_at"],
  ["Range", (v) => unit(v.range_m === null ? null : v.range_m / 1000, "km"), "range_at"],
  ["Speed", (v) => unit(v.speed_kmh, "km/h"), "speed_at"],
  ["Powered on", (v) => flag(v.powered_on), "powered_on_at"],
  ["Locked", (v) => flag(v.locked), "locked_at"],
  ["Charging", (v) => flag(v.charging), "charging_at"],
  ["Online", (v) => flag(v.online), "online_at"],
  ["Driving enabled", (v) => flag(v.driving_enabled), "driving_enabled_at"],
  ["Odometer", (v) => unit(v.odometer_m === null ? null : v.odometer_m / 1000, "km"), "odometer_at"],
  ["Last webhook", () => "", "last_seen_at"],
];

// Longer tracks are cut.
const MOST_POINTS = 20000;

function unit(value, name) {
  return value === null ? null : `${Number(value.toFixed(1)).toLocaleString("en")} ${name}`;
}

function flag(value) {
  return value === null ? null : value ? "yes" : "no";
}

export function ago(time, now = Date.now()) {
  const seconds = Math.max(0, Math.round((now - Date.parse(time)) / 1000));
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export class Details {
  constructor(panel, { token, trackChanged, closed }) {
    Object.assign(this, { panel, token, trackChanged, closed, id: undefined, hours: 3 });
  }

  // Shows a vehicle and fetches its track.
  open(vehicle) {
    this.id = vehicle.data.vehicle_id;
    this.panel.hidden = false;
    this.build(vehicle);
    this.fetchTrack();
  }

  close() {
    if (this.id === undefined) return;
    this.id = undefined;
    this.panel.hidden = true;
    this.trackChanged(undefined);
    this.closed();
  }

  build(vehicle) {
    const close = element("button", { className: "close", type: "button", textContent: "×", onclick: () => this.close() });
    close.setAttribute("aria-label", "Close the details");
    this.state = element("p", { className: "state" });
    this.list = element("dl");
    this.warning = element("p", { className: "warning" });
    this.trackText = element("span");
    const choices = [1, 3, 12, 24].map((hours) => element("option", { value: hours, textContent: `${hours} h`, selected: hours === this.hours }));
    const hours = element("select", { onchange: () => { this.hours = Number(hours.value); this.fetchTrack(); } }, ...choices);
    hours.setAttribute("aria-label", "Length of the track");
    const track = element("p", { className: "track" }, "Track of the last ", hours, this.trackText);
    this.panel.replaceChildren(close, element("h2", { textContent: vehicle.data.provider_vehicle_id }), this.state, this.list, this.warning, track);
    this.update(vehicle);
  }

  update(vehicle) {
    const { data } = vehicle;
    const dot = element("span", { className: "dot" });
    dot.style.background = css(vehicle.state);
    this.state.replaceChildren(dot, `${STATES[vehicle.state].name} · ${data.provider}`);
    const rows = ATTRIBUTES.flatMap(([name, text, at]) => {
      const value = text(data);
      if (value === null) return [];
      const when = data[at] === null ? "" : ago(data[at]);
      return [element("dt", { textContent: name }), element("dd", {}, value, element("small", { textContent: when, title: data[at] ?? "" }))];
    });
    this.list.replaceChildren(...rows);
    this.warning.textContent = data.clock_skewed ? "The clock of this vehicle is wrong: its times may be those of receipt." : "";
    if (this.track && data.lat !== null) {
      const place = project(data.lat, data.lon);
      const last = this.track.at(-1);
      if (!last || last[0] !== place[0] || last[1] !== place[1]) this.track.push(place);
    }
  }

  async fetchTrack() {
    const { id } = this;
    this.track = undefined;
    this.trackChanged(undefined);
    this.trackText.textContent = ": loading";
    const [points, problem] = await this.load(id);
    // Another vehicle may have been selected meanwhile.
    if (this.id !== id) return;
    this.trackText.textContent = problem ?? `: ${points.length.toLocaleString("en")} positions`;
    this.track = points;
    this.trackChanged(points);
  }

  async load(id) {
    const from = new Date(Date.now() - this.hours * 3600 * 1000).toISOString();
    const headers = this.token() ? { Authorization: `Bearer ${this.token()}` } : {};
    // Vehicles' clocks may be ahead.
    const span = { from, to: new Date(Date.now() + 300000).toISOString() };
    const points = [];
    let after = null;
    try {
      do {
        const query = new URLSearchParams(after ? { ...span, after } : span);
        const response = await fetch(`/v1/vehicles/${id}/track?${query}`, { headers });
        if (response.status === 403) return [[], ": the token may not read tracks"];
        if (!response.ok) return [[], ": not available now"];
        const page = await response.json();
        page.points.forEach((point) => points.push(project(point.lat, point.lon)));
        after = page.after;
      } while (after && points.length < MOST_POINTS);
    } catch {
      return [[], ": not available now"];
    }
    return [points, undefined];
  }
}
