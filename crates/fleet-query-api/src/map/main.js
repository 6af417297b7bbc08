// Puts the page together.

import { STATES, css } from "./colours.js";
import { Details } from "./details.js";
import { Drawing } from "./draw.js";
import { Fleet } from "./fleet.js";
import { listen } from "./gestures.js";
import { Stream } from "./stream.js";
import { Tiles } from "./tiles.js";
import { View } from "./view.js";

const TOKEN = "fleet-token";
// What is older is worth a notice, seconds.
const OLD_S = 10;
// A stream that comes back within this time was not away.
const PATIENCE_MS = 1500;
const SETTINGS_RETRY_MS = 1000;

const find = (id) => document.getElementById(id);
const token = () => sessionStorage.getItem(TOKEN);

const fleet = new Fleet();
const view = new View();
const drawing = new Drawing(find("map"), fleet, view);
let settings = {};
let fitted = false;
let connection = "away";
let changedAt = 0;
let readAt;

const details = new Details(find("details"), {
  token,
  trackChanged: (track) => { drawing.track = track; drawing.request(); },
  closed: () => { drawing.selected = undefined; drawing.request(); },
});

function select(id, move) {
  const vehicle = fleet.vehicles.get(id);
  if (!vehicle) return;
  drawing.selected = id;
  details.open(vehicle);
  if (move && vehicle.data.lat !== null) view.show(fleet.x[vehicle.slot], fleet.y[vehicle.slot]);
  drawing.request();
}

function showAll() {
  const bounds = fleet.bounds();
  if (bounds) view.fit(bounds);
  drawing.request();
}

// The counts, the legend and the list of providers. Called a few times a second at most.
function summarise() {
  fleet.judgeAll();
  const total = fleet.vehicles.size;
  find("shown").textContent = fleet.shown.toLocaleString("en");
  find("of").textContent = fleet.shown === total ? "vehicles" : `of ${total.toLocaleString("en")} vehicles`;
  find("map").setAttribute("aria-label", `Map of the fleet: ${fleet.shown} vehicles`);
  fleet.counts.forEach((count, state) => { find(`state-${state}`).textContent = count.toLocaleString("en"); });
  const chosen = find("provider");
  for (const provider of fleet.providers) {
    if (![...chosen.options].some((option) => option.value === provider)) chosen.append(new Option(provider));
  }
  const selected = details.id && fleet.vehicles.get(details.id);
  if (selected) details.update(selected);
  drawing.request();
}

let summary;
function summariseSoon() {
  summary ??= setTimeout(() => { summary = undefined; summarise(); }, 250);
}

function report() {
  if (connection === "away" && readAt !== undefined && Date.now() - changedAt < PATIENCE_MS) return;
  const age = readAt === undefined ? 0 : (Date.now() - readAt) / 1000;
  const pill = find("status");
  const notice = find("notice");
  let text = "";
  if (connection === "denied") text = "The token is not valid for this map.";
  else if (connection !== "live") text = "The connection to the service is lost. Trying again.";
  else if (age > OLD_S) text = `The database is away: positions are those of ${Math.round(age)} s ago.`;
  pill.textContent = connection !== "live" ? "Offline" : age > OLD_S ? "Database away" : "Live";
  pill.className = `pill ${text ? "away" : "live"}`;
  if (readAt === undefined && connection === "away") {
    [pill.textContent, pill.className, text] = ["Connecting", "pill", ""];
  }
  notice.hidden = !text;
  if (notice.textContent !== text) notice.textContent = text;
}

function buildLegend() {
  find("states").append(...STATES.map(({ name }, state) => {
    const item = document.createElement("li");
    const dot = Object.assign(document.createElement("span"), { className: "dot" });
    dot.style.background = css(state);
    const count = Object.assign(document.createElement("b"), { id: `state-${state}`, textContent: "0" });
    item.append(dot, name, count);
    return item;
  }));
}

