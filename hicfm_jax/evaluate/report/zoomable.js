// Zooms and moves all maps of one chromosome together. Lengths are in kb.
for (const group of document.querySelectorAll(".linked")) {
  const maps = [...group.querySelectorAll("svg")];
  const crosses = maps.map((map) => {
    const cross = document.createElementNS(map.namespaceURI, "path");
    cross.setAttribute("class", "cross");
    return map.appendChild(cross);
  });
  const output = group.querySelector("output");
  const [start, length, bin] = ["start", "length", "bin"].map((name) => Number(group.dataset[name]));
  const touches = new Map();
  let [x, y, side] = [0, 0, length];

  const clamp = (value, low, high) => Math.max(low, Math.min(value, high));
  const mb = (kb, digits = bin < 10 ? 3 : 2) => (kb / 1000).toFixed(digits);

  function show() {
    [x, y] = [clamp(x, 0, length - side), clamp(y, 0, length - side)];
    for (const map of maps) map.setAttribute("viewBox", `${x} ${y} ${side} ${side}`);
    for (const [name, kb] of Object.entries({ left: x, right: x + side, top: y, bottom: y + side })) {
      for (const label of group.querySelectorAll(`.${name}`)) label.textContent = mb(start + kb);
    }
    group.classList.toggle("zoomed", side < length);
  }

  function zoom(factor, [column, row] = [x + side / 2, y + side / 2]) {
    const before = side;
    side = clamp(side * factor, Math.min(10 * bin, length), length);
    [x, y] = [column - ((column - x) * side) / before, row - ((row - y) * side) / before];
    show();
  }

  function move(right, down) {
    [x, y] = [x + right * side, y + down * side];
    show();
  }

  function place(event) {
    const box = event.currentTarget.getBoundingClientRect();
    const [right, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    return [x + right * side, y + down * side];
  }

  function point(event) {
    const [column, row] = place(event).map((kb) => clamp(kb, 0, length));
    const [one, two] = [row, column].map((kb) => mb(start + kb));
    output.textContent = `${group.dataset.chrom}: ${one} x ${two} Mb, ${mb(Math.abs(column - row))} Mb apart`;
    for (const cross of crosses) cross.setAttribute("d", `M${column} 0V${length}M0 ${row}H${length}`);
  }

  const actions = {
    "+": () => zoom(1 / 2),
    "=": () => zoom(1 / 2),
    "-": () => zoom(2),
    0: () => zoom(Infinity),
    l: () => group.classList.toggle("large"),
    ArrowLeft: () => move(-0.1, 0),
    ArrowRight: () => move(0.1, 0),
    ArrowUp: () => move(0, -0.1),
    ArrowDown: () => move(0, 0.1),
  };
  group.querySelector(".tools").hidden = false;
  for (const button of group.querySelectorAll("button")) {
    button.addEventListener("click", () => actions[button.dataset.key]());
  }
  group.addEventListener("keydown", (event) => {
    const scrolls = event.key.startsWith("Arrow") && side === length;
    if (scrolls || event.ctrlKey || event.metaKey || event.altKey || !(event.key in actions)) return;
    event.preventDefault();
    actions[event.key]();
  });

  for (const map of maps) {
    map.addEventListener(
      "wheel",
      (event) => {
        // The page scrolls unless these maps were chosen; browsers report a pinch on a touchpad with ctrlKey.
        const chosen = event.ctrlKey || group.contains(document.activeElement);
        if (!chosen || (event.deltaY > 0 && side === length)) return;
        event.preventDefault();
        zoom(Math.exp(event.deltaY * (event.ctrlKey ? 0.01 : 0.002)), place(event));
        point(event);
      },
      { passive: false },
    );
    map.addEventListener("pointerdown", (event) => {
      touches.set(event.pointerId, event);
      map.setPointerCapture(event.pointerId);
      group.focus({ preventScroll: true });
      point(event);
    });
    map.addEventListener("pointermove", (event) => {
      const before = touches.get(event.pointerId);
      if (before) {
        const width = map.clientWidth;
        const other = [...touches.values()].find((touch) => touch.pointerId !== event.pointerId);
        if (other) {
          const apart = (touch) => Math.hypot(touch.clientX - other.clientX, touch.clientY - other.clientY);
          zoom(apart(before) / Math.max(apart(event), 1), place(event));
        } else {
          move((before.clientX - event.clientX) / width, (before.clientY - event.clientY) / width);
        }
        touches.set(event.pointerId, event);
      }
      point(event);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      map.addEventListener(name, (event) => touches.delete(event.pointerId));
    }
  }
}
