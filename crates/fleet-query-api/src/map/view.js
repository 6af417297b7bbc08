// Which part of the world the canvas shows.

const LONGEST_ZOOM = 22;

export class View {
  constructor() {
    // The centre in the projection, and the width of the world in pixels.
    this.x = 0.5;
    this.y = 0.35;
    this.scale = 1024;
    this.width = 1;
    this.height = 1;
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.limit();
  }

  // Pixels of a place. Of the copies of the world, the one nearest to the centre counts.
  screen(x, y) {
    let east = x - this.x;
    east -= Math.round(east);
    return [east * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  world(left, top) {
    return [(left - this.width / 2) / this.scale + this.x, (top - this.height / 2) / this.scale + this.y];
  }

  pan(left, top) {
    this.x -= left / this.scale;
    this.y -= top / this.scale;
    this.limit();
  }

  // Zooms around a point of the screen.
  zoom(factor, left = this.width / 2, top = this.height / 2) {
    const [x, y] = this.world(left, top);
    this.scale *= factor;
    this.limit();
    const [newX, newY] = this.world(left, top);
    this.x += x - newX;
    this.y += y - newY;
    this.limit();
  }

  // Shows a box with a margin for the panels.
  fit({ west, east, north, south }) {
    const margin = this.width > 720 ? { left: 300, right: 60, top: 60, bottom: 60 } : { left: 20, right: 20, top: 200, bottom: 60 };
    const width = Math.max(80, this.width - margin.left - margin.right);
    const height = Math.max(80, this.height - margin.top - margin.bottom);
    const most = 256 * 2 ** 16;
    this.scale = Math.min(most, width / Math.max(east - west, 1e-9), height / Math.max(south - north, 1e-9));
    this.x = (west + east) / 2 + (margin.right - margin.left) / 2 / this.scale;
    this.y = (north + south) / 2 + (margin.bottom - margin.top) / 2 / this.scale;
    this.limit();
  }

  // Moves to a place, close enough to see a street.
  show(x, y) {
    this.x = x;
    this.y = y;
    this.scale = Math.max(this.scale, 256 * 2 ** 15);
    this.limit();
  }

  limit() {
    this.scale = Math.max(256, Math.min(256 * 2 ** LONGEST_ZOOM, this.scale));
    this.x -= Math.floor(this.x);
    this.y = Math.max(0, Math.min(1, this.y));
  }
}