function readFilters() {
  const flag = (id) => ({ true: true, false: false })[find(id).value];
  const battery = Number(find("battery").value);
  find("battery-value").textContent = battery === 100 ? "any" : `${battery} %`;
  fleet.filter = {
    provider: find("provider").value,
    online: flag("online"),
    locked: flag("locked"),
    charging: flag("charging"),
    battery: battery === 100 ? undefined : battery,
    age: find("age").value ? Number(find("age").value) : undefined,
  };
  summarise();
}

function search() {
  const text = find("search").value.trim();
  const found = text ? fleet.search(text, 8) : [];
  const items = found.map((data) => {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: data.provider_vehicle_id });
    button.append(Object.assign(document.createElement("span"), { className: "provider", textContent: data.provider }));
    button.onclick = () => select(data.vehicle_id, true);
    const item = document.createElement("li");
    item.append(button);
    return item;
  });
  if (text && !items.length) {
    const none = document.createElement("li");
    none.append(Object.assign(document.createElement("p"), { textContent: "No vehicle has this id." }));
    items.push(none);
  }
  find("results").replaceChildren(...items);
}

// Asks for a token, until one is given.
function askForToken(reason) {
  const dialog = find("login");
  if (reason) find("login-reason").textContent = reason;
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      sessionStorage.setItem(TOKEN, find("token").value.trim());
      find("token").value = "";
      resolve();
    }, { once: true });
  });
}

const told = {
  snapshot: (state) => { fleet.begin(); readAt = Date.now() - state.age_s * 1000; },
  vehicle: (data) => fleet.put(data),
  gone: ({ vehicle_id }) => {
    fleet.remove(vehicle_id);
    if (details.id === vehicle_id) details.close();
  },
  heartbeat: (state) => {
    readAt = Date.now() - state.age_s * 1000;
    if (fleet.end().includes(details.id)) details.close();
    if (fitted) return;
    // The first snapshot is complete.
    fitted = true;
    showAll();
  },
  drained: () => {
    connection = "live";
    drawing.request();
    summariseSoon();
    report();
  },
};

async function changedConnection(state) {
  if (connection !== state) changedAt = Date.now();
  connection = state;
  report();
  if (state === "denied") {
    await askForToken(token() ? "The token is not valid, or may not read positions. Enter another one." : undefined);
  }
}

// The service may be restarting when the page is opened.
async function readSettings() {
  for (;;) {
    try {
      const response = await fetch("/map/settings.json");
      if (response.ok) return await response.json();
    } catch {
      // What failed does not matter: only trying again helps.
    }
    report();
    await new Promise((resolve) => setTimeout(resolve, SETTINGS_RETRY_MS));
  }
}

async function start() {
  buildLegend();
  // On a telephone the map needs the room.
  if (window.innerWidth <= 720) find("legend").open = false;
  new ResizeObserver(() => drawing.resize()).observe(find("map"));
  listen(find("map"), view, {
    changed: () => drawing.request(),
    clicked: (left, top, reach) => {
      const vehicle = drawing.pick(left, top, reach);
      if (vehicle) select(vehicle.data.vehicle_id, false);
      else details.close();
    },
    showAll,
    close: () => details.close(),
  });
  for (const id of ["provider", "online", "locked", "charging", "battery", "age"]) find(id).addEventListener("input", readFilters);
  find("search").addEventListener("input", search);
  find("search").addEventListener("keydown", (event) => {
    if (event.key === "Enter") find("results").querySelector("button")?.click();
  });
  find("zoom-in").onclick = () => { view.zoom(1.5); drawing.request(); };
  find("zoom-out").onclick = () => { view.zoom(1 / 1.5); drawing.request(); };
  find("show-all").onclick = showAll;
  setInterval(report, 1000);
  setInterval(summarise, 10000);
  settings = await readSettings();
  if (settings.tile_url) drawing.tiles = new Tiles(settings.tile_url, () => drawing.request());
  find("attribution").textContent = settings.tile_attribution ?? "";
  if (settings.needs_token && !token()) await askForToken();
  await new Stream("/v1/vehicles/stream", token, told, changedConnection).run();
}

// For tests, and for a look at the speed of drawing.
window.fleetMap = { fleet, view, drawing, select };

start();
