// Draws the map.

import { AGES, STATES } from "./colours.js";

// Up to so many vehicles in view are drawn as circles; more as squares, written into a picture, which is far faster.
const MOST_CIRCLES = 6000;

// More than this many squares are small ones.
const MOST_LARGE_SQUARES = 30000;

const LOOKS = STATES.length * AGES.length;

export class Drawing {
  constructor(canvas, fleet, view) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.fleet = fleet;
    this.view = view;
    this.tiles = undefined;
    this.track = undefined;
    this.selected = undefined;
    this.due = false;
    this.frames = 0;
    this.layer = document.createElement("canvas");
  }

  resize() {
    this.ratio = Math.min(2, window.devicePixelRatio || 1);
    const { clientWidth, clientHeight } = this.canvas;
    this.canvas.width = Math.round(clientWidth * this.ratio);
    this.canvas.height = Math.round(clientHeight * this.ratio);
    this.layer.width = this.canvas.width;
    this.layer.height = this.canvas.height;
    this.view.resize(clientWidth, clientHeight);
    this.circles = circles(this.ratio);
    this.request();
  }

  // Draws before the next frame, however often it is called until then.
  request() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  draw() {
    const { context, view } = this;
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.fillStyle = "#0c121b";
    context.fillRect(0, 0, view.width, view.height);
    if (this.tiles) this.tiles.draw(context, view);
    else drawGrid(context, view);
    this.drawVehicles();
    if (this.track) drawTrack(context, view, this.track);
    this.drawSelected();
    this.frames += 1;
  }

  drawVehicles() {
    const { fleet, view } = this;
    const { x, y, look } = fleet;
    const count = fleet.slots.length;
    const visible = [];
    const margin = 8;
    const right = view.width + margin;
    const bottom = view.height + margin;
    for (let slot = 0; slot < count; slot += 1) {
      if (look[slot] === 255) continue;
      let east = x[slot] - view.x;
      east -= Math.round(east);
      const left = east * view.scale + view.width / 2;
      const top = (y[slot] - view.y) * view.scale + view.height / 2;
      if (left > -margin && left < right && top > -margin && top < bottom) visible.push(look[slot], left, top);
    }
    if (visible.length / 3 <= MOST_CIRCLES) this.drawCircles(visible);
    else this.drawSquares(visible);
  }

  drawCircles(visible) {
    const { context } = this;
    const size = this.view.scale > 256 * 2 ** 12 ? 14 : 10;
    for (let index = 0; index < visible.length; index += 3) {
      context.drawImage(this.circles[visible[index]], visible[index + 1] - size / 2, visible[index + 2] - size / 2, size, size);
    }
  }

  drawSquares(visible) {
    const { width, height } = this.layer;
    const layer = this.layer.getContext("2d");
    const picture = layer.createImageData(width, height);
    const pixels = new Uint32Array(picture.data.buffer);
    const side = Math.round((visible.length / 3 > MOST_LARGE_SQUARES ? 2 : 4) * this.ratio);
    for (let index = 0; index < visible.length; index += 3) {
      const colour = PIXELS[visible[index]];
      const left = Math.round(visible[index + 1] * this.ratio - side / 2);
      const top = Math.round(visible[index + 2] * this.ratio - side / 2);
      for (let row = Math.max(0, top); row < Math.min(height, top + side); row += 1) {
        const start = row * width;
        pixels.fill(colour, start + Math.max(0, left), start + Math.max(0, Math.min(width, left + side)));
      }
    }
    layer.putImageData(picture, 0, 0);
    this.context.drawImage(this.layer, 0, 0, this.view.width, this.view.height);
  }

  drawSelected() {
    const vehicle = this.selected && this.fleet.vehicles.get(this.selected);
    if (!vehicle || vehicle.data.lat === null) return;
    const { context } = this;
    const [left, top] = this.view.screen(this.fleet.x[vehicle.slot], this.fleet.y[vehicle.slot]);
    context.drawImage(this.circles[vehicle.state * AGES.length], left - 8, top - 8, 16, 16);
    context.strokeStyle = "#fff";
    context.lineWidth = 2;
    context.beginPath();
    context.arc(left, top, 11, 0, 2 * Math.PI);
    context.stroke();
  }

  // The vehicle at a point of the screen, or near it.
  pick(left, top, reach) {
    const { fleet, view } = this;
    let best;
    let bestDistance = reach * reach;
    for (let slot = 0; slot < fleet.slots.length; slot += 1) {
      if (fleet.look[slot] === 255) continue;
      const [x, y] = view.screen(fleet.x[slot], fleet.y[slot]);
      const distance = (x - left) ** 2 + (y - top) ** 2;
      if (distance <= bestDistance) {
        best = fleet.slots[slot];
        bestDistance = distance;
      }
    }
    return best;
  }
}

