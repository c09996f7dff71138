"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const cells = data.cells;
  const grid = byId("grid");
  const form = byId("filters");
  const sheet = byId("sheet");
  const SVG = "http://www.w3.org/2000/svg";
  const SELECTS = ["family", "model", "backend", "precision", "shape"];
  const CHANGES = {
    "newly-failing": "newly failing", "newly-passing": "newly passing",
    "still-failing": "still failing", "missing": "no longer run", "new": "new",
  };
  const LOOKS = {
    "crash": "bad", "timeout": "bad", "failed": "bad", "mismatch": "bad", "xpass": "warn",
    "missing": "warn", "xfail": "declared", "pass": "good",
  };
  const look = (kind) => LOOKS[kind] || "none";
  const pooled = (index) => (index === undefined ? undefined : data.pool[index]);

  // Everything is made of nodes and text; no string is ever parsed as HTML.
  function make(tag, attributes, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
    for (const child of children) if (child !== null) node.append(child);
    return node;
  }
  function draw(tag, attributes, ...children) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }
  const icon = (kind) => draw("svg", { class: "i", "aria-hidden": "true" }, draw("use", { href: "#i-" + kind }));

  // ---------------------------------------------------------------- state and filters
  const FLAGS = ["changed", "lone", "split", "idle"];
  const state = { q: "", outcome: new Set(), changed: false, lone: false, split: false, idle: false, cell: "" };
  for (const name of SELECTS) state[name] = "";

  function readHash() {
    const hash = new URLSearchParams(location.hash.slice(1));
    state.q = hash.get("q") || "";
    for (const name of SELECTS) state[name] = hash.get(name) || "";
    state.outcome = new Set((hash.get("outcome") || "").split(",").filter(Boolean));
    for (const name of FLAGS) state[name] = hash.has(name);
    state.cell = hash.get("cell") || "";
  }
  function hashOf(cell) {
    const hash = new URLSearchParams();
    if (state.q) hash.set("q", state.q);
    for (const name of SELECTS) if (state[name]) hash.set(name, state[name]);
    if (state.outcome.size) hash.set("outcome", [...state.outcome].sort().join(","));
    for (const name of FLAGS) if (state[name]) hash.set(name, "1");
    if (cell) hash.set("cell", cell);
    return "#" + hash.toString();
  }
  function showControls() {
    form.elements.q.value = state.q;
    for (const name of SELECTS) form.elements[name].value = state[name];
    for (const name of FLAGS) if (form.elements[name]) form.elements[name].checked = state[name];
    for (const tile of document.querySelectorAll(".tile")) {
      tile.setAttribute("aria-pressed", String(state.outcome.has(tile.dataset.outcome)));
    }
  }

  const haystacks = cells.map((cell) =>
    [cell.id, cell.family, cell.flow, cell.words, cell.code, cell.reason].filter(Boolean).join("\n").toLowerCase());
  function fits(cell, index, words) {
    return SELECTS.every((name) => !state[name] || cell[name] === state[name])
      && (!state.outcome.size || state.outcome.has(cell.kind))
      && (!state.changed || Boolean(cell.change)) && (!state.lone || Boolean(cell.lone))
      && (!state.split || Boolean(cell.split))
      && (!cell.idle || state.idle || state.outcome.has("not-selected"))
      && words.every((word) => haystacks[index].includes(word));
  }

  const buttons = [];
  const rows = grid ? [...grid.tBodies[0].rows].filter((row) => !row.classList.contains("family")) : [];
  // In a large matrix the rows of a family follow a heading, whose button folds them.
  const headings = grid ? [...grid.querySelectorAll("tr.family")] : [];
  const heading = (row) => {
    while (row && !row.classList.contains("family")) row = row.previousElementSibling;
    return row;
  };
  const familyOf = new Map(headings.length ? rows.map((row) => [row, heading(row)]) : []);
  const fails = (row) => [...row.querySelectorAll(".c")].some((button) => cells[Number(button.dataset.i)].failed);
  const isOpen = (head) => head.querySelector("button").getAttribute("aria-expanded") === "true";
  const places = rows.map((row) => [...row.cells].slice(1).map((td) => [...td.children]));
  places.flat(2).forEach((button) => {
    const cell = cells[Number(button.dataset.i)];
    buttons[Number(button.dataset.i)] = button;
    const words = [cell.model, cell.flow, cell.words, cell.change && CHANGES[cell.change]];
    const facts = (cell.facts || []).slice(0, 2).map((fact) => fact.join(" "));
    button.setAttribute("aria-label", [...words, ...facts].filter(Boolean).join(", "));
  });
  let visible = [];

  function apply() {
    if (!grid) return;
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const fitting = cells.map((cell, index) => fits(cell, index, words));
    const all = fitting.every(Boolean);
    if (all && visible.length === cells.length) return;
    visible = cells.map((_, index) => index).filter((index) => fitting[index]);
    const nothingYet = all && !byId("shown").textContent;
    byId("shown").textContent = all ? cells.length + " cells" : visible.length + " of " + cells.length + " cells";
    if (!nothingYet) showOnly(fitting, all);
    fold();
    const reachable = (index) => buttons[index] && !buttons[index].closest("tr").hidden;
    roveTo(visible.includes(roving) && reachable(roving) ? roving : visible.find(reachable), false);
  }
  // A folded family shows the models that fail, and what a filter finds.
  function fold() {
    const filtered = Boolean(state.q || state.outcome.size || [...SELECTS, ...FLAGS].some((name) => state[name]));
    const found = new Set();
    for (const [row, head] of familyOf) {
      if (row.dataset.folded) {
        delete row.dataset.folded;
        row.hidden = false;
      }
      if (row.hidden) continue;
      found.add(head);
      if (filtered || isOpen(head) || fails(row)) continue;
      row.dataset.folded = "1";
      row.hidden = true;
    }
    const columns = rows.length ? [...rows[0].cells].filter((td) => !td.hidden).length : 1;
    for (const head of headings) {
      head.hidden = !found.has(head);
      head.firstElementChild.colSpan = columns;
    }
  }
  function showOnly(fitting, all) {
    buttons.forEach((button, index) => { button.hidden = !fitting[index]; });
    const shows = (place) => place.some((button) => !button.hidden);
    const columns = places.length ? places[0].map((_, column) => all || places.some((row) => shows(row[column]))) : [];
    rows.forEach((row, index) => {
      delete row.dataset.folded;
      row.hidden = !all && !places[index].some(shows);
      columns.forEach((shown, column) => { row.cells[column + 1].hidden = !shown; });
    });
    showHeads(columns);
    byId("empty").hidden = visible.length > 0;
    grid.hidden = visible.length === 0;
  }
  const spans = grid ? [...grid.tHead.rows[0].cells].slice(1).map((th) => th.colSpan) : [];
  function showHeads(columns) {
    const [groups, names] = grid.tHead.rows;
    columns.forEach((shown, column) => { names.cells[column].hidden = !shown; });
    let start = 0;
    spans.forEach((span, group) => {
      const count = columns.slice(start, start + span).filter(Boolean).length;
      groups.cells[group + 1].hidden = count === 0;
      groups.cells[group + 1].colSpan = Math.max(count, 1);
      start += span;
    });
  }
  function changed() {
    history.replaceState(null, "", hashOf(""));
    apply();
  }

  // ---------------------------------------------------------------- keyboard in the matrix
  let roving = 0;
  function roveTo(index, focus) {
    if (buttons[roving]) buttons[roving].tabIndex = -1;
    if (index === undefined || !buttons[index]) return;
    roving = index;
    buttons[index].tabIndex = 0;
    if (focus) buttons[index].focus();
  }
  const MOVES = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  function positionOf(button) {
    const row = rows.indexOf(button.closest("tr"));
    return [row, places[row].findIndex((place) => place.includes(button))];
  }
  function moveFrom(button, [down, right]) {
    let [row, column] = positionOf(button);
    const siblings = places[row][column];
    const sibling = siblings[siblings.indexOf(button) + down];
    if (sibling && !sibling.hidden) return sibling;
    for (;;) {
      row += down;
      column += right;
      const place = (places[row] || [])[column];
      if (!place) return null;
      const found = place.filter((other) => !other.hidden && !rows[row].hidden);
      if (found.length) return down < 0 ? found[found.length - 1] : found[0];
    }
  }
  function edgeOf(button, last) {
    const shown = places[positionOf(button)[0]].flat().filter((other) => !other.hidden);
    return shown[last ? shown.length - 1 : 0];
  }

  // ---------------------------------------------------------------- the page of one cell
  const section = (title, ...content) => make("section", {}, make("h3", {}, title), ...content);
  function pairs(rowsOfPairs) {
    const list = make("dl", { class: "pairs" });
    for (const [name, value] of rowsOfPairs) list.append(make("dt", {}, name), make("dd", {}, value));
    return list;
  }
  function table(head, body, full = true) {
    const top = make("tr", {});
    for (const [text, kind, hidden] of head) {
      top.append(make("th", { scope: "col", class: kind }, hidden ? make("span", { class: "sr" }, text) : text));
    }
    const all = make("tbody", {});
    for (const line of body) {
      const row = make("tr", {});
      line.forEach((value, column) => {
        const first = column === 0;
        row.append(make(first ? "th" : "td", first ? { scope: "row" } : { class: head[column][1] }, value));
      });
      all.append(row);
    }
    const holder = make("table", { class: full ? "data full" : "data" }, make("thead", {}, top), all);
    return make("div", { class: "wide", tabindex: "0", role: "group", "aria-label": head[0][0] }, holder);
  }

  function stages(cell) {
    const done = cell.done || [];
    const longest = Math.max(...done.map((stage) => stage[1]), 0.001);
    const body = done.map(([name, seconds, text, outcome, words, code, message]) => {
      const kind = LOOKS[outcome] ? outcome : "not-selected";
      const what = make("span", { class: "stage " + look(outcome) }, icon(kind), " " + (words || outcome));
      const width = Math.max(1, 100 * seconds / longest).toFixed(1);
      const strip = make("div", { class: "strip " + (look(outcome) === "bad" ? "bad" : ""), style: "width:" + width + "%" });
      return [data.stages[name], what, text, strip, [code, message].filter(Boolean).join(": ")];
    });
    return section("Stages", table([["stage", ""], ["outcome", ""], ["time", "num"], ["share of the longest", "graph", true], ["note", "any", true]], body));
  }

  function outputs(cell) {
    const all = cell.outputs;
    const head = [["output", ""], ...all.map((output) => [output.name, "num"])];
    const measured = data.labels.map((label, row) => [label, ...all.map((output) => output.rows[row])])
      .filter((line) => line.slice(1).some((value) => value && value !== "–"));
    const part = section("Outputs against PyTorch in float64", table(head, measured, false));
    const drawn = all.filter((output) => output.counts).map(histogram);
    if (drawn.length) part.append(make("div", { class: "two" }, ...drawn));
    return part;
  }

  function histogram(output) {
    const edges = pooled(output.edges);
    const [left, right, bottom, top] = [8, 392, 130, 26];
    const used = output.counts.flatMap((count, bin) => (count ? [edges[bin], edges[bin + 1]] : []));
    const values = [...used, ...output.lines.map((line) => line[1])];
    if (!values.length) values.push(edges[0], edges[edges.length - 1]);
    const [low, high] = [Math.floor(Math.min(...values)), Math.ceil(Math.max(...values))];
    const x = (value) => left + (right - left) * (value - low) / (high - low || 1);
    const largest = Math.max(...output.counts, 1);
    const limits = output.lines.map(([name, at]) => name + " 1e" + at.toFixed(1)).join(", ");
    const svg = draw("svg", { viewBox: "0 0 400 160", role: "img", "aria-label": "Histogram of the errors of " + output.name + "; " + limits });
    output.counts.forEach((count, bin) => {
      if (!count) return;
      // Square root: a single element far out is what one looks for, and would be invisible.
      const height = Math.max(1, (bottom - top) * Math.sqrt(count / largest));
      const width = Math.max(1, x(edges[bin + 1]) - x(edges[bin]) - 1);
      svg.append(draw("rect", { class: "fill", x: x(edges[bin]), y: bottom - height, width: width, height: height }));
    });
    svg.append(draw("path", { class: "axis", d: "M" + left + " " + bottom + "H" + right }));
    const step = Math.max(1, Math.ceil((high - low) / 7));
    for (let power = low; power <= high; power += step) {
      svg.append(draw("text", { x: x(power), y: bottom + 15, "text-anchor": power === low ? "start" : power === high ? "end" : "middle" }, "1e" + power));
    }
    output.lines.forEach(([name, at], order) => {
      const y = 10 + 12 * order;
      const leftmost = output.lines.every((line) => line[1] >= at);
      const end = x(at) > 280 || (leftmost && output.lines.length > 1 && x(at) > 110);
      svg.append(draw("path", { class: order ? "own" : "limit", d: "M" + x(at) + " " + (y + 3) + "V" + bottom }));
      svg.append(draw("text", { x: x(at) + (end ? -3 : 3), y: y, "text-anchor": end ? "end" : "start" }, name));
    });
    const caption = make("figcaption", { class: "muted" }, output.name + ": absolute error of every element, height by square root of the count");
    return make("figure", { class: "plot" }, svg, caption);
  }

  function command(text) {
    const button = make("button", { type: "button", class: "plain", id: "copy" }, "Copy");
    button.addEventListener("click", () => copy(text, button));
    return section("Run this cell again", make("div", { class: "command" }, make("pre", { tabindex: "0" }, text), button));
  }
  function copy(text, button) {
    const show = (words) => { button.textContent = words; byId("status").textContent = words; };
    const byHand = () => {
      getSelection().selectAllChildren(button.previousElementSibling);
      show(document.execCommand("copy") ? "Copied" : "Selected: press Ctrl+C");
    };
    if (navigator.clipboard) navigator.clipboard.writeText(text).then(() => show("Copied"), byHand);
    else byHand();
  }

  function images(list) {
    const holder = make("div", { class: "images" });
    for (const [name, mime, index, caption] of list) {
      const words = caption || "Reference and deployed keypoints on " + name;
      const image = make("img", { src: "data:" + mime + ";base64," + pooled(index), alt: words, loading: "lazy" });
      holder.append(make("figure", {}, image, make("figcaption", {}, name + (caption ? ": " + caption : ""))));
    }
    return holder;
  }

  function graph(value) {
    const largest = Math.max(...value.ops.map((op) => op[1]), 1);
    const body = value.ops.map(([name, count]) =>
      [name, String(count), make("div", { class: "strip", style: "width:" + (100 * count / largest).toFixed(1) + "%" })]);
    return section("Graph", pairs(value.facts), ...(body.length ? [table([["operator", ""], ["count", "num"], ["share of the most frequent", "graph", true]], body)] : []));
  }

  function parts(cell) {
    const found = [];
    if (cell.repro) found.push(command(cell.repro));
    if (cell.log !== undefined) found.push(section("End of the log", make("pre", { class: "log", tabindex: "0" }, pooled(cell.log))));
    if (cell.notes) found.push(section("Notes, which make no result wrong", make("ul", { class: "notes" }, ...cell.notes.map((note) => make("li", {}, note)))));
    if (cell.images) found.push(section("Images", images(cell.images)));
    if (cell.left_out) found.push(section("Images", make("p", { class: "muted" }, cell.left_out)));
    if (cell.done) found.push(stages(cell));
    if (cell.outputs) found.push(outputs(cell));
    const two = make("div", { class: "two" });
    if (cell.graph !== undefined) two.append(graph(pooled(cell.graph)));
    if (cell.options !== undefined) two.append(section("Options in force", pairs(pooled(cell.options))));
    if (two.childElementCount) found.push(two);
    if (cell.files) {
      const body = cell.files.map(([name, hash, size]) => [name, size, make("span", { class: "mono" }, hash)]);
      found.push(section("Artifacts", table([["file", ""], ["size", "num"], ["SHA-256", "any"]], body)));
    }
    if (cell.sources) {
      const body = cell.sources.map(([name, kind, words, why]) =>
        [name, make("span", { class: "stage " + look(kind) }, icon(kind), " " + words), why || ""]);
      found.push(section("Results by runner", table([["runner", ""], ["outcome", ""], ["reason", "any"]], body)));
    }
    return found;
  }

  function fill(index) {
    const cell = cells[index];
    const badge = make("span", { class: "badge " + look(cell.kind) }, icon(cell.kind), cell.words + (cell.code && !cell.words.includes(cell.code) ? ": " + cell.code : ""));
    const body = byId("sheet-body");
    body.replaceChildren(
      make("h2", { id: "sheet-title", tabindex: "-1" }, cell.model),
      make("p", { class: "muted" }, cell.family + " · " + cell.flow),
      badge);
    if (cell.change) body.append(make("span", { class: "badge none" }, CHANGES[cell.change] || cell.change));
    if (cell.reason) body.append(make("p", { class: "reason " + look(cell.kind) }, cell.reason));
    body.append(section("At a glance", pairs(cell.facts || [])), ...parts(cell));
    const at = visible.indexOf(index);
    byId("position").textContent = at < 0 ? "" : (at + 1) + " of " + visible.length;
    byId("previous").disabled = at <= 0;
    byId("next").disabled = at < 0 || at === visible.length - 1;
    byId("status").textContent = "";
  }
  let open = -1;
  function openCell(index) {
    open = index;
    fill(index);
    roveTo(index, false);
    if (!sheet.open) sheet.showModal();
    sheet.scrollTop = 0;
    byId("sheet-title").focus({ preventScroll: true });
  }
  function step(by) {
    const next = visible[visible.indexOf(open) + by];
    if (next === undefined) return;
    history.replaceState(null, "", hashOf(cells[next].id));
    openCell(next);
  }
  function follow() {
    readHash();
    showControls();
    apply();
    const index = state.cell ? cells.findIndex((cell) => cell.id === state.cell) : -1;
    if (index >= 0) openCell(index);
    else if (sheet.open) sheet.close();
  }

  // ---------------------------------------------------------------- events
  form.addEventListener("input", () => {
    state.q = form.elements.q.value;
    for (const name of SELECTS) state[name] = form.elements[name].value;
    for (const name of FLAGS) state[name] = Boolean(form.elements[name] && form.elements[name].checked);
    changed();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault();
    history.replaceState(null, "", "#");
    follow();
  });
  for (const tile of document.querySelectorAll(".tile")) {
    tile.addEventListener("click", () => {
      const kind = tile.dataset.outcome;
      if (!state.outcome.delete(kind)) state.outcome.add(kind);
      showControls();
      changed();
    });
  }
  if (grid) {
    for (const head of headings) {
      const button = head.querySelector("button");
      button.addEventListener("click", () => {
        button.setAttribute("aria-expanded", String(!isOpen(head)));
        fold();
      });
    }
    grid.addEventListener("click", (event) => {
      const button = event.target.closest(".c");
      if (!button) return;
      history.pushState(null, "", hashOf(cells[Number(button.dataset.i)].id));
      follow();
    });
    grid.addEventListener("keydown", (event) => {
      const button = event.target.closest(".c");
      if (!button) return;
      let target = null;
      if (MOVES[event.key]) target = moveFrom(button, MOVES[event.key]);
      else if (event.key === "Home" || event.key === "End") target = edgeOf(button, event.key === "End");
      else return;
      event.preventDefault();
      if (target) roveTo(Number(target.dataset.i), true);
    });
  }
  sheet.addEventListener("close", () => {
    history.replaceState(null, "", hashOf(""));
    if (buttons[open]) buttons[open].focus();
    open = -1;
  });
  sheet.addEventListener("click", (event) => { if (event.target === sheet) sheet.close(); });
  byId("close").addEventListener("click", () => sheet.close());
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  document.querySelector("[data-skip]").addEventListener("click", (event) => {
    event.preventDefault();
    byId(event.target.dataset.skip).focus();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "/" && !typing && !sheet.open) {
      event.preventDefault();
      form.elements.q.focus();
    }
  });
  const themeButton = byId("theme");
  const showTheme = () => { themeButton.firstElementChild.textContent = poseconformTheme.name(); };
  themeButton.addEventListener("click", () => { poseconformTheme.next(); showTheme(); });
  showTheme();
  window.addEventListener("hashchange", follow);
  follow();
  document.documentElement.dataset.ready = "true";
})();
