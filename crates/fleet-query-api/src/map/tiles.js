// Pictures below the vehicles, if the operator has set a URL of tiles.

const SIZE = 256;
const MOST = 400;
const MOST_ZOOM = 19;

export class Tiles {
  constructor(url, changed) {
    this.url = url;
    this.changed = changed;
    this.pictures = new Map();
  }

  draw(context, view) {
    const zoom = Math.max(0, Math.min(MOST_ZOOM, Math.round(Math.log2(view.scale / SIZE))));
    const count = 2 ** zoom;
    const side = view.scale / count;
    const [west, north] = view.world(0, 0);
    const [east, south] = view.world(view.width, view.height);
    for (let row = Math.max(0, Math.floor(north * count)); row <= Math.min(count - 1, Math.floor(south * count)); row += 1) {
      for (let column = Math.floor(west * count); column <= Math.floor(east * count); column += 1) {
        const picture = this.picture(zoom, ((column % count) + count) % count, row);
        if (!picture.complete || picture.naturalWidth === 0) continue;
        const left = (column / count - view.x) * view.scale + view.width / 2;
        const top = (row / count - view.y) * view.scale + view.height / 2;
        context.drawImage(picture, Math.floor(left), Math.floor(top), Math.ceil(side) + 1, Math.ceil(side) + 1);
      }
    }
  }

  picture(zoom, column, row) {
    const name = `${zoom}/${column}/${row}`;
    let picture = this.pictures.get(name);
    if (picture) {
      // The least recently used one comes first.
      this.pictures.delete(name);
    } else {
      picture = new Image();
      picture.onload = this.changed;
      picture.src = this.url.replace("{z}", zoom).replace("{x}", column).replace("{y}", row);
    }
    this.pictures.set(name, picture);
    if (this.pictures.size > MOST) this.pictures.delete(this.pictures.keys().next().value);
    return picture;
  }
}
