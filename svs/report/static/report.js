// Charts, sortable tables, and players that change what is heard without losing the position.
(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("data").textContent);
  const tip = document.getElementById("tip");
  const minus = (text) => text.replace("-", "−");
  const decibels = (value) => (value === null || value === undefined ? "–" : minus(value.toFixed(2)));
  const finite = (values) => values.filter((value) => value !== null && value !== undefined);
  const chosen = (form, name) => form.querySelector(`input[name="${name}"]:checked`).value;

  const draw = (name, attributes = {}, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) {
      if (value !== null) element.setAttribute(key, typeof value === "number" ? +value.toFixed(2) : value);
    }
    element.append(...children);
    return element;
  };

  // A box of text beside a place on the screen.
  const show = (x, y, title, text) => {
    const strong = document.createElement("b");
    strong.textContent = title;
    tip.replaceChildren(strong, text);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const left = Math.max(6, Math.min(x + 14, room - width - 6));
    const top = y + 16 + height > window.innerHeight ? y - height - 10 : y + 16;
    tip.style.left = `${left + window.scrollX}px`;
    tip.style.top = `${Math.max(top, 2) + window.scrollY}px`;
  };
  const hide = () => { tip.hidden = true; };
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // Round steps between two values: about `count` of them.
  const ticks = (low, high, count) => {
    const rough = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
    const found = [];
    for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + 1e-9 * step; value += step) found.push(value);
    return found.map((value) => +value.toFixed(10));
  };
  const scale = (low, high, from, to) => (value) => from + (to - from) * (value - low) / ((high - low) || 1);
  const plain = (value) => minus(String(+value.toFixed(6)));

  // Draws again when its room changes.
  const fitted = (place, render) => {
    let last = 0;
    new ResizeObserver(() => {
      const width = Math.floor(place.clientWidth);
      if (width && width !== last) { last = width; render(width); }
    }).observe(place);
    return () => { if (last) render(last); };
  };

  // Quantiles as numpy computes them.
  const quantile = (sorted, share) => {
    const place = share * (sorted.length - 1);
    const below = Math.floor(place);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
  };
  const boxOf = (values) => {
    const sorted = [...values].sort((a, b) => a - b);
    const [first, middle, third] = [0.25, 0.5, 0.75].map((share) => quantile(sorted, share));
    const reach = 1.5 * (third - first);
    return { first, middle, third, low: sorted.find((value) => value >= first - reach),
      high: sorted.findLast((value) => value <= third + reach), count: sorted.length };
  };

  // ---- boxplots

  const boxes = () => {
    const place = document.getElementById("boxes");
    const form = document.getElementById("box-controls");
    const note = document.getElementById("boxes-note");
    let current = null;      // name of the row that the keyboard is on

    const rows = () => {
      const [protocol, target, measure] = ["protocol", "target", "measure"].map((name) => chosen(form, name));
      const kinds = new Set([...form.querySelectorAll("input[name=kind]:checked")].map((box) => box.value));
      const found = [];
      let without = 0;
      for (const method of data.methods) {
        const scores = data.scores[protocol][method.name];
        const values = (scores && scores[target] && scores[target][measure]) || [];     // rulers have one protocol
        if (!kinds.has(method.kind === "floor" || method.kind === "ceiling" ? "limit" : method.kind)) continue;
        if (finite(values).length) found.push({ ...method, values, box: boxOf(finite(values)) });
        else without += 1;
      }
      const byName = (a, b) => a.name.localeCompare(b.name, "en", { sensitivity: "base" });
      found.sort(chosen(form, "order") === "name" ? byName : (a, b) => b.box.middle - a.box.middle || byName(a, b));
      const tracks = Math.max(0, ...found.map((row) => row.box.count));
      const unit = data.units[measure];
      note.textContent = `${measure} of the ${target} (${unit || "dB"}), ${data.protocols[protocol]}; ${found.length} methods, ` +
        `up to ${tracks} track${tracks === 1 ? "" : "s"} each` + (without ? `; ${without} without such a score` : "");
      return { found, label: `${measure} of the ${target}`, unit: unit ? "" : " dB" };
    };

    const about = (row, unit) => `${row.text}\nmedian ${decibels(row.box.middle)}${unit}\n` +
      `quartiles ${decibels(row.box.first)} to ${decibels(row.box.third)}\n` +
      `whiskers ${decibels(row.box.low)} to ${decibels(row.box.high)}\n` +
      `${row.box.count} track${row.box.count === 1 ? "" : "s"}`;

    const render = (width) => {
      const { found, label, unit } = rows();
      const ruler = document.createElement("canvas").getContext("2d");
      ruler.font = `600 12.5px ${getComputedStyle(document.body).fontFamily}`;
      const widest = Math.max(40, ...found.map((row) => ruler.measureText(row.name).width));
      const narrow = width < 480;       // names stand above their boxes, which get the whole width
      const left = narrow ? 8 : Math.ceil(Math.min(widest, width * 0.4)) + 12;
      const right = width - (narrow ? 8 : 52);
      const [height, top] = [narrow ? 35 : 24, 26];
      const bottom = top + found.length * height;
      const ends = found.flatMap((row) => [row.box.low, row.box.high]);
      let [low, high] = ends.length ? [Math.min(...ends), Math.max(...ends)] : [0, 1];
      const margin = Math.max(0.04 * (high - low), 0.1);
      [low, high] = [low - margin, high + margin];
      const x = scale(low, high, left, right);
      const inside = (value) => Math.max(left, Math.min(right, x(value)));
      const root = draw("svg", { viewBox: `0 0 ${width} ${bottom + 24}`, height: bottom + 24, role: "list",
        "aria-label": `${label}, ${found.length} methods` });
      for (const tick of ticks(low, high, Math.max((right - left) / 70, 3))) {
        root.append(draw("path", { class: "grid", d: `M${x(tick).toFixed(1)} ${top - 4}V${bottom + 4}` }),
          draw("text", { class: "tick", x: x(tick), y: bottom + 18, "text-anchor": "middle" }, plain(tick)));
      }
      const marked = [];
      for (const [name, word] of data.limits) {
        const row = found.find((one) => one.here && one.name === name);
        if (!row) continue;
        const at = inside(row.box.middle);
        root.append(draw("path", { class: "reference", d: `M${at.toFixed(1)} ${top - 8}V${bottom}` }));
        if (marked.every((other) => Math.abs(other - at) > 44)) {
          root.append(draw("text", { class: "tick", x: at, y: top - 12, "text-anchor": "middle" }, word));
        }
        marked.push(at);
      }
      found.forEach((row, index) => {
        const middle = top + index * height + height / 2;
        const y = narrow ? middle + 7 : middle;
        const words = narrow ? middle - 5 : middle + 4;
        const { box } = row;
        const name = draw("text", { class: "label", x: narrow ? 4 : left - 10, y: words,
          "text-anchor": narrow ? "start" : "end" }, row.name);
        const room = narrow ? width - 70 : left - 12;
        for (let cut = row.name.length; cut > 3 && ruler.measureText(name.textContent).width > room; cut -= 1) {
          name.textContent = `${row.name.slice(0, cut - 1)}…`;
        }
        const group = draw("g", { class: `row ${row.kind}`, role: "listitem", "data-name": row.name,
          tabindex: row.name === current || (current === null && index === 0) ? "0" : "-1",
          "aria-label": `${row.name}: ${about(row, unit).replaceAll("\n", ", ")}` },
        draw("rect", { class: "hit", x: 0, y: middle - height / 2, width, height, rx: 4 }), name,
        draw("path", { class: "whisker", d: `M${inside(box.low).toFixed(1)} ${y}H${inside(box.high).toFixed(1)}` }),
        draw("rect", { class: "box", x: inside(box.first), y: y - 7, height: 14, rx: 2,
          width: Math.max(inside(box.third) - inside(box.first), 1) }));
        for (const value of finite(row.values)) {
          const out = value < low || value > high;
          // Beyond the edge: a little arrow at the edge.
          group.append(out ? draw("path", { class: "point", d: value < low ? `M${left} ${y}l5 -4v8z` : `M${right} ${y}l-5 -4v8z` })
            : draw("circle", { class: "point", cx: x(value), cy: y, r: found.length > 20 ? 1.7 : 2.4 }));
        }
        group.append(draw("path", { class: "median", d: `M${inside(box.middle).toFixed(1)} ${y - 7}V${y + 7}` }),
          draw("text", { class: "value", x: width - 4, y: words, "text-anchor": "end" }, decibels(box.middle)));
        group.addEventListener("pointermove", (event) => {
          const at = event.clientX - root.getBoundingClientRect().left;
          const near = row.values.map((value, track) => ({ value, track }))
            .filter(({ value }) => value !== null && Math.abs(inside(value) - at) < 5);
          const tracks = near.slice(0, 4).map(({ value, track }) => `\n${data.tracks[track]}: ${decibels(value)}`);
          show(event.clientX, event.clientY, row.name, about(row, unit) + tracks.join(""));
        });
        group.addEventListener("focus", () => {
          current = row.name;
          const { left: from, bottom: under } = group.getBoundingClientRect();
          show(from + left, under - 14, row.name, about(row, unit));
        });
        group.addEventListener("pointerleave", hide);
        group.addEventListener("blur", hide);
        root.append(group);
      });
      if (!found.some((row) => row.name === current)) current = null;
      const focused = place.contains(document.activeElement);
      place.replaceChildren(root);
      if (!root.querySelector(".row[tabindex='0']") && root.querySelector(".row")) {
        root.querySelector(".row").setAttribute("tabindex", "0");
      }
      if (focused) root.querySelector(".row[tabindex='0']")?.focus();
    };

    const again = fitted(place, render);
    form.addEventListener("change", () => { hide(); again(); });
    form.addEventListener("submit", (event) => event.preventDefault());
    place.addEventListener("keydown", (event) => {
      const all = [...place.querySelectorAll(".row")];
      const index = all.indexOf(document.activeElement);
      const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: all.length - 1 }[event.key];
      if (index < 0 || to === undefined || !all[to]) return;
      event.preventDefault();
      all[index].setAttribute("tabindex", "-1");
      all[to].setAttribute("tabindex", "0");
      all[to].focus();
    });
  };

  // ---- tables

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.tagName === "TH") return cell.textContent.trim();
    return cell.dataset.value === undefined ? null : Number(cell.dataset.value);
  };
  const compare = (a, b, direction) => {
    if (a === null || b === null) return (a === null) - (b === null);      // what has no value stays last
    return direction * (typeof a === "string" ? a.localeCompare(b, "en", { sensitivity: "base" }) : a - b);
  };
  const sortable = (table) => {
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("button")?.closest("th");
      if (!head) return;
      const first = head.querySelector("button").dataset.first;
      const other = first === "ascending" ? "descending" : "ascending";
      const direction = head.getAttribute("aria-sort") === first ? other : first;
      for (const one of heads) if (one.hasAttribute("aria-sort")) one.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", direction);
      const column = heads.indexOf(head);
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => ({ row, value: valueOf(row, column) }));
      rows.sort((a, b) => compare(a.value, b.value, sign));
      table.tBodies[0].append(...rows.map(({ row }) => row));
    });
  };

  const paired = () => {
    const form = document.getElementById("paired-controls");
    if (!form) return;
    const table = document.getElementById("paired-table");
    const filter = () => {
      const [target, method] = [chosen(form, "paired-target"), form.querySelector("select").value];
      for (const row of table.tBodies[0].rows) {
        row.hidden = row.dataset.target !== target || row.dataset.method !== method;
      }
    };
    form.addEventListener("change", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    filter();
    table.querySelector("thead button[title^='median']").click();
  };

  // ---- lines

  // A place that pointer and arrow keys explore: `at(index, x, y)` tells, `index(x)` finds what is below the pointer.
  const explored = (place, count, index, at) => {
    let current = 0;
    const go = (to, x, y) => { current = Math.max(0, Math.min(count() - 1, to)); at(current, x, y); };
    place.tabIndex = 0;
    place.addEventListener("pointermove", (event) => {
      go(index(event.clientX - place.getBoundingClientRect().left), event.clientX, event.clientY);
    });
    place.addEventListener("keydown", (event) => {
      const to = { ArrowRight: current + 1, ArrowLeft: current - 1, Home: 0, End: count() - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      go(to);
    });
    place.addEventListener("focus", () => { if (place.matches(":focus-visible")) go(current); });
    const leave = () => { hide(); place.querySelector(".cursor")?.setAttribute("d", ""); };
    place.addEventListener("pointerleave", leave);
    place.addEventListener("blur", leave);
  };

  const frame = (width, height, margins, [x0, x1], [y0, y1], yWords = plain) => {
    const [top, right, bottom, left] = margins;
    const x = scale(x0, x1, left, width - right);
    const y = scale(y0, y1, height - bottom, top);
    const root = draw("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
    for (const tick of ticks(y0, y1, (height - top - bottom) / 38)) {
      root.append(draw("path", { class: "grid", d: `M${left} ${y(tick).toFixed(1)}H${width - right}` }),
        draw("text", { class: "tick", x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, yWords(tick)));
    }
    for (const tick of ticks(x0, x1, Math.min((width - left - right) / 55, x1 - x0))) {
      root.append(draw("text", { class: "tick", x: x(tick), y: height - bottom + 16, "text-anchor": "middle" },
        plain(tick)));
    }
    return { root, x, y };
  };

  const curves = () => {
    for (const [name, curve] of Object.entries(data.curves)) {
      const figure = document.createElement("figure");
      figure.className = "card chart";
      const caption = document.createElement("figcaption");
      caption.textContent = name;
      const place = document.createElement("div");
      place.className = "plot";
      place.setAttribute("role", "group");
      place.setAttribute("aria-label", `Training of ${name}: arrow keys go through its epochs`);
      figure.append(caption, place);
      document.getElementById("curves").append(figure);
      const losses = finite([...curve.loss, ...curve.val_loss, curve.seed]);
      const span = Math.max(...losses) - Math.min(...losses) || 0.1;
      const ends = [Math.min(...losses) - 0.08 * span, Math.max(...losses) + 0.08 * span];
      const valid = finite(curve.val_loss);
      const best = valid.length ? curve.val_loss.indexOf(Math.min(...valid)) : -1;
      let x = null;
      let cursor = null;
      fitted(place, (width) => {
        const [first, last] = [curve.epoch[0], curve.epoch[curve.epoch.length - 1]];
        const chart = frame(width, 190, [8, 8, 24, 44], [first, Math.max(last, first + 1)], ends);
        const { root, y } = chart;
        ({ x } = chart);
        if (curve.seed !== null) {
          root.append(draw("path", { class: "reference", d: `M44 ${y(curve.seed).toFixed(1)}H${width - 8}` }));
        }
        for (const kind of ["loss", "val_loss"]) {
          const points = curve.epoch.map((epoch, index) => [x(epoch), curve[kind][index]])
            .filter(([, value]) => value !== null).map(([at, value]) => [at.toFixed(1), y(value).toFixed(1)]);
          root.append(draw("path", { class: `curve ${kind}`, d: `M${points.map((point) => point.join(" ")).join("L")}` }));
          if (points.length < 30) {
            for (const [cx, cy] of points) root.append(draw("circle", { class: `dot ${kind}`, cx, cy, r: 2.6 }));
          }
        }
        if (best >= 0) root.append(draw("circle", { class: "best", cx: x(curve.epoch[best]), cy: y(curve.val_loss[best]), r: 6 }));
        cursor = draw("path", { class: "cursor", d: "" });
        root.append(cursor);
        place.replaceChildren(root);
      });
      explored(place, () => curve.epoch.length, (at) => {
        const distances = curve.epoch.map((epoch) => Math.abs(x(epoch) - at));
        return distances.indexOf(Math.min(...distances));
      }, (index, px, py) => {
        const at = x(curve.epoch[index]);
        cursor.setAttribute("d", `M${at.toFixed(1)} 8V166`);
        const box = place.getBoundingClientRect();
        const loss = (value) => (value === null ? "–" : value.toFixed(4));
        show(px ?? box.left + at, py ?? box.top + 40, `${name}, epoch ${curve.epoch[index]}`,
          `training ${loss(curve.loss[index])}\nvalidation ${loss(curve.val_loss[index])}` +
          (curve.seed === null ? "" : `\nthe dissertation's ${loss(curve.seed)}`) + (index === best ? "\nkept" : ""));
      });
    }
  };

  // ---- tracks

  const FADE = 0.03;        // s from one source to the other
  const TOGETHER = 0.025;   // s that two sources may lie apart when one takes over
  let sounding = null;      // the one track that plays
  const label = (source) => {
    if (source === "mixture") return source;
    const cut = source.lastIndexOf(".");
    const [method, target] = [source.slice(0, cut), source.slice(cut + 1)];
    return method === "true" ? `true ${target}` : `${target} by ${method}`;
  };
  const targetOf = (source) => (source.endsWith(".accompaniment") ? "accompaniment" : "vocals");
  const clock = (seconds) => {
    const tenths = Math.floor(10 * seconds + 1e-6);
    return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
  };

  class Player {
    constructor(article) {
      this.article = article;
      this.about = JSON.parse(article.querySelector(".about").textContent);
      this.radios = [...article.querySelectorAll(".sources input")];
      this.source = "mixture";
      this.position = 0;          // s from the beginning of the passage
      this.playing = false;
      this.elements = new Map();  // audio by source, made when first needed
      this.loud = null;           // the audio that is heard
      this.turn = 0;              // counts switches: a late answer to an early one does nothing
      const one = (selector) => article.querySelector(selector);
      [this.button, this.seek, this.at, this.title, this.loop] =
        [".play", ".seek", ".at", ".now .source", ".loop input"].map(one);
      [this.upper, this.lower, this.seen, this.seconds] = [".upper", ".lower", ".seen", ".seconds"].map(one);
      this.heads = [...article.querySelectorAll(".head")];
      this.listen();
      const details = one("details");
      const opened = () => { if (details.open && !this.drawn) this.begin(); };
      details.addEventListener("toggle", () => { opened(); if (!details.open) this.pause(); });
      opened();
    }

    listen() {
      for (const radio of this.radios) {
        radio.checked = radio.value === "mixture";      // browsers keep what was chosen before a reload
        radio.addEventListener("change", () => this.choose(radio.value));
        for (const type of ["pointerenter", "focus"]) {
          radio.addEventListener(type, () => { if (this.playing) this.fetch(radio.value); });
        }
        radio.addEventListener("keydown", (event) => {
          if (event.key === " " && radio.checked && this.about.audible) { event.preventDefault(); this.toggle(); }
        });
      }
      for (const view of this.article.querySelectorAll(".view")) {
        view.addEventListener("pointerdown", (event) => {
          const box = view.getBoundingClientRect();
          if (event.button === 0) this.go((event.clientX - box.left) / box.width * this.about.length);
        });
      }
      if (!this.about.audible) return;
      this.button.addEventListener("click", () => this.toggle());
      this.seek.addEventListener("input", () => this.go(Number(this.seek.value)));
      this.seek.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key];
        if (event.key === " ") this.toggle();
        else if (step) this.go(this.position + step);
        else return;
        event.preventDefault();
      });
    }

    // What is drawn once a track is opened.
    begin() {
      this.drawn = true;
      const mel = (frequency) => Math.log1p(frequency / 700);
      const { lowest, highest } = this.about;
      const height = (frequency) => (mel(frequency) - mel(lowest)) / (mel(highest) - mel(lowest));
      for (const view of this.article.querySelectorAll(".view")) {
        for (const frequency of [250, 1000, 4000, 8000, 16000].filter((value) => height(value) > 0.05 && height(value) < 0.93)) {
          const mark = document.createElement("span");
          mark.className = "hertz";
          mark.textContent = frequency >= 1000 ? `${frequency / 1000} kHz` : `${frequency} Hz`;
          mark.style.bottom = `${100 * height(frequency)}%`;
          view.append(mark);
        }
      }
      this.lines();
      this.see();
      this.tell();
    }

    see() {
      const file = `${this.about.folder}/${encodeURIComponent(this.source)}.webp`;
      for (const image of [this.upper, this.lower]) image.src = file;
      this.upper.alt = `Spectrogram of the ${label(this.source)}`;
      this.lower.alt = `Mask: share of the ${label(this.source)} in the mixture`;
      this.seen.textContent = label(this.source);
      if (this.title) this.title.textContent = label(this.source);
      this.article.querySelector(".chart .target").textContent = targetOf(this.source);
      this.redraw();
    }

    audio(source) {
      if (!this.elements.has(source)) {
        const audio = document.createElement("audio");
        audio.preload = "none";
        audio.src = `${this.about.folder}/${encodeURIComponent(source)}.mp3`;
        audio.dataset.source = source;
        audio.addEventListener("ended", () => { if (this.source === source) this.end(); });
        this.article.append(audio);
        this.elements.set(source, audio);
      }
      return this.elements.get(source);
    }

    fetch(source) {
      const audio = this.audio(source);
      if (audio.preload !== "auto") { audio.preload = "auto"; audio.load(); }
      return audio;
    }

    // The next ones that an arrow key would choose.
    neighbours() {
      const index = this.radios.findIndex((radio) => radio.value === this.source);
      for (const radio of [this.radios[index + 1], this.radios[index - 1]]) if (radio) this.fetch(radio.value);
    }

    toggle() { if (this.playing) this.pause(); else this.play(); }

    async play() {
      if (sounding && sounding !== this) sounding.release();
      sounding = this;
      if (this.position >= this.about.length - 0.05) this.position = 0;
      this.playing = true;
      this.state();
      await this.start(this.audio(this.source), this.position);
      if (this.playing) this.neighbours();
    }

    // Let one audio sound from a position on.
    async start(audio, position) {
      const turn = ++this.turn;
      this.loud = audio;
      audio.volume = 1;
      audio.muted = false;
      this.placed(audio, position);
      try {
        await audio.play();
      } catch (error) {
        if (turn === this.turn && error.name !== "AbortError") this.fail();
        return;
      }
      if (turn !== this.turn) audio.pause(); else this.follow();
    }

    placed(audio, position) {
      if (Math.abs(audio.currentTime - position) > 0.001) audio.currentTime = position;
    }

    pause() {
      this.keep();
      this.turn += 1;
      this.playing = false;
      for (const audio of this.elements.values()) audio.pause();
      this.state();
      this.tell();
    }

    // Another track plays: let go of what this one has loaded.
    release() {
      this.pause();
      for (const audio of this.elements.values()) { audio.removeAttribute("src"); audio.load(); audio.remove(); }
      this.elements.clear();
      this.loud = null;
    }

    fail() {
      this.pause();
      this.title.textContent = `${label(this.source)}: its file is missing or can't be played`;
    }

    end() {
      if (this.loop.checked && this.playing) { this.position = 0; this.start(this.audio(this.source), 0); return; }
      this.pause();
      this.position = 0;
      this.tell();
    }

    go(position) {
      this.position = Math.max(0, Math.min(this.about.length - 0.02, position));
      if (this.playing) for (const audio of this.elements.values()) if (!audio.paused) audio.currentTime = this.position;
      this.tell();
    }

    // The other source begins in silence at the same position, is brought beside the one that sounds, and takes over.
    async choose(source) {
      const old = this.loud;
      this.keep();
      this.source = source;
      this.see();
      if (!this.playing) return;
      const turn = ++this.turn;
      const next = this.fetch(source);
      next.muted = true;
      this.placed(next, old.currentTime);
      try {
        await next.play();
      } catch (error) {
        if (turn === this.turn && error.name !== "AbortError") this.fail();
        return;
      }
      for (let attempt = 0; attempt < 4 && turn === this.turn; attempt += 1) {
        const apart = old.currentTime - next.currentTime;
        if (Math.abs(apart) < TOGETHER || old.ended) break;
        const asked = performance.now();
        next.currentTime = old.currentTime + (this.lag || 0);
        await new Promise((resolve) => { next.addEventListener("seeked", resolve, { once: true }); setTimeout(resolve, 400); });
        await new Promise((resolve) => setTimeout(resolve, 40));
        // How long this browser takes to go on after a jump, to aim better next time.
        const late = old.currentTime - next.currentTime;
        if (Math.abs(late) < 0.5 && performance.now() - asked < 500) this.lag = Math.max(0, (this.lag || 0) + late);
      }
      if (turn !== this.turn) { if (this.source !== source) next.pause(); return; }
      await this.cross(old, next);
      if (turn === this.turn) { this.follow(); this.neighbours(); }
    }

    cross(old, next) {
      if (next === old) return Promise.resolve();
      next.volume = 0;
      next.muted = false;
      this.loud = next;
      const begun = performance.now();
      const others = [...this.elements.values()].filter((audio) => audio !== next);
      return new Promise((resolve) => {
        const step = () => {
          const share = Math.min(1, (performance.now() - begun) / 1000 / FADE);
          next.volume = share;
          old.volume = 1 - share;
          if (share < 1) { setTimeout(step, 5); return; }
          for (const audio of others) { audio.pause(); audio.volume = 1; }
          resolve();
        };
        step();
      });
    }

    keep() {
      if (this.playing && this.loud && !this.loud.seeking && !this.loud.ended) this.position = this.loud.currentTime;
    }

    follow() {
      cancelAnimationFrame(this.moving);
      const step = () => {
        if (!this.playing) return;
        this.keep();
        this.tell();
        this.moving = requestAnimationFrame(step);
      };
      step();
    }

    state() {
      this.article.classList.toggle("playing", this.playing);
      if (this.button) this.button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    }

    tell() {
      const share = Math.min(1, this.position / this.about.length);
      for (const head of this.heads) head.style.left = `${100 * share}%`;
      if (this.playhead) {
        const at = this.x(this.about.start + this.position).toFixed(1);
        this.playhead.setAttribute("d", `M${at} 8V126`);
      }
      if (!this.seek) return;
      this.seek.value = this.position;
      this.seek.setAttribute("aria-valuetext", `${clock(this.position)} of ${clock(this.about.length)}`);
      this.at.textContent = clock(this.position);
    }

    // SDR of every second of the whole track, the chosen method in front.
    lines() {
      this.redraw = () => {};
      const { frames, start, length, seconds } = this.about;
      if (!frames || !frames.second.length) {
        this.seconds.textContent = "no scores by second";
        return;
      }
      const second = frames.second;
      const step = second.length > 1 ? second[1] - second[0] : 1;
      const methods = () => Object.entries(frames[targetOf(this.source)] || {});
      const name = () => this.source.slice(0, this.source.lastIndexOf("."));
      let cursor = null;
      this.redraw = fitted(this.seconds, (width) => {
        const all = methods().flatMap(([, values]) => finite(values)).sort((a, b) => a - b);
        const ends = all.length ? [quantile(all, 0.03), quantile(all, 0.995)] : [0, 1];
        const span = ends[1] - ends[0] || 1;
        const [low, high] = [ends[0] - 0.06 * span, ends[1] + 0.06 * span];
        const last = Math.max(seconds, second[second.length - 1] + step);
        const { root, x, y } = frame(width, 150, [8, 6, 24, 34], [0, last], [low, high]);
        this.x = x;
        if (length < seconds - 0.05) {
          root.prepend(draw("rect", { class: "passage", x: x(start), y: 8, width: x(start + length) - x(start), height: 118 }));
        }
        const lines = methods().map(([method, values]) => {
          let path = "";
          values.forEach((value, index) => {
            if (value === null) return;
            const at = y(Math.max(low, Math.min(high, value))).toFixed(1);
            const joined = path && values[index - 1] !== null;
            path += `${joined ? "L" : "M"}${x(second[index]).toFixed(1)} ${at}H${x(second[index] + step).toFixed(1)}`;
          });
          return draw("path", { class: `line ${targetOf(this.source)}${method === name() ? " chosen" : ""}`, d: path });
        });
        lines.sort((a, b) => a.classList.contains("chosen") - b.classList.contains("chosen"));
        cursor = draw("path", { class: "cursor", d: "" });
        this.playhead = this.about.audible ? draw("path", { class: "playhead", d: "" }) : null;
        root.append(...lines, cursor, ...(this.playhead ? [this.playhead] : []));
        this.seconds.replaceChildren(root);
        this.tell();
      });
      this.seconds.setAttribute("role", "group");
      this.seconds.setAttribute("aria-label", "SDR over time: arrow keys go through the seconds");
      const inverse = (at) => second.findLastIndex((time) => this.x(time) <= at);
      explored(this.seconds, () => second.length, inverse, (index, px, py) => {
        const at = this.x(second[index] + step / 2);
        cursor.setAttribute("d", `M${at.toFixed(1)} 8V126`);
        const values = methods().map(([method, all]) => [method, all[index]]);
        values.sort((a, b) => (b[1] ?? -Infinity) - (a[1] ?? -Infinity));
        const box = this.seconds.getBoundingClientRect();
        show(px ?? box.left + at, py ?? box.top + 30, `${plain(second[index])} to ${plain(second[index] + step)} s`,
          values.map(([method, value]) => `${method === name() ? "▸ " : ""}${method}  ${decibels(value)}`).join("\n"));
      });
      if (this.about.audible) {
        this.seconds.addEventListener("pointerdown", (event) => {
          const box = this.seconds.getBoundingClientRect();
          const [from, to] = [this.x(0), this.x(1)];
          const time = (event.clientX - box.left - from) / (to - from) - start;
          if (time >= 0 && time <= length) this.go(time);
        });
      }
    }
  }

  boxes();
  document.querySelectorAll("table.sortable").forEach(sortable);
  paired();
  curves();
  document.querySelectorAll(".track").forEach((article) => new Player(article));
})();
