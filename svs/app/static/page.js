// One player sounds at a time, and players of a result share one position.
(() => {
  "use strict";
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
})();
