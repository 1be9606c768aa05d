"use strict";
// The viewer: two pictures of the same size on one canvas, one left of the divider and one right of it.
// Zoom is in CSS pixels for each pixel of the picture; (x, y) is the point of the picture in the middle of the stage.
{
  const byId = (id) => document.getElementById(id);
  const { pictures, images } = JSON.parse(byId("showcase").textContent);
  const stage = byId("stage");
  const canvas = byId("canvas");
  const divider = byId("divider");
  const context = canvas.getContext("2d", { alpha: false });
  const STEPS = [1 / 16, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32];

  const state = { picture: 0, target: 0, left: 0, right: 0, split: 0.5, zoom: 1, x: 0, y: 0, fits: true };
  const shown = { left: null, right: null }; // what is drawn: decoded images
  let loading = 0;

  const picture = () => pictures[state.picture];
  const sides = () => picture().targets[state.target].sides;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ------------------------------------------------------------------------------------------------ drawing

  let waiting = false;
  function redraw() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  function draw() {
    const ratio = window.devicePixelRatio;
    const width = Math.round(stage.clientWidth * ratio);
    const height = Math.round(stage.clientHeight * ratio);
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
      // The stage may end between two pixels of the screen; stretched to it, the pictures would be blurred.
      canvas.style.width = `${width / ratio}px`;
      canvas.style.height = `${height / ratio}px`;
    }
    // Whole device pixels, so that at 100 % each pixel of the picture is exactly one of the screen.
    const scale = state.zoom * ratio;
    const left = Math.round(width / 2 - state.x * scale);
    const top = Math.round(height / 2 - state.y * scale);
    const edge = Math.round(state.split * width);
    context.fillStyle = getComputedStyle(stage).backgroundColor;
    context.fillRect(0, 0, width, height);
    context.imageSmoothingEnabled = state.zoom < 1;
    context.imageSmoothingQuality = "high";
    for (const [image, from, to] of [[shown.left, 0, edge], [shown.right, edge, width]]) {
      if (!image) continue;
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, height);
      context.clip();
      context.drawImage(image, left, top, Math.round(picture().width * scale), Math.round(picture().height * scale));
      context.restore();
    }
    divider.style.left = `${edge / ratio}px`;
    const percent = Math.round(100 * state.split);
    divider.setAttribute("aria-valuenow", percent);
    divider.setAttribute("aria-valuetext", `${percent} % ${byId("left-tag").textContent}`);
    byId("zoom").textContent = `${+(100 * state.zoom).toPrecision(3)} %`;
    stage.classList.toggle("movable", movable());
  }

  // --------------------------------------------------------------------------------------------------- view

  const fitting = () => Math.min(1, stage.clientWidth / picture().width, stage.clientHeight / picture().height);
  const movable = () =>
    picture().width * state.zoom > stage.clientWidth + 0.5 || picture().height * state.zoom > stage.clientHeight + 0.5;

  function settle() {
    // What is larger than the stage covers it, what is smaller is centred.
    for (const [axis, size, room] of [
      ["x", picture().width, stage.clientWidth],
      ["y", picture().height, stage.clientHeight],
    ]) {
      const half = room / 2 / state.zoom;
      state[axis] = size > 2 * half ? clamp(state[axis], half, size - half) : size / 2;
    }
    redraw();
  }

  function fit() {
    state.zoom = fitting();
    state.fits = true;
    settle();
  }

  // Zoom so that what is at one point of the stage (in CSS pixels from its corner) comes to be at another, or stays.
  function zoomTo(zoom, to = { x: stage.clientWidth / 2, y: stage.clientHeight / 2 }, from = to) {
    const wanted = clamp(zoom, Math.min(STEPS[0], fitting()), STEPS.at(-1));
    const [halfWidth, halfHeight] = [stage.clientWidth / 2, stage.clientHeight / 2];
    state.x += (from.x - halfWidth) / state.zoom - (to.x - halfWidth) / wanted;
    state.y += (from.y - halfHeight) / state.zoom - (to.y - halfHeight) / wanted;
    state.zoom = wanted;
    state.fits = false;
    settle();
  }

  // To the next step, up for 1 and down for -1. (Zooms that fit the stage lie between steps.)
  function zoomBy(direction, point) {
    const next =
      direction > 0
        ? STEPS.find((step) => step > state.zoom * 1.001)
        : STEPS.findLast((step) => step < state.zoom * 0.999);
    if (next) zoomTo(next, point);
  }

  function move(dx, dy) {
    state.x -= dx / state.zoom;
    state.y -= dy / state.zoom;
    settle();
  }

  function splitAt(part) {
    state.split = clamp(part, 0, 1);
    redraw();
  }

  // ------------------------------------------------------------------------------------------------ choices

  const decoded = new Map();
  function load(index) {
    if (!decoded.has(index)) {
      const image = new Image();
      image.src = images[index];
      decoded.set(index, image.decode().then(() => image));
    }
    return decoded.get(index);
  }

  async function show() {
    const turn = ++loading;
    stage.setAttribute("aria-busy", "true");
    const [left, right] = [sides()[state.left], sides()[state.right]];
    const [one, other] = await Promise.all([load(left.image), load(right.image)]);
    if (turn !== loading) return; // something else was chosen meanwhile
    shown.left = one;
    shown.right = other;
    for (const [name, side] of [["left", left], ["right", right]]) {
      byId(`${name}-tag`).textContent = side.label;
      const caption = byId(`${name}-caption`);
      caption.querySelector("h3").textContent = side.label;
      for (const field of caption.querySelectorAll("[data-field]")) {
        field.textContent = side[field.dataset.field];
        field.parentElement.hidden = side[field.dataset.field] === "";
      }
    }
    draw();
    stage.setAttribute("aria-busy", "false");
  }

  function option(text, value) {
    const element = document.createElement("option");
    element.textContent = text;
    element.value = value;
    return element;
  }

  function choosePicture(index) {
    state.picture = index;
    state.target = Math.min(state.target, picture().targets.length - 1);
    stage.style.aspectRatio = `${picture().width} / ${picture().height}`;
    stage.style.setProperty("--height", `${picture().height}px`);
    byId("targets").replaceChildren(
      ...picture().targets.map((target, i) => {
        const label = document.createElement("label");
        const input = document.createElement("input");
        const text = document.createElement("span");
        input.type = "radio";
        input.name = "target";
        input.value = i;
        input.checked = i === state.target;
        input.addEventListener("change", () => chooseTarget(i));
        text.textContent = target.label;
        label.append(input, text);
        return label;
      }),
    );
    chooseTarget(state.target);
    fit();
  }

  // Codecs are kept by name: one may lack a file of this picture or size.
  function chooseTarget(index) {
    const before = { left: byId("left").selectedOptions[0]?.textContent, right: byId("right").selectedOptions[0]?.textContent };
    state.target = index;
    const labels = sides().map((side) => side.label);
    for (const [name, otherwise] of [["left", 1], ["right", 2]]) {
      const at = labels.indexOf(before[name]);
      state[name] = at >= 0 ? at : otherwise < labels.length ? otherwise : 0;
      byId(name).replaceChildren(...labels.map((label, i) => option(label, i)));
      byId(name).value = state[name];
    }
    show();
  }

  function swap() {
    [state.left, state.right] = [state.right, state.left];
    byId("left").value = state.left;
    byId("right").value = state.right;
    show();
  }

  byId("picture").append(...pictures.map((each, i) => option(each.name, i)));
  byId("picture").addEventListener("change", (event) => choosePicture(+event.target.value));
  for (const name of ["left", "right"]) {
    byId(name).addEventListener("change", (event) => {
      state[name] = +event.target.value;
      show();
    });
  }
  byId("swap").addEventListener("click", swap);
  byId("zoom-in").addEventListener("click", () => zoomBy(1));
  byId("zoom-out").addEventListener("click", () => zoomBy(-1));
  byId("zoom-fit").addEventListener("click", fit);
  byId("zoom-one").addEventListener("click", () => zoomTo(1));

  // ----------------------------------------------------------------------------------------------- pointers

  const pointers = new Map(); // those that are down, with their last place on the stage
  let dragging = null; // "split" or "move"

  const place = (event) => {
    const box = stage.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pointers.set(event.pointerId, place(event));
    stage.setPointerCapture(event.pointerId);
    dragging = pointers.size === 1 && (divider.contains(event.target) || !movable()) ? "split" : "move";
    if (dragging === "split" && !divider.contains(event.target) && event.pointerType === "mouse") splitAt(place(event).x / stage.clientWidth);
    stage.classList.toggle("moving", dragging === "move");
    hint(false);
  });

  stage.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = place(event);
    pointers.set(event.pointerId, now);
    if (dragging === "split") {
      splitAt(now.x / stage.clientWidth);
    } else if (pointers.size === 1) {
      move(now.x - before.x, now.y - before.y);
    } else if (pointers.size === 2) {
      const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
      const apart = (at) => Math.max(Math.hypot(at.x - other.x, at.y - other.y), 1);
      const middle = (at) => ({ x: (at.x + other.x) / 2, y: (at.y + other.y) / 2 });
      zoomTo((state.zoom * apart(now)) / apart(before), middle(now), middle(before));
    }
  });

  const release = (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) {
      dragging = null;
      stage.classList.remove("moving");
    }
  };
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", release);

  // The wheel scrolls the page until the stage has been clicked, so that nobody is caught in it on the way down.
  let hinting;
  function hint(visible) {
    clearTimeout(hinting);
    byId("hint").classList.toggle("shown", visible);
    if (visible) hinting = setTimeout(() => hint(false), 1500);
  }

  let turned = 0; // of the wheel, not yet a whole step
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey && !stage.contains(document.activeElement)) {
      hint(true);
      return;
    }
    event.preventDefault();
    hint(false);
    if (event.ctrlKey && Math.abs(event.deltaY) < 40) { // a pinch on a touchpad
      zoomTo(state.zoom * Math.exp(-event.deltaY / 100), place(event));
      return;
    }
    if (turned * event.deltaY < 0) turned = 0; // it turned back
    turned += event.deltaMode ? 100 * Math.sign(event.deltaY) : event.deltaY;
    if (Math.abs(turned) < 80) return;
    zoomBy(-Math.sign(turned), place(event));
    turned = 0;
  }, { passive: false });

  // ----------------------------------------------------------------------------------------------- keyboard

  divider.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.01;
    const to = {
      ArrowLeft: state.split - step,
      ArrowDown: state.split - step,
      ArrowRight: state.split + step,
      ArrowUp: state.split + step,
      PageDown: state.split - 0.1,
      PageUp: state.split + 0.1,
      Home: 0,
      End: 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    splitAt(to);
  });

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = {
      "+": () => zoomBy(1),
      "=": () => zoomBy(1),
      "-": () => zoomBy(-1),
      0: fit,
      1: () => zoomTo(1),
      s: swap,
      S: swap,
      Escape: () => document.activeElement.blur(),
      ...(movable() && {
        ArrowLeft: () => move(60, 0),
        ArrowRight: () => move(-60, 0),
        ArrowUp: () => move(0, 60),
        ArrowDown: () => move(0, -60),
      }),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // --------------------------------------------------------------------------------------------------- start

  byId("viewer").hidden = false;
  new ResizeObserver(() => (state.fits ? fit() : settle())).observe(stage);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  choosePicture(0);
}
