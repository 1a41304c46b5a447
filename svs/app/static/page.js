// One player sounds at a time, and players of a result share one position.
(() => {
  "use strict";
  const ACCEPT = "audio/*,video/*,.flac,.opus,.ogg,.oga,.wv,.ape,.mka,.mkv,.aiff,.aif,.m4a,.m4b,.caf,.w64,.tta,.wma";
  const positions = new Map();      // seconds, by run
  const chosen = new WeakSet();     // players at rest that somebody has put to another place
  const moved = new WeakSet();      // players that the page itself has just moved

  const isPlayer = (element) => element instanceof HTMLAudioElement && element.dataset.run;
  const together = () => {
    const box = document.getElementById("svs-together");
    return !box || box.checked;
  };
  const on = (type, action) => document.addEventListener(type, (event) => {
    if (isPlayer(event.target)) action(event.target);
  }, true);

  on("play", (player) => {
    for (const other of document.querySelectorAll("audio[data-run]")) {
      if (other !== player) other.pause();
    }
    const position = positions.get(player.dataset.run) || 0;
    if (chosen.delete(player)) {
      positions.set(player.dataset.run, player.currentTime);
    } else if (together() && position < player.duration - 0.05 && Math.abs(player.currentTime - position) > 0.05) {
      moved.add(player);
      player.currentTime = position;
    }
  });
  on("timeupdate", (player) => {
    if (!player.paused && !moved.has(player)) positions.set(player.dataset.run, player.currentTime);
  });
  on("seeking", (player) => {
    if (moved.has(player)) return;
    if (player.paused) chosen.add(player);
    else positions.set(player.dataset.run, player.currentTime);
  });
  on("seeked", (player) => moved.delete(player));
  on("ended", (player) => positions.set(player.dataset.run, 0));

  // gradio would say that a file is too large in a corner, and leave the place for the song in ruins.
  const UPLOADS = "#svs-song, #svs-reference";
  const refuse = (event, files) => {
    const limit = window.gradio_config && window.gradio_config.max_file_size;
    const large = [...files].find((file) => limit && file.size > limit);
    const old = document.getElementById("svs-too-large");
    if (old) old.remove();
    if (!large) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const megabytes = (bytes) => `${Math.round(bytes / 1e6)} MB`;
    const box = document.createElement("div");
    box.id = "svs-too-large";
    box.className = "svs-alert svs-error";
    box.setAttribute("role", "alert");
    const title = document.createElement("strong");
    title.textContent = "That did not work";
    const words = document.createElement("span");
    words.textContent = `${large.name}: the file is too large, ${megabytes(large.size)}; this page takes up to ` +
      `${megabytes(limit)}. Cut the passage out of it first, or start svs app with a larger --max-minutes.`;
    box.append(title, words);
    document.querySelector(".svs-step").after(box);
    document.querySelector(".svs-step").scrollIntoView({ block: "nearest" });
  };
  window.addEventListener("change", (event) => {
    if (event.target.matches("input[type=file]") && event.target.closest(UPLOADS)) {
      refuse(event, event.target.files);
      if (document.getElementById("svs-too-large")) event.target.value = "";
    }
  }, true);
  window.addEventListener("drop", (event) => {
    if (event.target.closest(UPLOADS) && event.dataTransfer) refuse(event, event.dataTransfer.files);
  }, true);

  // gradio leaves the text under a checkbox to the eye alone.
  const describe = (block) => {
    const [input, text] = [block.querySelector("input"), block.querySelector(".info-text")];
    if (input && text && !input.hasAttribute("aria-describedby")) {
      text.id = `${block.id}-text`;
      input.setAttribute("aria-describedby", text.id);
    }
  };

  // What the dialogue for choosing a file offers first; the server looks into whatever comes.
  new MutationObserver(() => {
    for (const input of document.querySelectorAll("#svs-song input[type=file], #svs-reference input[type=file]")) {
      if (input.accept !== ACCEPT) input.accept = ACCEPT;
    }
    document.querySelectorAll(".svs-method, #svs-hpss").forEach(describe);
  }).observe(document, { childList: true, subtree: true });
})();
