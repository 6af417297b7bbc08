// All vehicles. What is drawn for every frame stands in typed arrays, one slot a vehicle.

import { ageOf, stateOf } from "./colours.js";

// Web Mercator, from 0 to 1 in both directions.
export function project(lat, lon) {
  const limited = Math.max(-85.051129, Math.min(85.051129, lat));
  const sine = Math.sin((limited * Math.PI) / 180);
  return [lon / 360 + 0.5, 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI)];
}

export class Fleet {
  constructor() {
    this.filter = {};
    this.vehicles = new Map();
    this.slots = [];
    this.free = [];
    this.allocate(1024);
    this.providers = new Set();
    this.shown = 0;
    this.counts = [0, 0, 0, 0, 0];
    // The vehicles that a snapshot has not named yet.
    this.unnamed = undefined;
  }

  // A snapshot begins. What it does not name has gone. Until its end the map shows what was known before.
  begin() {
    this.unnamed = new Set(this.vehicles.keys());
  }

  // The vehicles that have gone, if a snapshot has ended.
  end() {
    const gone = [...(this.unnamed ?? [])];
    gone.forEach((id) => this.remove(id));
    this.unnamed = undefined;
    return gone;
  }

  allocate(capacity) {
    const { x, y, look } = this;
    this.x = new Float64Array(capacity);
    this.y = new Float64Array(capacity);
    // State and age in one number; 255: not drawn.
    this.look = new Uint8Array(capacity).fill(255);
    if (!look) return;
    this.x.set(x);
    this.y.set(y);
    this.look.set(look);
  }

  put(data) {
    this.unnamed?.delete(data.vehicle_id);
    let vehicle = this.vehicles.get(data.vehicle_id);
    if (!vehicle) {
      const slot = this.free.length ? this.free.pop() : this.slots.length;
      vehicle = { slot };
      this.vehicles.set(data.vehicle_id, vehicle);
      this.slots[slot] = vehicle;
      if (slot >= this.x.length) this.allocate(this.x.length * 2);
      this.providers.add(data.provider);
    }
    vehicle.data = data;
    vehicle.positionAt = data.position_at === null ? NaN : Date.parse(data.position_at);
    vehicle.state = stateOf(data);
    if (data.lat !== null) [this.x[vehicle.slot], this.y[vehicle.slot]] = project(data.lat, data.lon);
    this.judge(vehicle.slot, Date.now());
    return vehicle;
  }

  remove(id) {
    const vehicle = this.vehicles.get(id);
    if (!vehicle) return;
    this.vehicles.delete(id);
    this.look[vehicle.slot] = 255;
    this.slots[vehicle.slot] = undefined;
    this.free.push(vehicle.slot);
  }

  // Whether and how a vehicle is drawn.
  judge(slot, now) {
    const vehicle = this.slots[slot];
    const isDrawn = vehicle && vehicle.data.lat !== null && this.matches(vehicle, now);
    this.look[slot] = isDrawn ? vehicle.state * 3 + ageOf(vehicle.positionAt, now) : 255;
  }

  // Judges all vehicles again, because of another filter or because time has passed.
  judgeAll() {
    const now = Date.now();
    this.counts.fill(0);
    this.shown = 0;
    for (const vehicle of this.vehicles.values()) {
      this.judge(vehicle.slot, now);
      if (!this.matches(vehicle, now)) continue;
      this.shown += 1;
      this.counts[vehicle.state] += 1;
    }
  }

  matches({ data, positionAt }, now) {
    const { provider, online, locked, charging, battery, age } = this.filter;
    return (!provider || data.provider === provider)
      && (online === undefined || data.online === online)
      && (locked === undefined || data.locked === locked)
      && (charging === undefined || data.charging === charging)
      && (battery === undefined || (data.battery_percent !== null && data.battery_percent <= battery))
      && (age === undefined || now - positionAt <= age * 1000);
  }

  // Vehicles whose id contains the text, those that begin with it first.
  search(text, most) {
    const wanted = text.toLowerCase();
    const first = [];
    const rest = [];
    for (const { data } of this.vehicles.values()) {
      const place = data.provider_vehicle_id.toLowerCase().indexOf(wanted);
      if (place === 0) first.push(data);
      else if (place > 0 || data.vehicle_id.startsWith(wanted)) rest.push(data);
      if (first.length >= most) break;
    }
    return first.concat(rest).slice(0, most);
  }

  // The corners of a box around all drawn vehicles, in the projection; undefined without any.
  bounds() {
    let box;
    for (let slot = 0; slot < this.slots.length; slot += 1) {
      if (this.look[slot] === 255) continue;
      const [x, y] = [this.x[slot], this.y[slot]];
      if (!box) box = { west: x, east: x, north: y, south: y };
      box.west = Math.min(box.west, x);
      box.east = Math.max(box.east, x);
      box.north = Math.min(box.north, y);
      box.south = Math.max(box.south, y);
    }
    return box;
  }
}
