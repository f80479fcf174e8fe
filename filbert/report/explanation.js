// Attention by layer and head: choose one, point at a token, see where it looks. Texts go into the page as text only.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("attention-data").textContent);
  const { tokens, layers, heads, kept, words } = data;
  const say = (sentence, values) => sentence.replace(/{(\w+)}/g, (whole, name) => String(values[name] ?? whole));
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const index = new Uint16Array(bytes(data.index).buffer), weight = bytes(data.weight);
  const find = (id) => document.getElementById(id);
  const make = (name, text, kind) => {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    if (kind) made.className = kind;
    return made;
  };
  const state = { layer: layers - 1, head: 0, token: Math.max(0, tokens.findIndex((t, i) => i > 0)) };
  const special = (token) => /^\[(CLS|SEP|PAD|MASK)\]$/.test(token);
  const percent = (share) => {
    return say(words.percent, { number: share >= 0.0995 ? Math.round(100 * share) : (100 * share).toFixed(1) });
  };
  // the parts of a sentence, its token set apart as text of any direction
  const around = (sentence, token, values) => {
    const [before, after] = say(sentence, values).split("{token}");
    return [before, make("bdi", token), after];
  };

  // the weights of one token: [token looked at, share], largest first
  const looks = (layer, head, token) => {
    const begin = ((layer * heads + head) * tokens.length + token) * kept;
    const found = [];
    for (let i = begin; i < begin + kept; i++) found.push([index[i], weight[i] / 255]);
    return found;
  };

  const box = find("tokens"), seen = find("seen"), matrix = find("matrix"), grid = find("heads");
  const layerChoice = find("layer"), headChoice = find("head");
  for (let i = 0; i < layers; i++) layerChoice.append(make("option", say(words.numbered, { n: i + 1, all: layers })));
  for (let i = 0; i < heads; i++) headChoice.append(make("option", say(words.numbered, { n: i + 1, all: heads })));

  const buttons = tokens.map((token, i) => {
    const button = make("button", token, special(token) ? "special" : "");
    button.type = "button";
    button.dir = "auto";
    button.addEventListener("mouseenter", () => show(i));
    button.addEventListener("focus", () => show(i));
    button.addEventListener("click", () => { button.focus(); show(i); });
    box.append(button);
    return button;
  });

  const ink = () => {
    const style = getComputedStyle(document.documentElement);
    const probe = make("span");
    probe.style.color = style.getPropertyValue("--second");
    document.body.append(probe);
    const found = getComputedStyle(probe).color.match(/[\d.]+/g).slice(0, 3).map(Number);
    probe.remove();
    return found;
  };

  const draw = (canvas, layer, head, row) => {
    const n = tokens.length, [r, g, b] = ink();
    canvas.width = canvas.height = n;
    const picture = new ImageData(n, n);
    let most = 0;
    for (let i = 0; i < n; i++) most = Math.max(most, looks(layer, head, i)[0][1]);
    for (let i = 0; i < n; i++) {
      for (const [j, share] of looks(layer, head, i)) {
        picture.data.set([r, g, b, Math.round(255 * Math.sqrt(share / (most || 1)))], 4 * (i * n + j));
      }
    }
    const context = canvas.getContext("2d");
    context.putImageData(picture, 0, 0);
    if (row !== undefined) {
      context.globalAlpha = 0.18;
      context.fillStyle = `rgb(${r},${g},${b})`;
      context.fillRect(0, row, n, 1);
    }
  };

  const show = (token) => {
    state.token = token;
    const found = looks(state.layer, state.head, token);
    const share = new Map(found);
    buttons.forEach((button, i) => {
      const part = share.get(i) || 0;
      button.style.setProperty("--seen", part > 0.004 ? `${Math.round(6 + 64 * Math.sqrt(part))}%` : "0%");
      button.setAttribute("aria-pressed", String(i === token));
      button.tabIndex = i === token ? 0 : -1;
    });
    const line = make("p", "", "note"), list = make("ol");
    const place = { layer: state.layer + 1, head: state.head + 1, n: token + 1 };
    line.append(...around(words.looks, tokens[token], place));
    for (const [other, part] of found.slice(0, 5)) {
      if (part < 0.002) break;
      const item = make("li"), meter = make("meter");
      meter.max = 1;
      meter.value = part;
      item.append(meter, ...around(words.seen, tokens[other], { n: other + 1, share: percent(part) }));
      list.append(item);
    }
    seen.replaceChildren(line, list);
    if (matrix) draw(matrix, state.layer, state.head, token);
  };

  const choose = (layer, head) => {
    state.layer = (layer + layers) % layers;
    state.head = (head + heads) % heads;
    layerChoice.selectedIndex = state.layer;
    headChoice.selectedIndex = state.head;
    cells.forEach((cell, i) => {
      const on = i === state.layer * heads + state.head;
      cell.setAttribute("aria-pressed", String(on));
      cell.tabIndex = on ? 0 : -1;
    });
    show(state.token);
  };

  const cells = [];
  if (grid) {
    grid.style.gridTemplateColumns = `repeat(${heads}, minmax(0, 5rem))`;
    for (let i = 0; i < layers * heads; i++) {
      const cell = make("button");
      const layer = Math.floor(i / heads), head = i % heads;
      cell.type = "button";
      cell.title = say(words.cell, { layer: layer + 1, head: head + 1 });
      cell.setAttribute("aria-label", cell.title);
      cell.append(make("canvas"));
      cell.addEventListener("click", () => choose(layer, head));
      cell.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -heads, ArrowDown: heads }[event.key];
        if (!step) return;
        event.preventDefault();
        const next = (i + step + layers * heads) % (layers * heads);
        choose(Math.floor(next / heads), next % heads);
        cells[next].focus();
      });
      grid.append(cell);
      cells.push(cell);
    }
    grid.closest("details").addEventListener("toggle", paint);
  }
  function paint() {
    if (!grid || !grid.closest("details").open) return;
    cells.forEach((cell, i) => draw(cell.firstChild, Math.floor(i / heads), i % heads));
  }

  box.addEventListener("keydown", (event) => {
    const last = tokens.length - 1;
    const to = { ArrowLeft: state.token - 1, ArrowRight: state.token + 1, Home: 0, End: last }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      buttons[Math.max(0, Math.min(last, to))].focus();
      return;
    }
    const step = { ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [-1, 0], PageDown: [1, 0] }[event.key];
    if (!step) return;
    event.preventDefault();
    choose(state.layer + step[0], state.head + step[1]);
  });
  layerChoice.addEventListener("change", () => choose(layerChoice.selectedIndex, state.head));
  headChoice.addEventListener("change", () => choose(state.layer, headChoice.selectedIndex));
  if (matrix) {
    const at = (event) => {
      const place = matrix.getBoundingClientRect();
      const row = Math.floor(((event.clientY - place.top) / place.height) * tokens.length);
      return Math.max(0, Math.min(tokens.length - 1, row));
    };
    matrix.addEventListener("mousemove", (event) => show(at(event)));
    matrix.addEventListener("click", (event) => buttons[at(event)].focus());
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { show(state.token); paint(); });
  choose(state.layer, state.head);
})();