// The colours of squares, as the bytes of a picture.
const PIXELS = Uint32Array.from({ length: LOOKS }, (_, look) => {
  const [red, green, blue] = STATES[Math.floor(look / AGES.length)].colour;
  const alpha = Math.round(AGES[look % AGES.length] * 255);
  return ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0;
});

// A picture of a circle for each look.
function circles(ratio) {
  return Array.from({ length: LOOKS }, (_, look) => {
    const side = Math.round(14 * ratio);
    const canvas = document.createElement("canvas");
    canvas.width = side;
    canvas.height = side;
    const context = canvas.getContext("2d");
    context.globalAlpha = AGES[look % AGES.length];
    context.fillStyle = `rgb(${STATES[Math.floor(look / AGES.length)].colour.join(" ")})`;
    context.strokeStyle = "rgba(8, 12, 20, 0.9)";
    context.lineWidth = side / 10;
    context.beginPath();
    context.arc(side / 2, side / 2, side * 0.38, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
    return canvas;
  });
}

// Lines of latitude and longitude, with their degrees.
function drawGrid(context, view) {
  const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30];
  const wanted = (140 / view.scale) * 360;
  const step = steps.find((candidate) => candidate >= wanted) ?? 30;
  const digits = step < 0.01 ? 3 : step < 0.1 ? 2 : step < 1 ? 1 : 0;
  const lonOf = (x) => (x - 0.5) * 360;
  const latOf = (y) => (Math.atan(Math.sinh(Math.PI * (1 - 2 * y))) * 180) / Math.PI;
  const [west, north] = view.world(0, 0);
  const [east, south] = view.world(view.width, view.height);
  context.strokeStyle = "rgba(130, 155, 190, 0.13)";
  context.fillStyle = "rgba(147, 164, 188, 0.6)";
  context.font = "11px system-ui, sans-serif";
  context.lineWidth = 1;
  context.beginPath();
  for (let lon = Math.ceil(lonOf(west) / step) * step; lon <= lonOf(east); lon += step) {
    const left = Math.round((lon / 360 + 0.5 - view.x) * view.scale + view.width / 2) + 0.5;
    context.moveTo(left, 0);
    context.lineTo(left, view.height);
    const wrapped = ((((lon + 180) % 360) + 360) % 360) - 180;
    context.fillText(`${Math.abs(wrapped).toFixed(digits)}° ${wrapped < 0 ? "W" : "E"}`, left + 4, view.height - 8);
  }
  const top = Math.min(85, latOf(Math.max(0, north)));
  for (let lat = Math.ceil(Math.max(-85, latOf(Math.min(1, south))) / step) * step; lat <= top; lat += step) {
    const sine = Math.sin((lat * Math.PI) / 180);
    const y = 0.5 - Math.log((1 + sine) / (1 - sine)) / (4 * Math.PI);
    const height = Math.round((y - view.y) * view.scale + view.height / 2) + 0.5;
    context.moveTo(0, height);
    context.lineTo(view.width, height);
    if (height < view.height - 24) context.fillText(`${Math.abs(lat).toFixed(digits)}° ${lat < 0 ? "S" : "N"}`, view.width - 110, height - 4);
  }
  context.stroke();
}

function drawTrack(context, view, track) {
  context.lineJoin = "round";
  context.lineCap = "round";
  context.beginPath();
  track.forEach(([x, y], index) => {
    const [left, top] = view.screen(x, y);
    if (index === 0) context.moveTo(left, top);
    else context.lineTo(left, top);
  });
  context.strokeStyle = "rgba(8, 12, 20, 0.8)";
  context.lineWidth = 6;
  context.stroke();
  context.strokeStyle = "#ffd9f2";
  context.lineWidth = 2.5;
  context.stroke();
}
