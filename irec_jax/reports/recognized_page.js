// The cursor of each timeline follows its player. Clicks and arrow keys move both.
document.querySelectorAll(".timeline").forEach((timeline) => {
  const audio = timeline.closest("section").querySelector("audio");
  if (!audio) return;
  const seek = timeline.querySelector(".seek");
  const duration = Number(timeline.dataset.duration);
  const cursor = document.createElement("div");
  cursor.className = "cursor";
  seek.append(cursor);
  seek.tabIndex = 0;
  seek.setAttribute("role", "slider");
  seek.setAttribute("aria-label", "playback position");
  seek.setAttribute("aria-valuemin", 0);
  seek.setAttribute("aria-valuemax", duration);

  const clock = (time) => {
    const seconds = Math.floor(time);
    const parts = [Math.floor(seconds / 60) % 60, seconds % 60];
    if (seconds >= 3600) parts.unshift(Math.floor(seconds / 3600));
    return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
  };
  const show = () => {
    const time = Math.min(audio.currentTime, duration);
    cursor.style.left = `${100 * time / duration}%`;
    seek.setAttribute("aria-valuenow", time.toFixed(1));
    seek.setAttribute("aria-valuetext", `${clock(time)} of ${clock(duration)}`);
  };
  const follow = () => {
    show();
    if (!audio.paused) requestAnimationFrame(follow);
  };
  const move = (time) => {
    audio.currentTime = Math.min(Math.max(time, 0), duration);
    show();
  };
  const toggle = () => { if (audio.paused) audio.play(); else audio.pause(); };

  audio.addEventListener("play", () => {
    document.querySelectorAll("audio").forEach((other) => { if (other !== audio) other.pause(); });
    follow();
  });
  for (const event of ["timeupdate", "seeked", "loadedmetadata"])
    audio.addEventListener(event, show);
  const moveToPointer = (event) => {
    const box = seek.getBoundingClientRect();
    move(duration * (event.clientX - box.left) / box.width);
  };
  seek.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;  // a touch may be the start of scrolling
    moveToPointer(event);
    seek.setPointerCapture(event.pointerId);
  });
  seek.addEventListener("pointermove", (event) => {
    if (seek.hasPointerCapture(event.pointerId)) moveToPointer(event);
  });
  seek.addEventListener("click", moveToPointer);
  seek.addEventListener("keydown", (event) => {
    const now = audio.currentTime;
    const keys = {
      ArrowLeft: () => move(now - 5), ArrowRight: () => move(now + 5),
      ArrowDown: () => move(now - 5), ArrowUp: () => move(now + 5),
      PageDown: () => move(now - 30), PageUp: () => move(now + 30),
      Home: () => move(0), End: () => move(duration), " ": toggle, Enter: toggle,
    };
    if (!keys[event.key] || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  audio.addEventListener("error", () => {
    const remark = document.createElement("p");
    remark.className = "remark";
    remark.textContent = "The browser cannot play this file, or it has been moved.";
    audio.after(remark);
  }, { once: true });
  show();
});
