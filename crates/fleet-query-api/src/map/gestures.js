// Mouse, touch and keyboard.

const KEYS = {
  ArrowLeft: (view) => view.pan(80, 0),
  ArrowRight: (view) => view.pan(-80, 0),
  ArrowUp: (view) => view.pan(0, 80),
  ArrowDown: (view) => view.pan(0, -80),
  "+": (view) => view.zoom(1.5),
  "=": (view) => view.zoom(1.5),
  "-": (view) => view.zoom(1 / 1.5),
};

export function listen(canvas, view, { changed, clicked, showAll, close }) {
  const pointers = new Map();
  let moved = 0;

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (pointers.size === 1) moved = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const after = [event.clientX, event.clientY];
    moved += Math.hypot(after[0] - before[0], after[1] - before[1]);
    if (pointers.size === 1) {
      view.pan(after[0] - before[0], after[1] - before[1]);
    } else {
      const other = [...pointers].find(([id]) => id !== event.pointerId)[1];
      pinch(view, before, after, other);
    }
    pointers.set(event.pointerId, after);
    changed();
  });
  const released = (event) => {
    if (!pointers.delete(event.pointerId) || event.type === "pointercancel") return;
    if (pointers.size === 0 && moved < 6) clicked(event.clientX, event.clientY, event.pointerType === "touch" ? 24 : 12);
  };
  canvas.addEventListener("pointerup", released);
  canvas.addEventListener("pointercancel", released);
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 33 : 1;
    view.zoom(2 ** ((-event.deltaY * lines) / 300), event.clientX, event.clientY);
    changed();
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    view.zoom(2, event.clientX, event.clientY);
    changed();
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "0") showAll();
    else if (KEYS[event.key]) KEYS[event.key](view);
    else return;
    event.preventDefault();
    changed();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
}

// Two fingers move and zoom.
function pinch(view, before, after, other) {
  const distance = (point) => Math.max(1, Math.hypot(point[0] - other[0], point[1] - other[1]));
  view.pan((after[0] - before[0]) / 2, (after[1] - before[1]) / 2);
  view.zoom(distance(after) / distance(before), (after[0] + other[0]) / 2, (after[1] + other[1]) / 2);
}
